//! What was found, as JSON; its pieces are kept apart for a page to mark them.

use askama::Template;
use entity::MessageId;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::chat::ChatView;
use super::words::{self, W};
use crate::chat::{ChatDefaults, FoundChat};
use crate::model::search::Piece;

/// The answer of `GET /chat/search`.
#[derive(Debug, Serialize, ToSchema)]
pub struct SearchView {
    pub found: Vec<FoundView>,
}

/// A chat that has what was looked for.
#[derive(Debug, Serialize, ToSchema)]
pub struct FoundView {
    pub chat: ChatView,
    /// The last message that has it; null if only the title has.
    pub message_uuid: Option<MessageId>,
    /// The text around the first word that was found.
    #[serde(serialize_with = "plain")]
    #[schema(value_type = String)]
    pub snippet: Vec<Piece>,
}

impl SearchView {
    pub fn new(found: Vec<FoundChat>, defaults: &ChatDefaults) -> Self {
        let found = found.into_iter().map(|found| FoundView {
            chat: ChatView::new(found.chat, defaults),
            message_uuid: found.hit,
            snippet: found.snippet,
        });
        Self {
            found: found.collect(),
        }
    }

    #[cfg(any(test, debug_assertions))]
    pub fn sample() -> Self {
        let piece = |text: &str, is_match| Piece {
            text: text.to_owned(),
            is_match,
        };
        let chat = ChatView {
            uuid: entity::ChatId(uuid::Uuid::from_u128(1)),
            title: "Tea & <coffee>".to_owned(),
            agent: None,
            model: "demo".to_owned(),
            status: entity::chat::Status::WaitingForUser,
            revision: 3,
            created_at: entity::Timestamp(1_795_226_400_000),
            updated_at: entity::Timestamp(1_795_226_400_000),
            on_busy: entity::chat::OnBusy::Enqueue,
            parameters: entity::Parameters::default(),
            metadata: std::collections::BTreeMap::new(),
            expires_at: None,
        };
        Self {
            found: vec![FoundView {
                chat,
                message_uuid: Some(MessageId(uuid::Uuid::from_u128(7))),
                snippet: vec![
                    piece("…Yes, <", false),
                    piece("ple", true),
                    piece("ase>", false),
                ],
            }],
        }
    }
}

fn plain<S: Serializer>(pieces: &[Piece], serializer: S) -> Result<S::Ok, S::Error> {
    let text: String = pieces.iter().map(|piece| piece.text.as_str()).collect();
    serializer.serialize_str(&text)
}

/// What was found, for an element of a page.
#[derive(Template)]
#[template(path = "found.html")]
pub struct FoundFragment {
    pub found: Vec<FoundView>,
    /// What was looked for.
    pub text: String,
}

impl FoundFragment {
    pub fn new(view: SearchView, text: String) -> Self {
        Self {
            found: view.found,
            text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_marked_on_a_page() {
        let found = FoundFragment::new(SearchView::sample(), "ple".to_owned());
        insta::assert_snapshot!(found.render().unwrap());
    }

    #[test]
    fn the_json_has_the_snippet_in_one_piece() {
        let json = serde_json::to_value(SearchView::sample()).unwrap();
        assert_eq!(json["found"][0]["snippet"], "…Yes, <please>");
    }
}

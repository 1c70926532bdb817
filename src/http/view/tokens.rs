//! The token poll, as JSON and as what a page takes in.

use askama::Template;
use entity::MessageId;
use entity::chat_message::Status;
use serde::Serialize;

use super::message::MessageCard;
use super::poller::Poller;
use crate::chat::{MessageRead, TokensPoll};
use crate::model::position::Position;

/// The answer of the token poll.
#[derive(Debug, Serialize)]
pub struct TokensView {
    pub tokens: String,
    pub status: Status,
    pub append: bool,
    pub position: Position,
    pub poll_after_ms: u64,
    /// What the model thinks, in the same way; not there if `?reasoning=` was not sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<ReasoningDelta>,
}

/// More of what a model thinks.
#[derive(Debug, Serialize)]
pub struct ReasoningDelta {
    pub tokens: String,
    pub append: bool,
    pub position: Position,
}

/// The element that polls for the tokens of an answer, and for what its model thinks.
pub fn tokens_poller(
    uuid: MessageId,
    position: Position,
    thoughts: Position,
    after_ms: u64,
) -> Poller {
    Poller::new(
        format!("/chat/message/{uuid}/tokens/{position}?reasoning={thoughts}"),
        after_ms,
    )
}

impl TokensView {
    pub fn new(poll: TokensPoll, poll_after_ms: u64) -> Self {
        Self {
            tokens: poll.delta.tokens,
            status: poll.status,
            append: poll.delta.append,
            position: poll.delta.position,
            poll_after_ms,
            reasoning: poll.reasoning.map(|delta| ReasoningDelta {
                tokens: delta.tokens,
                append: delta.append,
                position: delta.position,
            }),
        }
    }
}

/// More text for an answer that is being written, and the poller that goes on.
#[derive(Template)]
#[template(path = "tokens.html")]
pub struct TokensFragment {
    pub uuid: MessageId,
    pub tokens: String,
    pub append: bool,
    pub reasoning: Option<ReasoningDelta>,
    pub poller: Poller,
}

impl TokensFragment {
    pub fn new(poll: TokensPoll, hint: u64) -> Self {
        let (uuid, position) = (poll.message, poll.delta.position);
        let thoughts = poll.reasoning.as_ref();
        let thoughts = thoughts.map_or(Position::START, |delta| delta.position);
        let reasoning = poll.reasoning.map(|delta| ReasoningDelta {
            tokens: delta.tokens,
            append: delta.append,
            position: delta.position,
        });
        Self {
            reasoning: reasoning.filter(|delta| !delta.tokens.is_empty() || !delta.append),
            uuid,
            tokens: poll.delta.tokens,
            append: poll.delta.append,
            poller: tokens_poller(uuid, position, thoughts, hint),
        }
    }
}

/// The finished message in place of the one that was being written. Nothing in it polls.
#[derive(Template)]
#[template(path = "message.html")]
pub struct TokensEndFragment {
    pub card: MessageCard,
}

impl TokensEndFragment {
    pub fn new(read: MessageRead, hint: u64) -> Self {
        Self {
            card: MessageCard::new(read, hint).replacing(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(append: bool) -> String {
        let uuid = MessageId(uuid::Uuid::from_u128(7));
        let fragment = TokensFragment {
            uuid,
            tokens: "\n <b> & so on".to_owned(),
            append,
            reasoning: (!append).then(|| ReasoningDelta {
                tokens: "Hm & so.".to_owned(),
                append: true,
                position: Position::START,
            }),
            poller: Poller::new(format!("/chat/message/{uuid}/tokens/12?reasoning=0"), 300),
        };
        fragment.render().unwrap()
    }

    #[test]
    fn more_text_is_appended_to_the_letter() {
        insta::assert_snapshot!(fragment(true));
    }

    #[test]
    fn a_whole_text_replaces_what_is_there() {
        insta::assert_snapshot!(fragment(false));
    }
}

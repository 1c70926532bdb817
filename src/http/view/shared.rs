//! A chat as somebody sees it who has a link to it: to read, and nothing else.

use askama::Template;
use entity::chat::{Model as Chat, Status};
use entity::{ChatId, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::assets::{self, Icon};
use super::chat::is_open;
use super::message::MessageCard;
use super::messages::messages_poller;
use super::place::Place;
use super::poller::Poller;
use super::words::W;
use crate::chat::{ChatDefaults, MessagesPoll};

/// The chat of the polling protocol, without what only its owner has to know.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SharedChatView {
    pub uuid: ChatId,
    pub title: String,
    pub agent: Option<String>,
    pub model: String,
    pub status: Status,
    pub revision: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl SharedChatView {
    pub fn new(chat: Chat, defaults: &ChatDefaults) -> Self {
        Self {
            uuid: chat.id,
            title: chat.title,
            agent: chat.agent,
            model: chat.model.unwrap_or_else(|| defaults.model.clone()),
            status: chat.status,
            revision: chat.revision,
            created_at: chat.created_at,
            updated_at: chat.updated_at,
        }
    }
}

/// The chat with its messages: the part of the page below its head.
#[derive(Template)]
#[template(path = "shared_main.html")]
pub struct SharedMain {
    pub chat: SharedChatView,
    pub cards: Vec<MessageCard>,
    pub poller: Poller,
    /// Where there are more messages than the page has; a page with script polls for them.
    pub more: Option<String>,
    pub replaces_title: bool,
    /// The address of the page.
    path: String,
    now: Timestamp,
}

impl SharedMain {
    pub fn new(
        place: &Place,
        poll: MessagesPoll,
        defaults: &ChatDefaults,
        now: Timestamp,
        (hint, token_hint): (u64, u64),
    ) -> Self {
        let path = place.chat(poll.chat.id);
        let more = poll.cursor.filter(|_| poll.has_more);
        let chat = poll.chat;
        Self {
            poller: messages_poller(place, chat.id, poll.cursor, poll.revision, hint),
            more: more.map(|cursor| format!("{path}?after={cursor}")),
            replaces_title: false,
            path,
            now,
            chat: SharedChatView::new(chat, defaults),
            cards: poll
                .new
                .into_iter()
                .map(|read| MessageCard::new(place, read, token_hint))
                .collect(),
        }
    }

    /// Where a page without script looks again: not at the address that it has, for then the browser would only
    /// go to the end of what it has.
    pub fn look_again(&self) -> String {
        format!("{}?look={}#end", self.path, self.now.0)
    }

    /// Whether something is still to come, for which a page without script looks again.
    pub fn is_pending(&self) -> bool {
        is_open(self.chat.status, self.chat.revision, &self.cards)
    }

    #[cfg(any(test, debug_assertions))]
    pub fn sample() -> Self {
        use entity::chat_message::{Role, Status as MessageStatus};
        let place = Place::Link("pls_0a1b21".into());
        let card = |role, status, text| MessageCard::sample(role, status, text).at(&place);
        let uuid = ChatId(uuid::Uuid::from_u128(1));
        Self {
            chat: SharedChatView {
                uuid,
                title: "Tea & <biscuits>".to_owned(),
                agent: None,
                model: "demo".to_owned(),
                status: Status::WaitingForChatbot,
                revision: 3,
                created_at: Timestamp(1_795_226_400_000),
                updated_at: Timestamp(1_795_226_400_000),
            },
            cards: vec![
                card(Role::User, MessageStatus::Completed, "Tea?"),
                card(Role::Assistant, MessageStatus::Failed, "No"),
                card(Role::Assistant, MessageStatus::Pending, "Yes, "),
            ],
            poller: messages_poller(&place, uuid, None, 3, 300),
            more: None,
            replaces_title: false,
            path: place.chat(uuid),
            now: Timestamp(1_795_226_401_000),
        }
    }
}

/// The page of it.
#[derive(Template)]
#[template(path = "shared.html")]
pub struct SharedPage {
    pub main: SharedMain,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_a_shared_chat() {
        let page = SharedPage {
            main: SharedMain::sample(),
        };
        let page = page.render().unwrap();
        for word in ["<form", "/chat/", "popover"] {
            assert!(!page.contains(word), "{word}");
        }
        insta::with_settings!({filters => vec![(r"\?v=[0-9a-f]{16}", "?v=[hash]")]}, {
            insta::assert_snapshot!(page);
        });
    }
}

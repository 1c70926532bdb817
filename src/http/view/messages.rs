//! The messages poll, as JSON and as what a page takes in.

use askama::Template;
use entity::{ChatId, MessageId};
use serde::Serialize;
use utoipa::ToSchema;

use super::assets::Icon;
use super::message::{MessageCard, MessageView};
use super::place::Place;
use super::poller::Poller;
use super::words::W;
use crate::chat::{MessagesPoll, Quiet};

/// The answer of the messages poll.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessagesView {
    /// Changed ones first if a revision was sent along, then new ones, each oldest first.
    pub messages: Vec<MessageView>,
    pub revision: i64,
    pub has_more: bool,
    pub poll_after_ms: u64,
    /// The cursor for the next poll; null as long as the chat is empty.
    pub last_uuid: Option<MessageId>,
}

impl MessagesView {
    pub fn new(place: &Place, poll: MessagesPoll, poll_after_ms: u64) -> Self {
        Self {
            messages: poll
                .changed
                .into_iter()
                .chain(poll.new)
                .map(|read| MessageView::at(place, read))
                .collect(),
            revision: poll.revision,
            has_more: poll.has_more,
            poll_after_ms,
            last_uuid: poll.cursor,
        }
    }

    pub fn quiet(quiet: Quiet, poll_after_ms: u64) -> Self {
        Self {
            messages: Vec::new(),
            revision: quiet.revision,
            has_more: false,
            poll_after_ms,
            last_uuid: Some(quiet.cursor),
        }
    }
}

/// The element that polls for messages: where it goes on from.
pub fn messages_poller(
    place: &Place,
    chat: ChatId,
    cursor: Option<MessageId>,
    revision: i64,
    after_ms: u64,
) -> Poller {
    let cursor = cursor.map(|uuid| format!("/{uuid}")).unwrap_or_default();
    let path = place.chat(chat);
    let url = format!("{path}/messages{cursor}?revision={revision}");
    Poller {
        has_box: !place.is_read_only(),
        ..Poller::new(url, after_ms)
    }
}

/// What a page shows of the chat itself.
#[derive(Debug)]
pub struct TitleView {
    pub title: String,
}

/// New and changed messages for a page, and the poller that goes on.
#[derive(Template)]
#[template(path = "messages.html")]
pub struct MessagesFragment {
    pub chat: TitleView,
    pub replaces_title: bool,
    pub poller: Poller,
    pub new: Vec<MessageCard>,
    pub changed: Vec<MessageCard>,
}

impl MessagesFragment {
    pub fn new(place: &Place, poll: MessagesPoll, hint: u64, token_hint: u64) -> Self {
        let card = |read| MessageCard::new(place, read, token_hint);
        Self {
            chat: TitleView {
                title: poll.chat.title.clone(),
            },
            replaces_title: true,
            poller: messages_poller(place, poll.chat.id, poll.cursor, poll.revision, hint),
            new: poll.new.into_iter().map(card).collect(),
            changed: poll
                .changed
                .into_iter()
                .map(card)
                .map(MessageCard::replacing_another)
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use entity::chat_message::{Role, Status};

    use super::*;

    #[test]
    fn new_messages_are_appended_and_changed_ones_replaced() {
        let fragment = MessagesFragment {
            chat: TitleView {
                title: "Tea & so on".to_owned(),
            },
            replaces_title: true,
            poller: messages_poller(
                &Place::Owners,
                ChatId(uuid::Uuid::from_u128(1)),
                None,
                3,
                300,
            ),
            new: vec![MessageCard::sample(Role::Assistant, Status::Pending, "")],
            changed: vec![
                MessageCard::sample(Role::User, Status::Completed, "hi").replacing_another(),
            ],
        };
        insta::assert_snapshot!(fragment.render().unwrap());
    }
}

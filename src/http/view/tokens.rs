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
}

impl TokensView {
    pub fn new(poll: TokensPoll, poll_after_ms: u64) -> Self {
        Self {
            tokens: poll.delta.tokens,
            status: poll.status,
            append: poll.delta.append,
            position: poll.delta.position,
            poll_after_ms,
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
    pub poller: Poller,
}

impl TokensFragment {
    pub fn new(poll: TokensPoll, hint: u64) -> Self {
        let (uuid, position) = (poll.message, poll.delta.position);
        Self {
            uuid,
            tokens: poll.delta.tokens,
            append: poll.delta.append,
            poller: Poller::new(format!("/chat/message/{uuid}/tokens/{position}"), hint),
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
            poller: Poller::new(format!("/chat/message/{uuid}/tokens/12"), 300),
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

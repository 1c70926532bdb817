//! One chat, as JSON, as a view and as a page.

use std::collections::BTreeMap;

use askama::Template;
use entity::chat::{Model as Chat, OnBusy, Status};
use entity::chat_message::Role;
use entity::{ChatId, MessageId, Parameters, RequestId, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::assets::{self, Icon};
use super::frame::{Frame, Theme};
use super::message::{MessageCard, MessageView};
use super::messages::messages_poller;
use super::place::Place;
use super::poller::Poller;
use super::words::{self, W};
use crate::chat::{ChatDefaults, Created, MessageRead, MessagesPoll, Sent};
use crate::model::command::{COMMANDS, Entry};
use crate::model::delta::MAX_DELTA_BYTES;

/// The chat of the polling protocol.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChatView {
    pub uuid: ChatId,
    pub title: String,
    pub agent: Option<String>,
    /// The model that answers: the chat's own, or the server's default.
    pub model: String,
    pub status: Status,
    pub revision: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// What a message does that is sent while an answer is under way.
    pub on_busy: OnBusy,
    /// How the model is asked, beyond what its agent and the configuration say.
    pub parameters: Parameters,
    /// What a client keeps with the chat for itself.
    pub metadata: BTreeMap<String, String>,
    /// When the chat is erased by itself; not there: it is not, but for what its owner's tier says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl ChatView {
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
            on_busy: chat.on_busy.unwrap_or(defaults.on_busy),
            parameters: chat.parameters.unwrap_or_default(),
            metadata: chat.metadata.unwrap_or_default().0,
            expires_at: chat.expires_at,
        }
    }

    pub fn is_answering(&self) -> bool {
        self.status == Status::WaitingForChatbot
    }
}

/// The answer to a message that was sent, and to an answer that was asked for again.
#[derive(Debug, Serialize, ToSchema)]
pub struct SentView {
    pub message: MessageView,
    /// Null for a command, which has been carried out already.
    pub request_uuid: Option<RequestId>,
    /// Where the answer will appear: the messages poll after this message, or the token poll of
    /// the answer itself.
    pub poll_url: String,
    pub poll_after_ms: u64,
}

impl SentView {
    pub fn new(sent: Sent, poll_after_ms: u64) -> Self {
        let read = MessageRead::stored(sent.message, MAX_DELTA_BYTES);
        let message = MessageView::new(read);
        Self {
            poll_url: if message.role == Role::User {
                format!("/chat/{}/messages/{}", message.chat_uuid, message.uuid)
            } else {
                let (uuid, position) = (message.uuid, message.position);
                format!("/chat/message/{uuid}/tokens/{position}")
            },
            message,
            request_uuid: sent.request,
            poll_after_ms,
        }
    }
}

/// The answer to a create: the chat, and what a send answers if it came with a first message.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreatedView {
    #[serde(flatten)]
    pub chat: ChatView,
    #[serde(flatten)]
    #[schema(value_type = FirstSent)]
    pub first: Option<SentView>,
}

/// [`SentView`], of which all or nothing is there: how the document says it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is described, and never made")]
struct FirstSent {
    message: Option<MessageView>,
    request_uuid: Option<RequestId>,
    poll_url: Option<String>,
    poll_after_ms: Option<u64>,
}

impl CreatedView {
    pub fn new(created: Created, defaults: &ChatDefaults, poll_after_ms: u64) -> Self {
        Self {
            chat: ChatView::new(created.chat, defaults),
            first: created.first.map(|sent| SentView::new(sent, poll_after_ms)),
        }
    }
}

/// A chat with its messages: the part of a page below its head.
#[derive(Template)]
#[template(path = "chat_main.html")]
pub struct ChatMain {
    pub chat: ChatView,
    pub cards: Vec<MessageCard>,
    pub poller: Poller,
    /// Where there are more messages than the page has; a page with script polls for them.
    pub more: Option<String>,
    /// The UUID of the next message: sent twice, it is stored once.
    pub fresh: MessageId,
    pub commands: &'static [Entry],
    pub replaces_title: bool,
    now: Timestamp,
}

impl ChatMain {
    /// The files that a chat can be had as, and what they are called.
    const FORMATS: [(&str, &str); 4] = [
        ("html", "HTML"),
        ("pdf", "PDF"),
        ("markdown", "Markdown"),
        ("json", "JSON"),
    ];

    pub fn new(
        poll: MessagesPoll,
        defaults: &ChatDefaults,
        now: Timestamp,
        (hint, token_hint): (u64, u64),
    ) -> Self {
        let more = poll.cursor.filter(|_| poll.has_more);
        Self {
            poller: messages_poller(
                &Place::Owners,
                poll.chat.id,
                poll.cursor,
                poll.revision,
                hint,
            ),
            more: more.map(|cursor| format!("/chat/{}?after={cursor}", poll.chat.id)),
            fresh: MessageId::generate(),
            commands: &COMMANDS,
            replaces_title: false,
            now,
            chat: ChatView::new(poll.chat, defaults),
            cards: poll
                .new
                .into_iter()
                .map(|read| MessageCard::new(&Place::Owners, read, token_hint))
                .collect(),
        }
    }

    /// Where a page without script looks again: at the end of the messages, and never at the address
    /// that it has, for then the browser would only go to the end of what it has.
    pub fn look_again(&self) -> String {
        format!("/chat/{}?look={}#end", self.chat.uuid, self.now.0)
    }

    /// Whether something is still to come, for which a page without script looks again: also if
    /// the chat went on while it was read, for then the page may have a question without its answer.
    pub fn is_pending(&self) -> bool {
        is_open(self.chat.status, self.chat.revision, &self.cards)
    }

    #[cfg(any(test, debug_assertions))]
    pub fn sample() -> Self {
        use entity::chat_message::Status as MessageStatus;
        let uuid = ChatId(uuid::Uuid::from_u128(1));
        Self {
            chat: ChatView {
                uuid,
                title: "Tea & <biscuits>".to_owned(),
                agent: None,
                model: "demo".to_owned(),
                status: Status::WaitingForChatbot,
                revision: 3,
                created_at: Timestamp(1_795_226_400_000),
                updated_at: Timestamp(1_795_226_400_000),
                on_busy: OnBusy::Enqueue,
                parameters: Parameters::default(),
                metadata: BTreeMap::new(),
                expires_at: None,
            },
            cards: vec![
                MessageCard::sample(Role::User, MessageStatus::Completed, "Tea?"),
                MessageCard::sample(Role::Assistant, MessageStatus::Pending, "Yes, "),
            ],
            poller: messages_poller(&Place::Owners, uuid, None, 3, 300),
            more: Some(format!("/chat/{uuid}?after={uuid}")),
            fresh: MessageId(uuid::Uuid::from_u128(9)),
            commands: &COMMANDS[..2],
            replaces_title: false,
            now: Timestamp(1_795_226_401_000),
        }
    }
}

/// Whether something is still to come in a chat of which this much is shown.
pub(super) fn is_open(status: Status, revision: i64, cards: &[MessageCard]) -> bool {
    let is_open = |card: &MessageCard| card.is_pending() || card.revision > revision;
    status == Status::WaitingForChatbot || cards.iter().any(is_open)
}

/// The page of a chat.
#[derive(Template)]
#[template(path = "chat.html")]
pub struct ChatPage {
    pub frame: Frame,
    pub main: ChatMain,
}

/// A chat was brought back: it takes the place of what is shown, and nothing is said of it any more.
#[derive(Template)]
#[template(path = "restored.html")]
pub struct RestoredFragment {
    pub main: ChatMain,
}

/// A chat has another title: the heading of a page that shows it, and the lists that it is in.
#[derive(Template)]
#[template(path = "renamed.html")]
pub struct RenamedFragment {
    pub chat: ChatView,
    pub is_shown: bool,
}

/// A chat was deleted, and can still be brought back.
#[derive(Template)]
#[template(path = "deleted.html")]
pub struct DeletedNotice {
    pub chat: ChatId,
    pub title: String,
}

/// A message box without a complaint: what HTMX gets for a message that was sent.
#[derive(Template)]
#[template(path = "composer_sent.html")]
pub struct ComposerSent {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_a_chat() {
        let page = ChatPage {
            frame: Frame::default(),
            main: ChatMain::sample(),
        };
        insta::with_settings!({filters => vec![(r"\?v=[0-9a-f]{16}", "?v=[hash]")]}, {
            insta::assert_snapshot!(page.render().unwrap());
        });
    }

    #[test]
    fn a_page_looks_again_while_something_is_to_come() {
        use entity::chat_message::Status as MessageStatus;
        let mut main = ChatMain::sample();
        assert!(main.is_pending(), "the chat waits for its answer");
        main.chat.status = Status::WaitingForUser;
        assert!(main.is_pending(), "the answer is pending");
        main.cards = vec![MessageCard::sample(
            Role::User,
            MessageStatus::Completed,
            "Tea?",
        )];
        assert!(!main.is_pending());
        // The chat was read before the request was claimed, its messages after that.
        main.chat.revision = main.cards[0].revision - 1;
        assert!(main.is_pending(), "the chat went on while it was read");
    }
}

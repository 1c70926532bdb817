//! What goes over the wire, as docs/POLLING.md has it. Fields that a later server adds are passed over.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chat {
    pub uuid: Uuid,
    #[serde(default)]
    pub title: String,
    #[serde(default)]
    pub agent: Option<String>,
    #[serde(default)]
    pub model: Option<String>,
    pub status: ChatStatus,
    /// Grows with each change of the chat's.
    pub revision: u64,
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChatStatus {
    WaitingForUser,
    WaitingForChatbot,
}

/// Whose message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    System,
    User,
    Assistant,
    /// The server itself: what a command answered.
    Agent,
    #[serde(other)]
    Unknown,
}

/// How a message is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Pending,
    Completed,
    Failed,
    Cancelled,
}

impl Status {
    /// Whether nothing more comes.
    #[must_use]
    pub fn is_over(self) -> bool {
        self != Self::Pending
    }
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub uuid: Uuid,
    pub chat_uuid: Uuid,
    /// The question that an answer answers.
    #[serde(default)]
    pub reply_to: Option<Uuid>,
    pub role: Role,
    pub status: Status,
    /// The text so far; not all of it where `truncated` says so.
    #[serde(default)]
    pub content: String,
    /// Where a [`Reading`](super::Reading) may go on that has `content` already.
    #[serde(default)]
    pub position: u64,
    /// When it was made, RFC 3339.
    #[serde(default)]
    pub created_at: String,
    /// Why it failed, or that it was stopped.
    #[serde(default)]
    pub error: Option<AnswerError>,
    #[serde(default)]
    pub truncated: bool,
    /// It is not to be shown any more.
    #[serde(default)]
    pub deleted: bool,
    /// Which of its versions this is, from 1.
    #[serde(default)]
    pub version: u64,
    #[serde(default)]
    pub model: Option<String>,
    /// `stop`, `length`, or the provider's own word.
    #[serde(default)]
    pub finish_reason: Option<String>,
}

/// Why there is no whole answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerError {
    /// For programs: `provider_rate_limited`.
    pub code: String,
    /// For people.
    #[serde(default)]
    pub message: String,
}

/// A chat that is to be made, with a first message or without.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewChat {
    /// The same UUID is the same chat: so making it may be repeated.
    pub uuid: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Default for NewChat {
    fn default() -> Self {
        Self {
            uuid: Uuid::now_v7(),
            title: None,
            model: None,
            agent: None,
            message: None,
        }
    }
}

impl NewChat {
    /// One that begins with a question.
    #[must_use]
    pub fn asking(question: impl Into<String>) -> Self {
        Self {
            message: Some(question.into()),
            ..Self::default()
        }
    }
}

/// A message that is to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewMessage {
    /// The same UUID with the same words is the same message: so sending it may be repeated.
    pub uuid: Uuid,
    pub message: String,
    /// Who answers this one; none: as the chat has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

impl NewMessage {
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            uuid: Uuid::now_v7(),
            message: message.into(),
            model: None,
        }
    }
}

/// A message as it was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    pub message: Message,
    /// None for a command, which has been carried out already.
    #[serde(default)]
    pub request_uuid: Option<Uuid>,
    #[serde(default)]
    pub poll_after_ms: u64,
}

/// A chat as it was made, and its first message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    #[serde(flatten)]
    pub chat: Chat,
    #[serde(default)]
    pub message: Option<Message>,
    #[serde(default)]
    pub poll_after_ms: Option<u64>,
}

/// What a messages poll brings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Messages {
    pub messages: Vec<Message>,
    pub revision: u64,
    #[serde(default)]
    pub has_more: bool,
    #[serde(default)]
    pub poll_after_ms: u64,
    #[serde(default)]
    pub last_uuid: Option<Uuid>,
}

/// What a token poll brings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    pub tokens: String,
    pub status: Status,
    /// Whether `tokens` goes behind what there is, or takes its place.
    pub append: bool,
    pub position: u64,
    #[serde(default)]
    pub poll_after_ms: u64,
}

/// What a cancel found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancelled {
    /// Whether this was what stopped it.
    pub cancelled: bool,
    /// How it was before.
    pub found: Status,
    pub message: Message,
}

/// A model that may be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    pub id: String,
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub default: bool,
}

/// A persona.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    pub alias: String,
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub description: String,
}

/// A slash command of the server's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// With its slash.
    pub command: String,
    #[serde(default)]
    pub usage: String,
    #[serde(default)]
    pub description: String,
}

#[derive(Deserialize)]
pub(super) struct Models {
    pub models: Vec<Model>,
}

#[derive(Deserialize)]
pub(super) struct Agents {
    pub agents: Vec<Agent>,
}

#[derive(Deserialize)]
pub(super) struct Commands {
    pub commands: Vec<Command>,
}

//! A chat as a document: what its owner sees of it, complete enough to become a chat again. Its fields are a promise: their
//! schema is served, stands in `docs/`, and a change of it shows in a snapshot.

mod check;
mod prose;

use std::collections::{BTreeMap, HashMap, HashSet};

use entity::chat::{Model as Chat, OnBusy};
use entity::chat_message::{Model as Message, Reaction, Role, Status};
use entity::message_version::Model as Version;
use entity::{ChatId, MessageId, Origin, Parameters, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::failure::Failure;

pub use check::{MAX_MESSAGES, Mistake, check};
pub use prose::{as_markdown, as_text};

/// What documents of this kind call their schema: where a server has it, too.
pub const SCHEMA: &str = "/schemas/chat-export-1.json";
/// The version of that schema.
pub const VERSION: u32 = 1;

/// A chat with what was said in it: questions and answers in their order, without commands, and without what was deleted or
/// superseded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatDocument {
    /// `/schemas/chat-export-1.json`
    #[schema(pattern = "^/schemas/chat-export-1\\.json$")]
    pub schema: String,
    /// 1
    #[schema(minimum = 1, maximum = 1)]
    pub version: u32,
    pub uuid: ChatId,
    #[schema(min_length = 1, max_length = 200)]
    pub title: String,
    #[serde(default)]
    pub agent: Option<String>,
    /// The model that answers; null: the server's default.
    #[serde(default)]
    pub model: Option<String>,
    /// How the model is asked, beyond what its agent and the configuration say.
    #[serde(default)]
    pub parameters: Parameters,
    /// What a message does that is sent while an answer is under way; null: as the server has it.
    #[serde(default)]
    pub on_busy: Option<OnBusy>,
    /// What a client keeps with the chat for itself.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// When the chat is erased by itself.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    #[schema(max_items = 10000)]
    pub messages: Vec<MessageDocument>,
}

/// Who says something in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Speaker {
    User,
    Assistant,
}

/// A question or an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MessageDocument {
    pub uuid: MessageId,
    pub role: Speaker,
    /// One that is `pending` is taken in as `cancelled`: nobody works on it there.
    pub status: Status,
    /// The question that an answer answers: an earlier message of the document.
    #[serde(default)]
    pub reply_to: Option<MessageId>,
    /// As it was written: answers are Markdown.
    pub content: String,
    /// What the model thought before it answered.
    #[serde(default)]
    pub reasoning: String,
    /// The model that wrote it.
    #[serde(default)]
    #[schema(max_length = 200)]
    pub model: Option<String>,
    #[serde(default)]
    #[schema(max_length = 200)]
    pub provider: Option<String>,
    /// Why the model stopped: `stop`, `length`, or the provider's own word.
    #[serde(default)]
    #[schema(max_length = 200)]
    pub finish_reason: Option<String>,
    /// The answer is one that was given before to the same question.
    #[serde(default)]
    pub cached: bool,
    /// Earlier messages that the model was not sent, because its context window was full.
    #[serde(default)]
    pub left_out: u32,
    /// It was sent a summary of them.
    #[serde(default)]
    pub summarised: bool,
    #[serde(default)]
    pub error: Option<Failure>,
    #[serde(default)]
    pub reaction: Option<ReactionDocument>,
    /// Which of its versions the text is, from 1.
    #[serde(default = "first")]
    #[schema(minimum = 1, maximum = 10000)]
    pub version: i64,
    /// The other texts that the message has had, by their numbers.
    #[serde(default)]
    pub versions: Vec<VersionDocument>,
    pub created_at: Timestamp,
    #[serde(default)]
    pub completed_at: Option<Timestamp>,
}

/// Another text that a message has had.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VersionDocument {
    #[schema(minimum = 1, maximum = 10000)]
    pub version: i64,
    pub status: Status,
    pub content: String,
    #[serde(default)]
    pub reasoning: String,
    #[serde(default)]
    #[schema(max_length = 200)]
    pub model: Option<String>,
    #[serde(default)]
    #[schema(max_length = 200)]
    pub provider: Option<String>,
    #[serde(default)]
    #[schema(max_length = 200)]
    pub finish_reason: Option<String>,
    #[serde(default)]
    pub cached: bool,
    #[serde(default)]
    pub left_out: u32,
    #[serde(default)]
    pub summarised: bool,
    #[serde(default)]
    pub error: Option<Failure>,
    #[serde(default)]
    pub reaction: Option<ReactionDocument>,
    #[serde(default)]
    pub completed_at: Option<Timestamp>,
}

/// What the owner thinks of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReactionDocument {
    pub reaction: Reaction,
    /// Why, in their words.
    #[serde(default)]
    #[schema(max_length = 2000)]
    pub comment: Option<String>,
}

fn first() -> i64 {
    1
}

/// The document of a chat. `messages`: all of them in their order, with the texts that they have; `versions`: those of all of
/// them, by their numbers.
#[must_use]
pub fn document(chat: &Chat, messages: &[Message], versions: &[Version]) -> ChatDocument {
    let said: Vec<&Message> = messages.iter().filter(|message| is_said(message)).collect();
    let uuids: HashSet<MessageId> = said.iter().map(|message| message.id).collect();
    let mut others: HashMap<MessageId, Vec<VersionDocument>> = HashMap::new();
    for version in versions {
        let of_message = others.entry(version.message_id).or_default();
        of_message.push(version_document(version));
    }
    let messages = said.into_iter().map(|message| {
        let mut versions = others.remove(&message.id).unwrap_or_default();
        // The one that is shown may have been kept, too.
        versions.retain(|other| other.version != message.version);
        let reply_to = message.reply_to.filter(|question| uuids.contains(question));
        message_document(message, reply_to, versions)
    });
    ChatDocument {
        schema: SCHEMA.to_owned(),
        version: VERSION,
        uuid: chat.id,
        title: chat.title.clone(),
        agent: chat.agent.clone(),
        model: chat.model.clone(),
        parameters: chat.parameters.clone().unwrap_or_default(),
        on_busy: chat.on_busy,
        metadata: chat.metadata.clone().unwrap_or_default().0,
        created_at: chat.created_at,
        updated_at: chat.updated_at,
        expires_at: chat.expires_at,
        messages: messages.collect(),
    }
}

/// Whether it is a question or an answer that is there to be seen.
fn is_said(message: &Message) -> bool {
    let is_said = match message.role {
        // One without a request is a command.
        Role::User => message.request_id.is_some(),
        Role::Assistant => true,
        Role::System | Role::Agent => false,
    };
    is_said && message.deleted_at.is_none() && message.superseded_at.is_none()
}

fn message_document(
    message: &Message,
    reply_to: Option<MessageId>,
    versions: Vec<VersionDocument>,
) -> MessageDocument {
    let origin = message.origin.clone().unwrap_or_default();
    MessageDocument {
        uuid: message.id,
        role: match message.role {
            Role::User => Speaker::User,
            Role::Assistant | Role::System | Role::Agent => Speaker::Assistant,
        },
        status: message.status,
        reply_to,
        content: message.content.clone(),
        reasoning: message.reasoning.clone(),
        model: origin.model,
        provider: origin.provider,
        finish_reason: origin.finish_reason,
        cached: origin.cached,
        left_out: origin.left_out,
        summarised: origin.summarised,
        error: failure(
            message.error_code.as_deref(),
            message.error_message.as_deref(),
        ),
        reaction: reaction(message.reaction, message.reaction_comment.as_ref()),
        version: message.version,
        versions,
        created_at: message.created_at,
        completed_at: message.completed_at,
    }
}

fn version_document(version: &Version) -> VersionDocument {
    let origin = version.origin.clone().unwrap_or_default();
    VersionDocument {
        version: version.number,
        status: version.status,
        content: version.content.clone(),
        reasoning: version.reasoning.clone(),
        model: origin.model,
        provider: origin.provider,
        finish_reason: origin.finish_reason,
        cached: origin.cached,
        left_out: origin.left_out,
        summarised: origin.summarised,
        error: failure(
            version.error_code.as_deref(),
            version.error_message.as_deref(),
        ),
        reaction: reaction(version.reaction, version.reaction_comment.as_ref()),
        completed_at: version.completed_at,
    }
}

fn failure(code: Option<&str>, message: Option<&str>) -> Option<Failure> {
    Failure::from_stored(code, message)
}

fn reaction(reaction: Option<Reaction>, comment: Option<&String>) -> Option<ReactionDocument> {
    reaction.map(|reaction| ReactionDocument {
        reaction,
        comment: comment.cloned(),
    })
}

impl MessageDocument {
    /// Who wrote the text, as a row has it. None: nothing is known of it.
    #[must_use]
    pub fn origin(&self) -> Option<Origin> {
        known(Origin {
            model: self.model.clone(),
            provider: self.provider.clone(),
            finish_reason: self.finish_reason.clone(),
            cached: self.cached,
            left_out: self.left_out,
            summarised: self.summarised,
        })
    }
}

impl VersionDocument {
    /// The same of another text.
    #[must_use]
    pub fn origin(&self) -> Option<Origin> {
        known(Origin {
            model: self.model.clone(),
            provider: self.provider.clone(),
            finish_reason: self.finish_reason.clone(),
            cached: self.cached,
            left_out: self.left_out,
            summarised: self.summarised,
        })
    }
}

fn known(origin: Origin) -> Option<Origin> {
    (origin != Origin::default()).then_some(origin)
}

//! Who answers: the models, one file per wire format.
//!
//! A provider turns a conversation into a stream of events and does nothing else: it knows no
//! chat, no database and no retry. Dropping the stream drops the connection.

mod anthropic;
mod catalogue;
mod conversation;
mod demo;
mod error;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod gemini;
mod measured;
mod ollama;
mod openai;
mod responses;
mod wire;

use futures::future::BoxFuture;
use futures::stream::BoxStream;

use serde::Serialize;

use crate::model::parameters::Parameters;
use crate::model::usage::Usage;

pub use crate::model::parameters::Capabilities;
pub use catalogue::{Catalogue, DefaultModel, Entry, Label, Route, UnknownModel, is_same_model};
pub use demo::{DEMO_MODEL, Demo, DemoSettings};
pub use error::{ProviderError, Verdict};
pub use wire::{
    ConnectError, Document, FetchError, KeyHeader, Outlet, ProviderSettings, TimeLimits,
    WireFormat, connect, date_at,
};

/// Who said something, in the words that model servers share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Speaker {
    System,
    User,
    Assistant,
}

/// One entry of the conversation that a model is to go on with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Turn {
    pub speaker: Speaker,
    pub content: String,
    /// What the model had thought before it said so. Only providers that want it back get it.
    pub reasoning: Option<String>,
}

/// What a model is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The provider's own name of the model.
    pub model: String,
    /// Oldest first; the last one is the user message to be answered.
    pub turns: Vec<Turn>,
    pub parameters: Parameters,
    /// Tokens that the model reads and writes together, for servers that have to be told.
    pub context_window: Option<u32>,
    /// Longest answer in tokens that the model can give, for servers that have to be told.
    pub max_output: Option<u32>,
}

/// What comes back, piece by piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// More of the answer.
    Text(String),
    /// More of what the model thinks before it answers.
    Reasoning(String),
    /// More of a call of a tool. Pollen offers none, so a model that makes one has been misled.
    ToolCall(ToolCall),
    /// Tokens counted so far; a later one replaces an earlier one, field by field.
    Usage(Usage),
    /// The model has finished the answer. Without this event an answer is broken off, however
    /// politely the connection was closed. `reason` is one of OpenAI's words where there is one:
    /// `stop`, `length`, `tool_calls`; else the provider's own.
    Finished { reason: String },
}

/// A piece of a tool call: which one, the tool's name (in its first piece), more of the arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    /// Counts the calls of one answer from 0.
    pub index: usize,
    pub name: Option<String>,
    pub arguments: String,
}

/// A model that a provider says it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedModel {
    /// The provider's own name for it.
    pub id: String,
    /// The name for people, if it has another one.
    pub name: Option<String>,
    pub context_window: Option<u32>,
    pub max_output: Option<u32>,
}

/// A service that runs models.
pub trait Provider: Send + Sync {
    /// A short name for people: `openai`, `ollama`, `demo`.
    fn name(&self) -> &str;

    /// Tells it from every other one, of other servers too: its address.
    fn address(&self) -> String;

    /// Asks, and gives the answer as it comes. The stream ends after an error, or at its end.
    fn answer(&self, call: Call) -> BoxStream<'static, Result<Event, ProviderError>>;

    /// The models that it has, as far as it tells.
    fn models(&self) -> BoxFuture<'static, Result<Vec<ListedModel>, ProviderError>>;

    /// What its wire format can carry.
    fn capabilities(&self) -> Capabilities;

    /// Whether it is sent what a model thought before its earlier answers.
    fn sends_reasoning(&self) -> bool {
        false
    }

    /// Whether it sets memory aside for the whole context window that a call names, so that a guess
    /// might cost somebody all of it.
    fn reserves_window(&self) -> bool {
        false
    }
}

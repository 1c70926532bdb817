//! Who answers: the models, one file per wire format.
//!
//! A provider turns a conversation into a stream of events and does nothing else: it knows no
//! chat, no database and no retry. Dropping the stream drops the connection.

mod demo;
mod error;
mod openai;
mod select;
mod sse;

use futures::stream::BoxStream;

use crate::model::usage::Usage;

pub use demo::{Demo, DemoSettings};
pub use error::{ProviderError, Verdict};
pub use openai::{OpenAi, OpenAiSettings, TimeLimits};
pub use select::{Choice, Selection, select};

/// Who said something, in the words that model servers share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    System,
    User,
    Assistant,
}

/// One entry of the conversation that a model is to go on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    pub speaker: Speaker,
    pub content: String,
}

/// What a model is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The provider's name of the model; none means the provider's default.
    pub model: Option<String>,
    /// Oldest first; the last one is the user message to be answered.
    pub turns: Vec<Turn>,
}

/// What comes back, piece by piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// More text.
    Text(String),
    /// Tokens counted so far; a later one replaces an earlier one.
    Usage(Usage),
    /// The model has finished the answer. Without this event an answer is broken off, however
    /// politely the connection was closed.
    Finished { reason: String },
}

/// A service that runs models.
pub trait Provider: Send + Sync {
    /// A short name for people: `openai`, `ollama`, `demo`.
    fn name(&self) -> &str;

    /// The model that answers when none is asked for.
    fn default_model(&self) -> &str;

    /// Whether it makes sense to ask for a model of this name. A provider that cannot tell says yes.
    fn accepts(&self, model: &str) -> bool;

    /// Asks, and gives the answer as it comes. The stream ends after an error, or at its end.
    fn answer(&self, call: Call) -> BoxStream<'static, Result<Event, ProviderError>>;
}

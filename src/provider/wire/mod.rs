//! The way to a model's server, the same for all wire formats: one client with its limits, one way
//! to send, to read lines, to explain what went wrong. What differs is behind [`Format`].

mod client;
mod date;
mod document;
mod explain;
mod format;
mod framing;
#[cfg(feature = "fuzz")]
pub(super) mod fuzz;
mod outlet;
mod remote;
mod settings;
mod sse;

use std::sync::Arc;

use super::Provider;
use super::{anthropic, gemini, ollama, openai, responses};

pub use date::date_at;
pub use document::{Document, FetchError};
pub(super) use format::{Format, Parser, Place, Trouble, finished, set, text_of, tokens};
pub(super) use framing::Framing;
pub use outlet::Outlet;
pub use settings::{ConnectError, KeyHeader, ProviderSettings, TimeLimits, WireFormat};

/// Makes the client for one provider. Nothing is sent yet.
///
/// # Errors
/// If the settings make no client: an address that is none, a key that cannot be sent, a
/// certificate that cannot be read.
pub fn connect(settings: ProviderSettings) -> Result<Arc<dyn Provider>, ConnectError> {
    Ok(Arc::new(remote(settings)?))
}

fn remote(settings: ProviderSettings) -> Result<remote::Remote, ConnectError> {
    let way = client::open(&settings)?;
    let format: Box<dyn Format> = match settings.format {
        WireFormat::OpenAi => Box::new(openai::Chat::new(&way.base, settings.send_reasoning)),
        WireFormat::OpenAiResponses => Box::new(responses::Responses),
        WireFormat::Anthropic => Box::new(anthropic::Anthropic),
        WireFormat::Gemini => Box::new(gemini::Gemini),
        WireFormat::Ollama => Box::new(ollama::Ollama),
    };
    Ok(remote::Remote::new(way, format, settings))
}

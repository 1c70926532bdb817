//! Fuzz targets: what a model's server may send, one target a wire format.

use super::WireFormat;
use super::wire::Framing;
use super::wire::fuzz::{answer, framing_alone};

/// Server-sent events, cut into packets anywhere.
pub(crate) fn sse(data: &[u8]) {
    framing_alone(Framing::Events, data);
}

/// JSON objects, one a line, cut into packets anywhere.
pub(crate) fn ndjson(data: &[u8]) {
    framing_alone(Framing::Lines, data);
}

pub(crate) fn openai(data: &[u8]) {
    answer(WireFormat::OpenAi, data);
}

pub(crate) fn responses(data: &[u8]) {
    answer(WireFormat::OpenAiResponses, data);
}

pub(crate) fn anthropic(data: &[u8]) {
    answer(WireFormat::Anthropic, data);
}

pub(crate) fn gemini(data: &[u8]) {
    answer(WireFormat::Gemini, data);
}

pub(crate) fn ollama(data: &[u8]) {
    answer(WireFormat::Ollama, data);
}

//! What is fuzzed: everything that makes something of bytes from outside, as functions of bytes that
//! panic when a rule is broken. cargo-fuzz calls them for hours (`fuzz/`), the tests for a moment
//! (`tests/security/fuzz.rs`), and no other build has them (the feature `fuzz`). `docs/FUZZING.md` says how.
//!
//! A new target is a function next to what it is about, a line here, and a line in `fuzz/Cargo.toml`.

use crate::http::fuzz as http;
use crate::identity::fuzz as identity;
use crate::model::fuzz as model;
use crate::provider::fuzz as provider;

/// Takes any bytes, and panics if they break something.
pub type Target = fn(&[u8]);

/// All targets, by their names.
pub const TARGETS: [(&str, Target); 23] = [
    // What a client sends.
    ("position", model::position),
    ("page_cursor", http::page_cursor),
    ("path", http::path),
    ("query", http::query),
    ("body", http::body),
    ("headers", http::headers),
    ("idempotency_key", http::idempotency_key),
    ("request_id", http::request_id),
    ("text", model::text),
    // Who a client says that it is.
    ("jwt", identity::jwt),
    ("jwks", identity::jwks),
    ("bearer", http::bearer),
    ("cookie", http::cookie),
    ("gateway", http::gateway),
    // What a model's server sends.
    ("sse", provider::sse),
    ("ndjson", provider::ndjson),
    ("openai", provider::openai),
    ("responses", provider::responses),
    ("anthropic", provider::anthropic),
    ("gemini", provider::gemini),
    ("ollama", provider::ollama),
    // What becomes of it on a page.
    ("markdown", http::markdown),
    ("tokens_page", http::tokens_page),
];

/// Runs one target.
///
/// # Panics
/// If there is no such target, or the bytes break it.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    assert!(target.is_some(), "{name} is no target");
    if let Some((_, target)) = target {
        target(data);
    }
}

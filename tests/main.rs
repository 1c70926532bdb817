//! The integration tests: one binary, a folder per concern. Every server that a test needs it
//! starts itself, on loopback and a free port, and stops again.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that meets the unexpected is to end there"
)]

#[macro_use]
mod support;

mod api;
mod browser;
mod cache;
mod crash;
mod deploy;
mod docs;
mod exchange;
mod frontend;
mod limits;
mod machine;
mod models;
mod openai;
mod operate;
mod operations;
mod path;
mod privacy;
mod protocol;
mod proxies;
mod security;
mod start;
mod terminal;
mod third_party;
mod tidy;
mod v1;
mod wire;

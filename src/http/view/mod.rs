//! What is answered: one typed view per route, which serialises to JSON and has HTML twins whose
//! templates stand in `../templates`. Those that
//! a page is made of are rendered in tests from a `sample()`.

pub mod about;
pub mod account;
pub mod agents;
pub mod archive;
pub mod assets;
pub mod batch;
pub mod chat;
pub mod commands;
#[cfg(any(test, debug_assertions))]
pub mod components;
pub mod export;
pub mod frame;
pub mod history;
pub mod home;
pub mod import;
pub mod list;
pub mod markdown;
pub mod message;
pub mod messages;
pub mod models;
pub mod pdf;
pub mod place;
pub mod poller;
pub mod problem;
pub mod reaction;
pub mod reference;
pub mod schema;
pub mod search;
pub mod share;
pub mod shared;
pub mod tokens;
pub mod usage;
pub mod versions;
pub mod words;

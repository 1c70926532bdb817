//! Pollen: an AI chat server for places where streams cannot go. `docs/ARCHITECTURE.md` is the map.
//!
//! Imports point down only:
//! `main → cli → app → {http, worker} → chat → {ledger, provider, cache} → store → model → entity`, `limit` between
//! `http` and `cache`,
//! with `config` at the bottom, handed up in parts. `cli → terminal → client` is the other side: [`client`] is for programs of
//! anybody's.

pub mod app;
pub mod cache;
pub mod chat;
pub mod cli;
pub mod client;
pub mod config;
mod fault;
#[cfg(feature = "fuzz")]
pub mod fuzz;
pub mod http;
pub mod identity;
pub mod ledger;
pub mod limit;
pub mod model;
pub mod provider;
pub mod store;
pub mod terminal;
pub mod trace;
pub mod worker;

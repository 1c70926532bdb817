//! The pure rules: no input or output, nothing asynchronous, nothing that waits.

pub mod agent;
pub mod allowance;
pub mod clock;
pub mod command;
pub mod context;
pub mod delta;
pub mod exchange;
pub mod failure;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
pub mod hint;
pub mod history;
pub mod metadata;
pub mod parameters;
pub mod position;
pub mod search;
pub mod secret;
pub mod spec;
pub mod text;
pub mod tokens;
pub mod usage;

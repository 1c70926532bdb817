//! The pure rules: no input or output, nothing asynchronous, nothing that waits.

pub mod clock;
pub mod delta;
pub mod failure;
pub mod hint;
pub mod history;
pub mod position;
pub mod text;
pub mod usage;

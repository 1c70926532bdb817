//! From a message to its answer: the order of things, what the model is sent, and what happens
//! when it fails.

mod database;
mod failures;
mod history;
mod rescue;

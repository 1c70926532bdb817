//! From a message to its answer: the order of things, what the model is sent, and what happens
//! when it fails.

mod batches;
mod database;
mod failures;
mod faults;
mod history;
mod migration;
mod nodes;
mod released;
mod repair;
mod rescue;
mod retries;

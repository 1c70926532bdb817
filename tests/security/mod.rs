//! Who may do what, and what nobody may do.

mod admin;
pub mod callers;
mod dangers;
mod ends;
mod fuzz;
mod identity;
mod keys;
mod outage;
mod permissions;
mod publisher;
mod schemathesis;
mod secrets;
mod slowloris;

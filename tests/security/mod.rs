//! Who may do what, and what nobody may do.

mod admin;
pub mod callers;
mod fuzz;
mod identity;
mod schemathesis;
mod slowloris;

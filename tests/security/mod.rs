//! Who may do what, and what nobody may do.

mod callers;
mod fuzz;
mod identity;
mod schemathesis;
mod slowloris;

//! Who may do what, and what nobody may do.

mod callers;
mod identity;
mod schemathesis;

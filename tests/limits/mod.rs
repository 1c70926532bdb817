//! How often somebody may ask, and how much at once.

mod bodies;
mod rates;
mod shared;

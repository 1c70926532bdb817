//! The terminal client: `pollen ask`, `pollen chat` and `pollen tail` (docs/CLIENT.md). All that they know of a server goes
//! through `client`; what is here is what a person sees and types, and what a script gets.

mod ask;
mod chat;
mod clean;
mod code;
mod growing;
mod lines;
mod markdown;
mod outcome;
mod prompt;
mod screen;
mod show;
mod state;
mod tail;
mod way;

pub use ask::{Ask, ask};
pub use chat::{Talk, chat};
pub use outcome::Outcome;
pub use screen::Colour;
pub use tail::{Tail, tail};
pub use way::Server;

//! A client of Pollen's polling protocol (docs/POLLING.md): small, and public, for programs of your own. It knows
//! nothing of the server's inside; `pollen ask`, `chat` and `tail` are made of it.
//!
//! ```no_run
//! # async fn example() -> Result<(), pollen::client::Error> {
//! use pollen::client::{Client, NewChat, Progress};
//!
//! let client = Client::builder("http://127.0.0.1:8080").build()?;
//! let (_chat, mut answer) = client.ask(&NewChat::asking("What are you?")).await?;
//! let mut text = String::new();
//! loop {
//!     match answer.next(&client).await? {
//!         Progress::Appended(more) => text.push_str(&more),
//!         Progress::Replaced(anew) => text = anew,
//!         Progress::Ended(message) => break println!("{text} ({:?})", message.status),
//!         Progress::Begun(_) | Progress::Withdrawn => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! - **Adaptive delay**: polls go at the pace that the server's `poll_after_ms` names, give or take a tenth, so that
//!   clients that began together do not stay together.
//! - **Back-off**: what fails on the way, and what the server says it cannot do now (408, 429, 5xx), is sent again after a
//!   wait that grows and is drawn by lot, or after `Retry-After`, until the [`Patience`] is at its end. Everything may
//!   be sent twice: chats and messages have a UUID that the client chooses, so nothing is asked twice.
//! - **Resume**: an [`Answer`], a [`Reading`] and a [`Following`] can be written down (serde) after any step, and
//!   go on from there in another process. Every `next` may be dropped at any time (`select!`) without losing anything.
//!
//! `examples/resume.rs` does all of that in one small program.

mod answer;
mod call;
mod connect;
mod error;
mod following;
mod pace;
mod patience;
mod reading;
mod shapes;

pub use answer::{Answer, Progress};
pub use call::Client;
pub use connect::Builder;
pub use error::{Error, Problem};
pub use following::Following;
pub use patience::{Patience, Setback};
pub use reading::{Piece, Reading};
pub use shapes::{
    Agent, AnswerError, Cancelled, Chat, ChatStatus, Command, Created, Message, Messages, Model,
    NewChat, NewMessage, Role, Sent, Status, Tokens,
};

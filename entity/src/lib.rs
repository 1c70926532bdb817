//! The tables, one file each: columns, newtype ids and stored enums. No logic lives here,
//! so that a reader learns the shape of the data from this crate alone.

pub mod api_token;
pub mod archive;
pub mod archive_piece;
pub mod audit_log;
pub mod chat;
pub mod chat_message;
pub mod idempotency_key;
pub mod llm_attempt;
pub mod llm_request;
pub mod message_version;
pub mod session;
pub mod share;
pub mod token_ledger;
pub mod user;

mod asked_as;
mod ids;
mod metadata;
mod origin;
mod parameters;
mod timestamp;

pub use asked_as::{AskedAs, Surface};
pub use ids::{ArchiveId, ChatId, MessageId, OwnerId, RequestId, SessionId, ShareId, TokenId};
pub use metadata::Metadata;
pub use origin::Origin;
pub use parameters::{Effort, Parameters};
pub use timestamp::Timestamp;

//! The token ledgers of the answers that are being written: in memory for the node's own pollers,
//! flushed to the database in groups, followed there by other nodes. And what of quiet chats and finished messages is
//! remembered, so that polls of them touch no database either.

mod backlog;
mod flusher;
mod follower;
mod heads;
mod live;
mod remembered;
mod stops;
mod track;

pub use flusher::{FlushSettings, Flusher, Leases};
pub use follower::{Followed, Follower};
pub use heads::Heads;
pub use live::{LedgerFull, LedgerLimits, Ledgers, Live, LiveIds, Sealed};
pub use stops::Stop;

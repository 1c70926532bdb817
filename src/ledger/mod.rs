//! The token ledgers of the answers that are being written: in memory for the node's own pollers,
//! flushed to the database in groups, followed there by other nodes.

mod backlog;
mod flusher;
mod follower;
mod live;
mod track;

pub use flusher::{FlushSettings, Flusher, Leases};
pub use follower::{Followed, Follower};
pub use live::{LedgerFull, LedgerLimits, Ledgers, Live, LiveIds, Sealed, Stop};

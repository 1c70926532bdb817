//! The token ledgers of the answers that are being written: in memory for the node's own pollers,
//! flushed to the database in groups, followed there by other nodes.

mod flusher;
mod follower;
mod live;

pub use flusher::{FlushSettings, Flusher};
pub use follower::{Followed, follow};
pub use live::{LedgerFull, Ledgers, Live, LiveIds, Stop};

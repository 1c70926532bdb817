//! What a database wants now and then so that it stays fast: a fresh look at how its rows are spread, where they have
//! changed a lot. It is done by the way, seldom, and for so short a time that nobody waits for it. What takes long is for
//! `pollen maintain`.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Chats;
use crate::store::StoreError;

/// Between two times.
const EVERY: Duration = Duration::from_hours(6);

/// When it is due next.
#[derive(Debug, Default)]
pub(super) struct Maintenance {
    next: Mutex<Option<Instant>>,
}

impl Maintenance {
    /// Whether it is due; then it will not be for a while.
    fn begin(&self) -> bool {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if next.is_some_and(|next| Instant::now() < next) {
            return false;
        }
        *next = Some(Instant::now() + EVERY);
        true
    }
}

impl Chats {
    /// Does it if it is due: soon after the start, and then every few hours.
    pub(super) async fn maintain(&self) -> Result<(), StoreError> {
        if !self.maintenance.begin() {
            return Ok(());
        }
        let began = Instant::now();
        let done: bool = self
            .store
            .tx(|tx| async move { tx.look_at_spread().await })
            .await?;
        if done {
            tracing::debug!(took = ?began.elapsed(), "the database has looked at how its rows are spread");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_due_at_the_start_and_every_few_hours() {
        let maintenance = Maintenance::default();
        assert!(maintenance.begin());
        assert!(!maintenance.begin());
        tokio::time::advance(EVERY).await;
        assert!(maintenance.begin());
    }
}

//! The text of all answers that is in memory alone. While the database is away it grows up to its
//! limit; then no model is listened to until some has been written.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

pub(super) struct Backlog {
    limit: usize,
    bytes: AtomicUsize,
    written: Notify,
}

impl Backlog {
    /// `limit`: bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            bytes: AtomicUsize::new(0),
            written: Notify::new(),
        }
    }

    pub fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn remove(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.written.notify_waiters();
    }

    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub async fn room(&self) {
        // Once a token: as long as there is room, nothing is registered.
        if self.has_room() {
            return;
        }
        loop {
            let written = self.written.notified();
            tokio::pin!(written);
            // Registered before the look, so that what is written in between is not missed.
            written.as_mut().enable();
            if self.has_room() {
                return;
            }
            written.await;
        }
    }

    fn has_room(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) < self.limit
    }
}

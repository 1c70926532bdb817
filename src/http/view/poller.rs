//! The attributes of an element that polls.

use crate::model::hint::{AT_ONCE_MS, FLOWING_MS};

/// An address to poll, and when.
#[derive(Clone, Debug)]
pub struct Poller {
    pub url: String,
    pub after_ms: u64,
}

impl Poller {
    pub fn new(url: String, after_ms: u64) -> Self {
        Self { url, after_ms }
    }

    /// The value of `hx-trigger`: every so often, or at once and then every so often, should the
    /// first poll be lost.
    pub fn trigger(&self) -> String {
        match self.after_ms {
            AT_ONCE_MS => format!("load, every {FLOWING_MS}ms"),
            ms => format!("every {ms}ms"),
        }
    }
}

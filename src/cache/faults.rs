//! How often the cache could not be used.

use std::sync::atomic::{AtomicU64, Ordering};

/// Commands that failed.
#[derive(Debug, Default)]
pub(super) struct Faults {
    count: AtomicU64,
}

impl Faults {
    pub fn add(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("pollen_cache_faults_total").increment(1);
    }

    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

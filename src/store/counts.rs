//! What is counted of transactions.

use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};

pub(super) struct Counts {
    transactions: Histogram,
    waits: Histogram,
    retries: Counter,
    unavailable: Counter,
}

impl Counts {
    pub fn new() -> Self {
        Self {
            transactions: histogram!("pollen_database_transaction_seconds"),
            waits: histogram!("pollen_database_wait_seconds"),
            retries: counter!("pollen_database_retries_total"),
            unavailable: counter!("pollen_database_unavailable_total"),
        }
    }

    /// A transaction has ended, this way or that, so long after it was asked for.
    pub fn transaction(&self, took: Duration) {
        self.transactions.record(took);
    }

    /// It had to wait so long for its connection, or for the writer.
    pub fn waited(&self, waited: Duration) {
        self.waits.record(waited);
    }

    /// It collided with another one, and is tried again.
    pub fn retried(&self) {
        self.retries.increment(1);
    }

    /// It failed, for the database could not be used.
    pub fn unavailable(&self) {
        self.unavailable.increment(1);
    }
}

//! The attributes of an element that polls.

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

    /// The value of `hx-trigger`: at once, or every so often.
    pub fn trigger(&self) -> String {
        match self.after_ms {
            0 => "load".to_owned(),
            ms => format!("every {ms}ms"),
        }
    }
}

//! The attributes of an element that polls.

use std::fmt::Write as _;

use crate::model::hint::{AT_ONCE_MS, FLOWING_MS};

/// An address to poll, and when.
#[derive(Clone, Debug)]
pub struct Poller {
    pub url: String,
    pub after_ms: u64,
    /// There is a message box on the page: after a send it looks at once.
    pub has_box: bool,
}

impl Poller {
    /// `url` with a query; the pace goes along, so that an answer can say when it changes (P9).
    pub fn new(mut url: String, after_ms: u64) -> Self {
        // Writing to a String cannot fail.
        let _ = write!(url, "&after={}", pace(after_ms));
        Self {
            url,
            after_ms,
            has_box: false,
        }
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

/// Milliseconds between the polls of an element that was told to poll `after_ms`.
fn pace(after_ms: u64) -> u64 {
    match after_ms {
        AT_ONCE_MS => FLOWING_MS,
        ms => ms,
    }
}

/// Whether an element that polls at the pace `after` should go on as it does. One that does not say its
/// pace keeps it.
pub fn keeps_pace(after: Option<u64>, hint: u64) -> bool {
    after.is_none_or(|after| after == pace(hint)) && hint != AT_ONCE_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_keeps_its_pace_until_the_server_wants_another() {
        assert!(keeps_pace(None, 300) && keeps_pace(Some(300), 300));
        assert!(!keeps_pace(Some(300), 600), "the server is busy");
        assert!(!keeps_pace(Some(300), AT_ONCE_MS), "there is more");
        assert!(
            Poller::new("/x?y=1".to_owned(), AT_ONCE_MS)
                .url
                .ends_with("&after=300")
        );
    }
}

//! How long a client is asked to wait before its next poll (P9). A hint, not a rule: whoever
//! ignores it is still served.

/// While tokens flow, or are about to.
pub const FLOWING_MS: u64 = 300;
/// When nothing is going on.
pub const IDLE_MS: u64 = 2_000;
/// There is more to fetch right now.
pub const AT_ONCE_MS: u64 = 0;

/// The share of the requests that a node takes on at once from which it asks its clients for patience, and by how
/// much: long before it turns anybody away.
const BUSY_SHARE: usize = 8;
const BUSY_FACTOR: u64 = 2;
const VERY_BUSY_SHARE: usize = 2;
const VERY_BUSY_FACTOR: u64 = 5;

/// What a poll found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// The answer was cut at its limit: there is more already.
    More,
    /// Something is being written.
    Flowing,
    /// Nothing is being written.
    Idle,
}

/// Milliseconds until the next poll is worth while, on a node with so many requests in flight of those that it takes
/// on at once.
#[must_use]
pub fn poll_after_ms(activity: Activity, in_flight: usize, most: usize) -> u64 {
    let patience = match in_flight {
        n if n >= (most / VERY_BUSY_SHARE).max(1) => VERY_BUSY_FACTOR,
        n if n >= (most / BUSY_SHARE).max(1) => BUSY_FACTOR,
        _ => 1,
    };
    match activity {
        Activity::More => AT_ONCE_MS,
        Activity::Flowing => FLOWING_MS * patience,
        Activity::Idle => IDLE_MS * patience,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loaded_server_asks_for_patience() {
        let most = 4_096;
        assert_eq!(poll_after_ms(Activity::Flowing, 0, most), FLOWING_MS);
        assert_eq!(poll_after_ms(Activity::Flowing, 511, most), FLOWING_MS);
        assert_eq!(poll_after_ms(Activity::Flowing, 512, most), 2 * FLOWING_MS);
        assert_eq!(poll_after_ms(Activity::Idle, 2_048, most), 5 * IDLE_MS);
        assert_eq!(poll_after_ms(Activity::More, most, most), 0);
        assert_eq!(poll_after_ms(Activity::Flowing, 0, 1), FLOWING_MS);
    }
}

//! How long a client is asked to wait before its next poll (P9). A hint, not a rule: whoever
//! ignores it is still served.

/// While tokens flow, or are about to.
pub const FLOWING_MS: u64 = 300;
/// When nothing is going on.
pub const IDLE_MS: u64 = 2_000;
/// There is more to fetch right now.
pub const AT_ONCE_MS: u64 = 0;

/// Requests in flight at once from which a node asks its clients for patience, and by how much.
const BUSY_REQUESTS: usize = 500;
const BUSY_FACTOR: u64 = 2;
const VERY_BUSY_REQUESTS: usize = 2_000;
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

/// Milliseconds until the next poll is worth while, on a node with so many requests in flight.
#[must_use]
pub fn poll_after_ms(activity: Activity, requests_in_flight: usize) -> u64 {
    let patience = match requests_in_flight {
        n if n >= VERY_BUSY_REQUESTS => VERY_BUSY_FACTOR,
        n if n >= BUSY_REQUESTS => BUSY_FACTOR,
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
        assert_eq!(poll_after_ms(Activity::Flowing, 0), FLOWING_MS);
        assert!(poll_after_ms(Activity::Flowing, BUSY_REQUESTS) > FLOWING_MS);
        assert!(poll_after_ms(Activity::Idle, VERY_BUSY_REQUESTS) > IDLE_MS);
        assert_eq!(poll_after_ms(Activity::More, VERY_BUSY_REQUESTS), 0);
    }
}

//! Buckets in the memory of this node, by `governor`.
//!
//! A bucket that is full again says nothing, and is dropped. Those that are not are as many as there are subjects who
//! ask; beyond a number of them newcomers share a few, so that whoever has many names cannot fill the memory.

use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use super::{Rate, Subject, Verdict};

/// Buckets of one rate that are somebody's own, beside those that come between two looks.
const MAX_KEYS: usize = 100_000;
/// Buckets that the others share.
const SHARED_KEYS: u64 = 1_024;
/// Requests between two looks at which buckets are full again.
const SWEEP_EVERY: u64 = 4_096;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Own(Subject),
    Shared(u64),
}

pub(super) struct Memory<C: Clock = DefaultClock> {
    rates: HashMap<Rate, Arc<Buckets<C>>>,
}

/// All buckets of one rate.
struct Buckets<C: Clock> {
    rate: Rate,
    limiter: RateLimiter<Key, DashMapStateStore<Key>, C, StateInformationMiddleware>,
    taken: AtomicU64,
    is_full: AtomicBool,
    /// Which subjects share a bucket is nobody's to know.
    hasher: RandomState,
}

impl Memory {
    pub fn new(rates: Vec<Rate>) -> Self {
        Self::with_clock(rates, &DefaultClock::default())
    }

    /// Buckets of these rates: those that are there already, with what is in them, and new ones.
    pub fn changed(&self, rates: Vec<Rate>) -> Self {
        let buckets = |rate| {
            let known = self.rates.get(&rate).map(Arc::clone);
            let new = || Arc::new(Buckets::new(rate, DefaultClock::default()));
            (rate, known.unwrap_or_else(new))
        };
        Self {
            rates: rates.into_iter().map(buckets).collect(),
        }
    }
}

impl<C: Clock + Clone> Memory<C> {
    fn with_clock(rates: Vec<Rate>, clock: &C) -> Self {
        let buckets = |rate| (rate, Arc::new(Buckets::new(rate, clock.clone())));
        Self {
            rates: rates.into_iter().map(buckets).collect(),
        }
    }

    pub fn take(&self, rate: Rate, subject: Subject) -> Option<Verdict> {
        let buckets = self.rates.get(&rate)?;
        Some(buckets.take(subject))
    }
}

impl<C: Clock> Buckets<C> {
    fn new(rate: Rate, clock: C) -> Self {
        let quota = Quota::per_minute(rate.per_minute);
        Self {
            rate,
            limiter: RateLimiter::dashmap_with_clock(quota, clock).with_middleware(),
            taken: AtomicU64::new(0),
            is_full: AtomicBool::new(false),
            hasher: RandomState::new(),
        }
    }

    fn take(&self, subject: Subject) -> Verdict {
        if self.taken.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.limiter.retain_recent();
            let is_full = self.limiter.len() >= MAX_KEYS;
            self.is_full.store(is_full, Ordering::Relaxed);
        }
        let key = if self.is_full.load(Ordering::Relaxed) {
            Key::Shared(self.hasher.hash_one(subject) % SHARED_KEYS)
        } else {
            Key::Own(subject)
        };
        let limit = self.rate.per_minute.get();
        let (remaining, retry_after) = match self.limiter.check_key(&key) {
            Ok(state) => (state.remaining_burst_capacity(), None),
            Err(refused) => {
                let wait = refused.wait_time_from(self.limiter.clock().now());
                (0, Some(wait))
            }
        };
        Verdict {
            limit,
            remaining,
            reset_after: self.rate.interval() * limit.saturating_sub(remaining),
            retry_after,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use entity::OwnerId;
    use governor::clock::FakeRelativeClock;
    use uuid::Uuid;

    use super::*;
    use crate::limit::Budget;

    fn rate(per_minute: u32) -> Rate {
        Rate {
            budget: Budget::Sends,
            per_minute: NonZeroU32::new(per_minute).unwrap(),
        }
    }

    fn user(number: u128) -> Subject {
        Subject::User(OwnerId(Uuid::from_u128(number)))
    }

    #[test]
    fn whoever_waits_as_long_as_was_said_is_let_through() {
        let clock = FakeRelativeClock::default();
        let memory = Memory::with_clock(vec![rate(10)], &clock);
        let take = |subject| memory.take(rate(10), subject).unwrap();
        let counted: Vec<u32> = (0..10).map(|_| take(user(1)).remaining).collect();
        assert_eq!(counted, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
        let refused = take(user(1));
        assert_eq!((refused.limit, refused.remaining), (10, 0));
        assert_eq!(refused.reset_after, Duration::from_mins(1));
        assert_eq!(take(user(2)).retry_after, None, "another's is another one");
        assert_eq!(refused.retry_after, Some(Duration::from_secs(6)));
        clock.advance(Duration::from_millis(5_999));
        assert!(take(user(1)).retry_after.is_some());
        clock.advance(Duration::from_millis(1));
        assert_eq!(take(user(1)).retry_after, None);
        assert!(take(user(1)).retry_after.is_some(), "one and no more");
    }

    /// Ten tabs, each of which polls a message and the list of chats.
    #[test]
    fn ten_tabs_that_poll_are_never_limited() {
        let clock = FakeRelativeClock::default();
        let memory = Memory::with_clock(vec![rate(12_000)], &clock);
        for _ in 0..2_000 {
            for _ in 0..20 {
                let verdict = memory.take(rate(12_000), user(1)).unwrap();
                assert_eq!(verdict.retry_after, None);
            }
            clock.advance(Duration::from_millis(300));
        }
    }

    #[test]
    fn whoever_has_many_names_does_not_fill_the_memory() {
        let clock = FakeRelativeClock::default();
        let memory = Memory::with_clock(vec![rate(10)], &clock);
        let many = MAX_KEYS as u128 * 2;
        for number in 0..many {
            memory.take(rate(10), user(number)).unwrap();
        }
        let buckets = &memory.rates[&rate(10)];
        let most = MAX_KEYS as u64 + SWEEP_EVERY + SHARED_KEYS;
        assert!(buckets.limiter.len() as u64 <= most);
        clock.advance(Duration::from_mins(2));
        for _ in 0..SWEEP_EVERY {
            memory.take(rate(10), user(0)).unwrap();
        }
        assert!(buckets.limiter.len() < 3, "what is full again is dropped");
    }
}

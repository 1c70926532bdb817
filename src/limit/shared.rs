//! Buckets in a Redis that nodes share, which has the one clock they go by.
//!
//! So that a poll costs no way to Redis each time, a node takes a hundredth of a large budget at once and gives it
//! out by itself; and whoever has been refused is refused by this node until the time that Redis said. So the limit is
//! never exceeded by more than a hundredth a node.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use moka::sync::Cache;
use redis::cmd;
use tokio::time::Instant;

use super::{Rate, Subject, Verdict, WINDOW};
use crate::cache::{CacheError, Line};

/// What all keys begin with. The number changes with the script.
const PREFIX: &str = "pollen:limit:1:";
/// The part of a minute's budget that a node takes at once.
const SHARE: u32 = 100;
/// Subjects of whom a node remembers what it has taken for them. What it forgets is lost to them.
const MAX_HELD: u64 = 100_000;

/// The time at which the bucket is full again is all that is kept (GCRA). Takes as much of what is wanted as there is:
/// how much, the time until there is one, how much there is left, the time until all is there. Sent twice it takes
/// twice, which is one request of somebody's minute.
const TAKE: &str = "\
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, burst, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or 0) or 0, now)
local free = math.floor((now + burst * interval - full) / interval)
if free < 1 then
  return {0, math.ceil(full + interval - burst * interval - now), 0, full - now}
end
local granted = math.min(wanted, free)
full = full + granted * interval
redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
return {granted, 0, free - granted, full - now}";

pub(super) struct Shared {
    line: Arc<Line>,
    held: Cache<(Rate, Subject), Arc<Mutex<Held>>>,
}

/// What this node has of one bucket.
#[derive(Default)]
struct Held {
    /// Taken and not given out.
    left: u32,
    /// What Redis had left, and when all of it would be there.
    remaining: u32,
    full_at: Option<Instant>,
    refused_until: Option<Instant>,
}

impl Shared {
    pub fn new(line: Arc<Line>) -> Self {
        let held = Cache::builder()
            .max_capacity(MAX_HELD)
            .time_to_idle(WINDOW)
            .build();
        Self { line, held }
    }

    pub async fn take(&self, rate: Rate, subject: Subject) -> Result<Verdict, CacheError> {
        let held = self.held.get_with((rate, subject), Arc::default);
        if let Some(verdict) = lock(&held).give(rate) {
            return Ok(verdict);
        }
        let limit = rate.per_minute.get();
        let wanted = (limit / SHARE).max(1);
        let mut take = cmd("EVAL");
        take.arg(TAKE).arg(1).arg(name(rate, subject));
        take.arg(micros(rate.interval())).arg(limit).arg(wanted);
        let (granted, wait, remaining, full): (u32, u64, u32, u64) = self.line.ask(&take).await?;
        let now = Instant::now();
        let mut held = lock(&held);
        held.left = held.left.saturating_add(granted);
        held.remaining = remaining;
        held.full_at = now.checked_add(Duration::from_micros(full));
        held.refused_until = (granted == 0)
            .then(|| now.checked_add(Duration::from_micros(wait)))
            .flatten();
        let given = held.give(rate);
        let wait = Duration::from_micros(wait);
        Ok(given.unwrap_or_else(|| held.verdict(rate, Some(wait))))
    }
}

impl Held {
    /// What can be said without asking Redis.
    fn give(&mut self, rate: Rate) -> Option<Verdict> {
        if let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            return Some(self.verdict(rate, None));
        }
        let wait = self
            .refused_until?
            .saturating_duration_since(Instant::now());
        (!wait.is_zero()).then(|| self.verdict(rate, Some(wait)))
    }

    fn verdict(&self, rate: Rate, retry_after: Option<Duration>) -> Verdict {
        let full_at = self.full_at;
        let reset_after = full_at.map(|at| at.saturating_duration_since(Instant::now()));
        Verdict {
            limit: rate.per_minute.get(),
            remaining: self.remaining.saturating_add(self.left),
            reset_after: reset_after.unwrap_or_default(),
            retry_after,
        }
    }
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

fn name(rate: Rate, subject: Subject) -> String {
    let (budget, per_minute) = (rate.budget.name(), rate.per_minute);
    match subject {
        Subject::User(id) => format!("{PREFIX}{budget}:{per_minute}:user:{id}"),
        Subject::Token(id) => format!("{PREFIX}{budget}:{per_minute}:token:{id}"),
        Subject::Address(ip) => format!("{PREFIX}{budget}:{per_minute}:address:{ip}"),
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1)
}

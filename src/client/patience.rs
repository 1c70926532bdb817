//! How long a client goes on trying, and how long it waits in between.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;

use super::error::Error;

/// How long to go on trying. The waits are doubled from the first to the longest; to each a part of itself is added that
/// is drawn by lot, so that clients of a server that comes back do not come all at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// The first wait.
    pub first: Duration,
    /// The wait at which doubling ends.
    pub longest: Duration,
    /// How long a single request is tried in all; none: for ever.
    pub total: Option<Duration>,
    /// How much of that it may be unreachable; none: all of it. Zero fits the first request, which may have the wrong
    /// address.
    pub unreachable: Option<Duration>,
    /// A `Retry-After` up to this is waited for; one that is longer is an error. A minute's budget is worth waiting
    /// for, a day's is not.
    pub longest_asked: Duration,
}

impl Default for Patience {
    /// Two minutes, which a restart of the server does not take.
    fn default() -> Self {
        Self {
            first: Duration::from_millis(250),
            longest: Duration::from_secs(10),
            total: Some(Duration::from_mins(2)),
            unreachable: None,
            longest_asked: Duration::from_secs(90),
        }
    }
}

impl Patience {
    /// For as long as it takes.
    #[must_use]
    pub fn endless() -> Self {
        Self {
            total: None,
            ..Self::default()
        }
    }

    /// Each request is tried for so long; zero: once.
    #[must_use]
    pub fn lasting(total: Duration) -> Self {
        Self {
            total: Some(total),
            ..Self::default()
        }
    }
}

/// A request has failed and is going to be made again.
#[derive(Clone, Copy, Debug)]
pub struct Setback<'a> {
    pub error: &'a Error,
    /// How long until then.
    pub wait: Duration,
    /// How often it has been made, from 1.
    pub tries: u32,
}

/// Whether what has failed may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    Never,
    /// After a wait of our own choice.
    Later,
    /// The same; nothing of the request has arrived.
    Unreached,
    /// When the server says.
    After(Duration),
}

/// One request that is made until it succeeds.
pub(super) struct Attempts {
    patience: Patience,
    waits: ExponentialBackoff,
    begun: Instant,
    tries: u32,
}

impl Attempts {
    pub fn new(patience: Patience) -> Self {
        let waits = ExponentialBuilder::new()
            .with_min_delay(patience.first)
            .with_max_delay(patience.longest)
            .without_max_times()
            .with_jitter();
        Self {
            patience,
            waits: waits.build(),
            begun: Instant::now(),
            tries: 0,
        }
    }

    /// How long to wait before the next try.
    ///
    /// # Errors
    /// The one that there was, if there is to be no other try.
    pub fn after(&mut self, error: Error, again: Again) -> Result<(Error, Duration, u32), Error> {
        self.tries = self.tries.saturating_add(1);
        let wait = match again {
            Again::Never => return Err(error),
            Again::After(asked) if asked > self.patience.longest_asked => return Err(error),
            // Never earlier than asked, and not all at the same moment.
            Again::After(asked) => asked + self.patience.first.mul_f64(fastrand::f64()),
            Again::Later | Again::Unreached => self.waits.next().unwrap_or(self.patience.longest),
        };
        let is_over = |total| self.begun.elapsed() + wait > total;
        let is_unreached = again == Again::Unreached;
        let unreachable = self.patience.unreachable.filter(|_| is_unreached);
        if self.patience.total.is_some_and(is_over) || unreachable.is_some_and(is_over) {
            return Err(error);
        }
        Ok((error, wait, self.tries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away() -> Error {
        Error::Unreachable {
            address: "http://x".to_owned(),
            reason: "no".to_owned(),
        }
    }

    fn wait(attempts: &mut Attempts, again: Again) -> Option<Duration> {
        let next = attempts.after(away(), again);
        next.ok().map(|(_, wait, _)| wait)
    }

    #[tokio::test(start_paused = true)]
    async fn waits_double_and_are_drawn_by_lot() {
        let patience = Patience::endless();
        let mut drawn = Vec::new();
        for _ in 0..50 {
            let mut attempts = Attempts::new(patience);
            let mut step = patience.first;
            for n in 0..10 {
                let wait = wait(&mut attempts, Again::Later).expect("another try");
                assert!(
                    wait >= step && wait <= 2 * step,
                    "{n}: {wait:?} of {step:?}"
                );
                drawn.push(wait.as_secs_f64() / step.as_secs_f64());
                step = (2 * step).min(patience.longest);
            }
        }
        // Spread over the whole range, not all at one place.
        let low = drawn.iter().filter(|share| **share < 1.25).count();
        let high = drawn.iter().filter(|share| **share > 1.75).count();
        assert!(low > 50 && high > 50, "{low} and {high} of {}", drawn.len());
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_server_asks_for_is_waited_for_and_not_much_more() {
        let patience = Patience::default();
        let asked = Duration::from_secs(7);
        for _ in 0..50 {
            let wait = wait(&mut Attempts::new(patience), Again::After(asked));
            let wait = wait.expect("another try");
            assert!(wait >= asked && wait <= asked + patience.first, "{wait:?}");
        }
        let day = Again::After(Duration::from_hours(24));
        assert_eq!(wait(&mut Attempts::new(patience), day), None);
        assert_eq!(wait(&mut Attempts::new(Patience::endless()), day), None);
    }

    #[tokio::test(start_paused = true)]
    async fn patience_has_an_end_or_none() {
        let mut attempts = Attempts::new(Patience::lasting(Duration::from_secs(20)));
        let begun = Instant::now();
        while let Some(wait) = wait(&mut attempts, Again::Later) {
            tokio::time::sleep(wait).await;
        }
        let lasted = begun.elapsed();
        assert!(lasted <= Duration::from_secs(20), "{lasted:?}");
        assert!(lasted >= Duration::from_secs(3), "{lasted:?}");

        let mut once = Attempts::new(Patience::lasting(Duration::ZERO));
        assert_eq!(wait(&mut once, Again::Later), None);

        let wrong_address = Patience {
            unreachable: Some(Duration::ZERO),
            ..Patience::default()
        };
        let unreached = wait(&mut Attempts::new(wrong_address), Again::Unreached);
        assert_eq!(unreached, None);
        let lost = wait(&mut Attempts::new(wrong_address), Again::Later);
        assert!(
            lost.is_some(),
            "it may have arrived, so the address is right"
        );

        let mut endless = Attempts::new(Patience::endless());
        for _ in 0..1_000 {
            let wait = wait(&mut endless, Again::Later).expect("another try");
            tokio::time::advance(wait).await;
        }
        assert_eq!(wait(&mut endless, Again::Never), None);
    }
}

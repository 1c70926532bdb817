//! Why an answer is to stop. The task that writes it looks whenever it is woken, once for each token: so there is one thing to
//! look at, and not one for each reason.

use std::pin::pin;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

/// Why an answer is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Its row has been ended or taken over by somebody else: drop everything and write nothing.
    Ended,
    /// This node goes away: stop where it is, for the last flush writes what is there.
    Abandon,
    /// The database has been away for so long that another node may be running the request: ask
    /// the model no more, and let the database decide whose it is when it is back.
    LeaseLost,
}

/// The reasons that there are so far.
#[derive(Default)]
pub(super) struct Stops {
    reasons: AtomicU8,
    added: Notify,
}

impl Stops {
    pub fn add(&self, why: Stop) {
        self.reasons.fetch_or(why.bit(), Ordering::Release);
        self.added.notify_waiters();
    }

    /// Returns when one of these is there, and of several the first in this list.
    pub async fn first_of(&self, reasons: &[Stop]) -> Stop {
        loop {
            // Registered before the look, so that nothing is missed between the two.
            let mut added = pin!(self.added.notified());
            added.as_mut().enable();
            let there = self.reasons.load(Ordering::Acquire);
            if let Some(why) = reasons.iter().find(|why| there & why.bit() != 0) {
                return *why;
            }
            added.await;
        }
    }
}

impl Stop {
    fn bit(self) -> u8 {
        1 << self as u8
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn whoever_waits_hears_the_weightiest_of_the_reasons_that_concern_him() {
        let stops = Stops::default();
        let mut waiting = Box::pin(stops.first_of(&[Stop::Ended, Stop::Abandon]));
        assert_eq!(waiting.as_mut().now_or_never(), None);
        stops.add(Stop::LeaseLost);
        assert_eq!(waiting.as_mut().now_or_never(), None);
        stops.add(Stop::Abandon);
        assert_eq!(waiting.await, Stop::Abandon);
        stops.add(Stop::Ended);
        let all = [Stop::Ended, Stop::Abandon, Stop::LeaseLost];
        assert_eq!(stops.first_of(&all).await, Stop::Ended);
        assert_eq!(stops.first_of(&all[2..]).await, Stop::LeaseLost);
    }
}

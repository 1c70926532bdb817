//! When to poll next: as the server hints.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// A hint that is larger is a mistake.
const LONGEST: Duration = Duration::from_mins(1);
/// The part of a delay by which it may differ.
const SPREAD: f64 = 0.1;

/// The moment of the next poll; none: now.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace(Option<Instant>);

impl Pace {
    pub fn after(poll_after_ms: u64) -> Self {
        let hint = Duration::from_millis(poll_after_ms).min(LONGEST);
        let share = 1.0 + SPREAD * (2.0 * fastrand::f64() - 1.0);
        Self(Some(Instant::now() + hint.mul_f64(share)))
    }

    /// Comes back at once if the moment is over. Dropping it changes nothing.
    pub async fn wait(self) {
        if let Some(at) = self.0 {
            sleep_until(at).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn polls_go_at_the_pace_of_the_hint() {
        for hint in [0, 300, 2_000] {
            let begun = Instant::now();
            Pace::after(hint).wait().await;
            let waited = begun.elapsed().as_secs_f64() * 1_000.0;
            #[expect(clippy::cast_precision_loss, reason = "a small number")]
            let hint = hint as f64;
            // Timers are as fine as a millisecond.
            assert!(
                waited >= hint * 0.9 - 1.0 && waited <= hint * 1.1 + 2.0,
                "{waited} for {hint}"
            );
        }
        let begun = Instant::now();
        Pace::default().wait().await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        Pace::after(u64::MAX).wait().await;
        assert!(begun.elapsed() <= 2 * LONGEST);
    }
}

//! The time, as something that is handed in: tests set it, and nothing else asks the machine.

use entity::Timestamp;

/// Tells the time in whole milliseconds, UTC.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
}

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the machine's clock"
    )]
    fn now(&self) -> Timestamp {
        chrono::Utc::now().into()
    }
}

//! Fault points: named places at which a test can end the process, as a crash would. They are
//! compiled in for tests only (the feature `fault-points`); elsewhere [`point`] is nothing at all.
//!
//! The environment variable `FAULT_POINT` names the place. The process that reaches it first is
//! gone at once, without unwinding, flushing or a word.

/// Ends the process here if the environment says so.
#[cfg(feature = "fault-points")]
pub(crate) fn point(name: &str) {
    use std::sync::LazyLock;
    static CHOSEN: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("FAULT_POINT").ok());
    if CHOSEN.as_deref() == Some(name) {
        std::process::abort();
    }
}

#[cfg(not(feature = "fault-points"))]
pub(crate) fn point(_: &str) {}

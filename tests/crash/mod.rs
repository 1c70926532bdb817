//! Servers that are killed, halted and cut off from their database while people use them: nothing
//! that was accepted is lost, nothing is answered twice, and every client ends with the stored text.

mod audit;
mod chaos;
mod hangups;
mod kills;
mod nodes;
mod person;
mod servers;

/// Says what to set to see a failure again.
struct Seed(u64);

impl Seed {
    /// `CRASH_SEED`, or this one.
    fn from_env(or: u64) -> Self {
        Self(number_from_env("CRASH_SEED").unwrap_or(or))
    }
}

impl Drop for Seed {
    #[expect(clippy::print_stderr, reason = "whoever reads the failure needs it")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to see this again: CRASH_SEED={}", self.0);
        }
    }
}

fn number_from_env(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().expect("a number"))
}

/// A part of the dice that is independent of the others.
fn dice(seed: u64, part: u64) -> fastrand::Rng {
    let mut seeds = fastrand::Rng::with_seed(seed);
    fastrand::Rng::with_seed(seeds.u64(..) ^ part.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// What the model says to a question, whichever attempt it is: so a text is known before it comes.
fn pieces(question: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{question}·{n} ")).collect()
}

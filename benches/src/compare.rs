//! Two servers by turns. A machine is not equally fast all the time: figures are compared only with those of the moment
//! before, and what counts is the median of the rounds' ratios.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use crate::load::{Closed, Measured, Target};
use crate::report::{Row, Want};
use crate::stats::{Spread, per};

const UNIT: &str = "of bare hello's requests/s";
/// The share of the servers' core that others may take before it is worth a word.
const QUIET: f64 = 0.05;

/// How often, and how long each time.
#[derive(Clone, Copy, Debug)]
pub struct Rounds {
    pub count: usize,
    pub warm_up: Duration,
    pub time: Duration,
}

/// What the rounds gave, one and the other.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    pub base: Vec<Measured>,
    pub ours: Vec<Measured>,
}

impl Comparison {
    /// By turns, on so many connections each. Blocks the thread.
    pub fn make(base: Target, ours: Target, connections: usize, rounds: Rounds) -> Result<Self> {
        let mut base = Closed::connect(base, connections)?;
        let mut ours = Closed::connect(ours, connections)?;
        let mut comparison = Self::default();
        for _ in 0..rounds.count {
            comparison.base.push(base.run(rounds.warm_up, rounds.time)?);
            comparison.ours.push(ours.run(rounds.warm_up, rounds.time)?);
        }
        Ok(comparison)
    }

    /// Of each round, ours to the other's.
    pub fn ratios(&self) -> Spread {
        let pairs = self.base.iter().zip(&self.ours);
        Spread::of(pairs.map(|(b, o)| per(o.requests_per_second, b.requests_per_second)))
    }

    pub fn errors(&self) -> u64 {
        let all = self.base.iter().chain(&self.ours);
        all.map(|measured| measured.errors).sum()
    }

    /// The row of a comparison that is to reach this ratio.
    pub fn row(&self, what: impl Into<String>, target: f64) -> Row {
        self.row_without_target(what)
            .wants(Want::AtLeast(target), UNIT, 2)
    }

    pub fn row_without_target(&self, what: impl Into<String>) -> Row {
        let ratios = self.ratios();
        let (base, ours) = (speed(&self.base), speed(&self.ours));
        Row::new(what)
            .unit(UNIT, 2)
            .measured(format!(
                "{:.0} of {:.0} requests/s; {:.1} and {:.1} µs of CPU each: {:.2}; its core {:.0} and {:.0} % busy{}",
                ours.median,
                base.median,
                cpu(&self.ours).median,
                cpu(&self.base).median,
                per(cpu(&self.base).median, cpu(&self.ours).median),
                busy(&self.ours) * 1e2,
                busy(&self.base) * 1e2,
                self.disturbance(),
            ))
            .value(ratios.median)
            .spread(ratios.range(2))
            .errors(self.errors())
            .raw(self.raw())
    }

    /// Says so if others took some of the servers' core: the figures are then of little use.
    fn disturbance(&self) -> String {
        let all = self.base.iter().chain(&self.ours);
        let disturbed = Spread::of(all.map(|measured| measured.disturbed)).median;
        if disturbed < QUIET {
            return String::new();
        }
        format!("; **others took {:.0} % of the core**", disturbed * 1e2)
    }

    pub fn raw(&self) -> Value {
        json!({"base": self.base, "ours": self.ours, "ratios": self.ratios()})
    }
}

pub fn speed(rounds: &[Measured]) -> Spread {
    Spread::of(rounds.iter().map(|round| round.requests_per_second))
}

pub fn cpu(rounds: &[Measured]) -> Spread {
    Spread::of(rounds.iter().map(|round| round.cpu_us_per_request))
}

fn busy(rounds: &[Measured]) -> f64 {
    Spread::of(rounds.iter().map(|round| round.busy)).median
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(requests_per_second: f64) -> Measured {
        Measured {
            requests_per_second,
            cpu_us_per_request: 1.0,
            busy: 1.0,
            disturbed: 0.0,
            errors: 0,
        }
    }

    #[test]
    fn each_round_is_compared_with_its_own_turn() {
        // The machine was half as fast in the second round, for both.
        let comparison = Comparison {
            base: [100.0, 50.0, 100.0].map(measured).to_vec(),
            ours: [80.0, 40.0, 81.0].map(measured).to_vec(),
        };
        let ratios = comparison.ratios();
        assert!((ratios.median - 0.80).abs() < 1e-9);
        assert!((ratios.max - 0.81).abs() < 1e-9);
    }
}

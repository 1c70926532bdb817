//! Medians and spreads of what several rounds gave. A machine that does other things besides gives a different
//! figure each time: one figure alone says little, and a mean is moved by the one round that was disturbed.

use serde::Serialize;

/// What several rounds gave. All zero if there were none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    pub min: f64,
    pub median: f64,
    pub max: f64,
}

impl Spread {
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (values.first(), values.last()) else {
            return Self::default();
        };
        Self {
            min: *min,
            median: middle(&values),
            max: *max,
        }
    }

    /// "0.71–0.78", with so many places.
    pub fn range(&self, places: usize) -> String {
        format!("{:.places$}–{:.places$}", self.min, self.max)
    }
}

/// Of values that are sorted, and at least one.
fn middle(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    match sorted.len() % 2 {
        1 => sorted[half],
        _ => f64::midpoint(sorted[half - 1], sorted[half]),
    }
}

/// A share, or 0 of nothing.
pub fn per(what: f64, of: f64) -> f64 {
    if of == 0.0 { 0.0 } else { what / of }
}

/// A count as a number to divide: counts here are far below 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "what is counted here is far below 2^53"
)]
pub fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one_or_between_the_two() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]).median.to_bits(), 2f64.to_bits());
        let even = Spread::of([4.0, 1.0, 2.0, 3.0]);
        assert_eq!(even.range(1), "1.0–4.0");
        assert_eq!(even.median.to_bits(), 2.5f64.to_bits());
        assert_eq!(Spread::of([]), Spread::default());
    }

    #[test]
    fn one_disturbed_round_does_not_move_the_median() {
        let spread = Spread::of([0.80, 0.81, 0.20, 0.82, 0.80]);
        assert!((0.79..0.82).contains(&spread.median), "{spread:?}");
    }

    #[test]
    fn a_share_of_nothing_is_nothing() {
        assert_eq!(per(3.0, 0.0).to_bits(), 0f64.to_bits());
        assert_eq!(per(3.0, 2.0).to_bits(), 1.5f64.to_bits());
    }
}

//! Limits of cost: what a tier may use up in a day and in a month, and when the next one begins. Days
//! and months are UTC's.

use chrono::{DateTime, Datelike, Days, Months, NaiveTime, Utc};
use entity::Timestamp;

/// What somebody of a tier may do and use up. 0: no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tier {
    pub name: String,
    /// The only models, by their ids; empty: all.
    pub models: Vec<String>,
    /// Requests that begin an answer, a minute.
    pub requests_per_minute: u32,
    /// Answers under way or queued at once.
    pub max_running: u32,
    /// Longest user message in bytes, where it is shorter than everybody's.
    pub message_bytes: Option<usize>,
    /// Days that a chat is kept after its last change; none: for ever.
    pub retention: Option<u32>,
    /// Tokens, read and written together.
    pub tokens_per_day: i64,
    pub tokens_per_month: i64,
    /// Millionths of the currency of the prices.
    pub micros_per_day: i64,
    pub micros_per_month: i64,
}

/// A stretch of time that a limit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    Day,
    Month,
}

impl Period {
    /// From when on the current one counts.
    #[must_use]
    pub fn begin(self, now: Timestamp) -> Timestamp {
        let date = now.to_datetime().date_naive();
        let first = match self {
            Self::Day => Some(date),
            Self::Month => date.with_day(1),
        };
        at_midnight(first.unwrap_or(date))
    }

    /// When the next one begins.
    #[must_use]
    pub fn end(self, now: Timestamp) -> Timestamp {
        let begin = self.begin(now).to_datetime().date_naive();
        let next = match self {
            Self::Day => begin.checked_add_days(Days::new(1)),
            Self::Month => begin.checked_add_months(Months::new(1)),
        };
        at_midnight(next.unwrap_or(begin))
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
        }
    }
}

fn at_midnight(date: chrono::NaiveDate) -> Timestamp {
    let midnight: DateTime<Utc> = date.and_time(NaiveTime::MIN).and_utc();
    midnight.into()
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    Tokens,
    /// Millionths of the currency.
    Money,
}

/// One limit and how much of it is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    pub measure: Measure,
    pub period: Period,
    pub limit: i64,
    pub used: i64,
    pub resets_at: Timestamp,
}

impl Allowance {
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        self.used >= self.limit
    }
}

/// What was used in one period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    pub tokens: i64,
    pub micros: i64,
}

impl Tier {
    /// Whether the model is one of the tier's.
    #[must_use]
    pub fn has(&self, model: &str) -> bool {
        self.models.is_empty() || self.models.iter().any(|own| own == model)
    }

    /// The periods that this tier has a limit for.
    #[must_use]
    pub fn periods(&self) -> Vec<Period> {
        [
            (Period::Day, self.tokens_per_day, self.micros_per_day),
            (Period::Month, self.tokens_per_month, self.micros_per_month),
        ]
        .into_iter()
        .filter(|(_, tokens, micros)| *tokens > 0 || *micros > 0)
        .map(|(period, _, _)| period)
        .collect()
    }

    /// The limits for a period, with what was used in it.
    #[must_use]
    pub fn allowances(&self, period: Period, used: Used, now: Timestamp) -> Vec<Allowance> {
        let (tokens, micros) = match period {
            Period::Day => (self.tokens_per_day, self.micros_per_day),
            Period::Month => (self.tokens_per_month, self.micros_per_month),
        };
        let limits = [
            (Measure::Tokens, tokens, used.tokens),
            (Measure::Money, micros, used.micros),
        ];
        limits
            .into_iter()
            .filter(|(_, limit, _)| *limit > 0)
            .map(|(measure, limit, used)| Allowance {
                measure,
                period,
                limit,
                used,
                resets_at: period.end(now),
            })
            .collect()
    }
}

/// Whether the tier `own` is the tier `needed` or above it. `order`: all tiers, the lowest first.
#[must_use]
pub fn reaches<'a>(own: &str, needed: &str, order: impl IntoIterator<Item = &'a str>) -> bool {
    // What comes first is the lower one: `needed` must come no later than `own`.
    let mut order = order.into_iter().skip_while(|tier| *tier != needed);
    order.any(|tier| tier == own)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc().into()
    }

    #[test]
    fn days_and_months_begin_at_midnight_utc() {
        let now = at("2026-12-31T23:59:59.999Z");
        assert_eq!(Period::Day.begin(now), at("2026-12-31T00:00:00Z"));
        assert_eq!(Period::Month.begin(now), at("2026-12-01T00:00:00Z"));
        assert_eq!(Period::Day.end(now), at("2027-01-01T00:00:00Z"));
        assert_eq!(Period::Month.end(now), at("2027-01-01T00:00:00Z"));
        assert_eq!(
            Period::Month.end(at("2026-01-31T12:00:00Z")),
            at("2026-02-01T00:00:00Z")
        );
    }

    #[test]
    fn a_limit_of_nought_is_none() {
        let tier = Tier {
            tokens_per_day: 10,
            micros_per_month: 5,
            ..Tier::default()
        };
        assert_eq!(tier.periods(), [Period::Day, Period::Month]);
        let used = Used {
            tokens: 10,
            micros: 4,
        };
        let day = tier.allowances(Period::Day, used, Timestamp(0));
        assert_eq!(day.len(), 1);
        assert!(day[0].is_used_up());
        let month = tier.allowances(Period::Month, used, Timestamp(0));
        assert_eq!(
            (month[0].measure, month[0].is_used_up()),
            (Measure::Money, false)
        );
        assert!(Tier::default().periods().is_empty());
    }

    #[test]
    fn a_tier_reaches_what_stands_no_later() {
        let order = ["free", "basic", "pro"];
        assert!(reaches("basic", "basic", order) && reaches("pro", "free", order));
        assert!(!reaches("free", "basic", order) && !reaches("free", "gold", order));
    }
}

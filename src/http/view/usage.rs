//! What was used, as JSON and as a page.

use askama::Template;
use entity::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::assets::{self, Icon};
use super::frame::{Frame, Theme};
use super::words::{self, W};
use crate::chat::{UsageReport, UsageRow};
use crate::model::allowance::{Allowance, Measure};
use crate::model::usage::amount;
use crate::store::{UsageGroup, UsageSum};

/// Counts of a row or of all rows.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CountsView {
    /// Runs of requests, those that failed or were cancelled among them.
    pub attempts: i64,
    /// Runs of which a count was estimated, because their provider did not report it.
    pub estimated: i64,
    pub input_tokens: i64,
    pub output_tokens: i64,
    /// Of the output.
    pub reasoning_tokens: i64,
    /// Of the input.
    pub cached_tokens: i64,
    /// Runs whose answer was in the response cache, of those for which it was asked.
    pub cache_hits: i64,
    pub cache_lookups: i64,
    /// Tokens that the response cache made it unnecessary to pay for.
    pub saved_tokens: i64,
    /// In the currency of the configured prices; null where no model had a price.
    pub cost: Option<f64>,
}

impl CountsView {
    fn new(sum: &UsageSum) -> Self {
        Self {
            attempts: sum.attempts,
            estimated: sum.estimated,
            input_tokens: sum.input_tokens,
            output_tokens: sum.output_tokens,
            reasoning_tokens: sum.reasoning_tokens,
            cached_tokens: sum.cached_tokens,
            cache_hits: sum.cache_hits,
            cache_lookups: sum.cache_hits + sum.cache_misses,
            saved_tokens: sum.saved_tokens,
            cost: (sum.priced > 0).then(|| amount(sum.cost_micros)),
        }
    }

    /// The cost for people.
    pub fn cost_text(&self) -> String {
        self.cost
            .map_or_else(|| "–".to_owned(), |cost| format!("{cost:.4}"))
    }
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UsageRowView {
    /// The day, the model, or the chat's UUID.
    pub key: String,
    /// The same for people: a chat's title.
    pub name: String,
    #[serde(flatten)]
    pub counts: CountsView,
}

impl UsageRowView {
    fn new(row: UsageRow) -> Self {
        Self {
            counts: CountsView::new(&row.sum),
            key: row.key,
            name: row.name,
        }
    }
}

/// The answer of `GET /usage`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UsageView {
    pub by: &'static str,
    /// The first day, and the day after the last one, UTC.
    pub from: String,
    pub to: String,
    pub rows: Vec<UsageRowView>,
    pub total: CountsView,
    /// The caller's tier; null: there are no limits.
    pub tier: Option<String>,
    pub limits: Vec<LimitView>,
}

/// A limit of the caller's tier.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LimitView {
    /// `tokens` or `cost`.
    pub of: &'static str,
    /// `day` or `month`.
    pub per: &'static str,
    pub limit: f64,
    pub used: f64,
    pub resets_at: Timestamp,
}

impl LimitView {
    fn new(allowance: &Allowance) -> Self {
        let number = |count: i64| match allowance.measure {
            // Tokens are counted, money is measured in millionths.
            Measure::Tokens => amount(count.saturating_mul(1_000_000)),
            Measure::Money => amount(count),
        };
        Self {
            of: match allowance.measure {
                Measure::Tokens => "tokens",
                Measure::Money => "cost",
            },
            per: allowance.period.as_str(),
            limit: number(allowance.limit),
            used: number(allowance.used),
            resets_at: allowance.resets_at,
        }
    }

    /// All of it, for people.
    pub fn sentence(&self) -> String {
        let resets = self.resets();
        let values: [&dyn std::fmt::Display; 5] =
            [&self.used, &self.limit, &self.of, &self.per, &resets];
        words::put_all(W.limit_used, &values)
    }

    /// When it begins anew, UTC, for people.
    fn resets(&self) -> String {
        let resets = self.resets_at.to_datetime();
        resets.format("%-d %b %Y, %H:%M UTC").to_string()
    }
}

impl UsageView {
    /// What there can be a row for each of: its name, and the same for people.
    pub const GROUPS: [(&'static str, &'static str); 3] = [
        ("day", W.by_day),
        ("model", W.by_model),
        ("chat", W.by_chat),
    ];

    /// What the rows are of, for people.
    pub fn word(&self) -> &'static str {
        let groups = Self::GROUPS.into_iter();
        let mut named = groups.filter(|(name, _)| *name == self.by);
        named.next().map_or("", |(_, word)| word)
    }

    pub fn new(report: UsageReport) -> Self {
        let day = |at: entity::Timestamp| at.to_datetime().format("%Y-%m-%d").to_string();
        Self {
            by: name(report.group),
            from: day(report.from),
            to: day(report.to),
            total: CountsView::new(&report.total),
            tier: report.limits.tier,
            limits: report
                .limits
                .allowances
                .iter()
                .map(LimitView::new)
                .collect(),
            rows: report.rows.into_iter().map(UsageRowView::new).collect(),
        }
    }
}

pub fn name(group: UsageGroup) -> &'static str {
    match group {
        UsageGroup::Day => "day",
        UsageGroup::Model => "model",
        UsageGroup::Chat => "chat",
    }
}

/// The page of it.
#[derive(Template)]
#[template(path = "usage.html")]
pub struct UsagePage {
    pub frame: Frame,
    pub usage: UsageView,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_with_and_without_a_price() {
        let counts = |cost| CountsView {
            attempts: 2,
            estimated: 1,
            input_tokens: 1_200,
            output_tokens: 340,
            reasoning_tokens: 0,
            cached_tokens: 0,
            cache_hits: 1,
            cache_lookups: 4,
            saved_tokens: 77,
            cost,
        };
        let row = |name: &str, cost| UsageRowView {
            key: name.to_owned(),
            name: name.to_owned(),
            counts: counts(cost),
        };
        let usage = UsageView {
            by: "model",
            from: "2026-11-01".into(),
            to: "2026-12-01".into(),
            rows: vec![row("<priced>", Some(0.001_5)), row("free", None)],
            total: counts(Some(0.001_5)),
            tier: Some("basic".into()),
            limits: vec![LimitView {
                of: "tokens",
                per: "day",
                limit: 1_000.0,
                used: 12.0,
                resets_at: Timestamp(1_795_226_400_000),
            }],
        };
        let page = UsagePage {
            frame: Frame::default(),
            usage,
        }
        .render()
        .unwrap();
        let main = page.split("<main").nth(1).unwrap();
        insta::assert_snapshot!(main);
    }
}

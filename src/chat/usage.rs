//! Usage: what an owner's answers used and cost, by day, model or chat, out of the usage ledger.

use std::collections::HashMap;

use entity::{ChatId, OwnerId, Timestamp};

use super::{Chats, Limits};
use crate::model::allowance::{Allowance, Measure};
use crate::model::usage::amount;
use crate::store::{StoreError, UsageGroup, UsageSum};

/// Rows of a report at most.
const MAX_ROWS: u64 = 400;
const DAY_MS: i64 = 86_400_000;
/// Days that a report covers when nobody says.
const DEFAULT_DAYS: i64 = 30;

/// One line of a report.
#[derive(Clone, Debug)]
pub struct UsageRow {
    /// The day (`2026-11-21`), the model, or the chat's UUID.
    pub key: String,
    /// What a person reads: the same, or the chat's title.
    pub name: String,
    pub sum: UsageSum,
}

/// What was used from `from` until before `to`.
#[derive(Clone, Debug)]
pub struct UsageReport {
    pub group: UsageGroup,
    pub from: Timestamp,
    pub to: Timestamp,
    pub rows: Vec<UsageRow>,
    pub total: UsageSum,
    pub limits: Limits,
}

#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    #[error("`from` must be before `to`")]
    EmptyRange,
    #[error("the usage could not be read")]
    Store(#[from] StoreError),
}

impl Chats {
    /// The owner's usage. Without `to` until now; without `from` the thirty days before.
    ///
    /// # Errors
    /// If the range is empty, or the database fails.
    pub async fn usage(
        &self,
        owner: OwnerId,
        group: UsageGroup,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Result<UsageReport, UsageError> {
        let to = to.unwrap_or_else(|| {
            let now = self.clock.now().0;
            Timestamp(now - now.rem_euclid(DAY_MS) + DAY_MS)
        });
        let from = from.unwrap_or_else(|| to.plus_ms(-DEFAULT_DAYS * DAY_MS));
        if from >= to {
            return Err(UsageError::EmptyRange);
        }
        let sums = self.store.usage(owner, group, from, to, MAX_ROWS).await?;
        let total = self.store.usage_total(owner, from, to).await?;
        let titles = if group == UsageGroup::Chat {
            let chats: Vec<ChatId> = sums.iter().map(|sum| chat_of(&sum.key)).collect();
            self.store.chat_titles(owner, &chats).await?
        } else {
            HashMap::new()
        };
        let limits = self.limits(owner).await?;
        Ok(UsageReport {
            limits,
            group,
            from,
            to,
            rows: sums
                .into_iter()
                .map(|sum| row(group, &titles, sum))
                .collect(),
            total,
        })
    }
}

/// Limits as sentences, one each.
pub(super) fn spelled(limits: &Limits) -> Vec<String> {
    let sentence = |allowance: &Allowance| {
        let (used, limit, unit) = match allowance.measure {
            Measure::Tokens => (
                allowance.used.to_string(),
                allowance.limit.to_string(),
                "tokens",
            ),
            Measure::Money => (
                format!("{:.4}", amount(allowance.used)),
                amount(allowance.limit).to_string(),
                "of cost",
            ),
        };
        format!(
            "{used} of {limit} {unit} used this {}; it begins anew at {}.",
            allowance.period.as_str(),
            allowance
                .resets_at
                .to_datetime()
                .format("%-d %b %Y, %H:%M UTC")
        )
    };
    limits.allowances.iter().map(sentence).collect()
}

/// What came out of the response cache, as a sentence. None if nothing was looked for there.
pub(super) fn cache_line(sum: &UsageSum) -> Option<String> {
    let lookups = sum.cache_hits + sum.cache_misses;
    (lookups > 0).then(|| {
        format!(
            "{} of {lookups} answers came out of the response cache, which saved {} tokens.",
            sum.cache_hits, sum.saved_tokens
        )
    })
}

fn row(group: UsageGroup, titles: &HashMap<ChatId, String>, sum: UsageSum) -> UsageRow {
    let (key, name) = match group {
        UsageGroup::Day => {
            let day = sum.key.parse::<i64>().unwrap_or(0);
            let date = Timestamp(day.saturating_mul(DAY_MS)).to_datetime();
            let date = date.format("%Y-%m-%d").to_string();
            (date.clone(), date)
        }
        UsageGroup::Model => (sum.key.clone(), sum.key.clone()),
        UsageGroup::Chat => {
            let id = chat_of(&sum.key);
            let title = titles.get(&id).map_or("(deleted)", String::as_str);
            (id.to_string(), title.to_owned())
        }
    };
    UsageRow { key, name, sum }
}

fn chat_of(key: &str) -> ChatId {
    ChatId(key.parse().unwrap_or_default())
}

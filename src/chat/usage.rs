//! Usage: what an owner's answers used and cost, by day, model or chat, out of the usage ledger.

use entity::{ChatId, OwnerId, Timestamp};

use super::Chats;
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
        let total = total(&sums);
        let mut rows = Vec::with_capacity(sums.len());
        for sum in sums {
            rows.push(self.row(owner, group, sum).await?);
        }
        Ok(UsageReport {
            group,
            from,
            to,
            rows,
            total,
        })
    }

    async fn row(
        &self,
        owner: OwnerId,
        group: UsageGroup,
        sum: UsageSum,
    ) -> Result<UsageRow, StoreError> {
        let (key, name) = match group {
            UsageGroup::Day => {
                let day = sum.key.parse::<i64>().unwrap_or(0);
                let date = Timestamp(day.saturating_mul(DAY_MS)).to_datetime();
                let date = date.format("%Y-%m-%d").to_string();
                (date.clone(), date)
            }
            UsageGroup::Model => (sum.key.clone(), sum.key.clone()),
            UsageGroup::Chat => {
                let id = ChatId(sum.key.parse().unwrap_or_default());
                let chat = self.store.chat(owner, id).await?;
                let name = chat.map_or_else(|| "(deleted)".to_owned(), |chat| chat.title);
                (id.to_string(), name)
            }
        };
        Ok(UsageRow { key, name, sum })
    }
}

fn total(sums: &[UsageSum]) -> UsageSum {
    let add = |field: fn(&UsageSum) -> i64| sums.iter().map(field).sum();
    UsageSum {
        key: String::new(),
        attempts: add(|sum| sum.attempts),
        estimated: add(|sum| sum.estimated),
        input_tokens: add(|sum| sum.input_tokens),
        output_tokens: add(|sum| sum.output_tokens),
        reasoning_tokens: add(|sum| sum.reasoning_tokens),
        cached_tokens: add(|sum| sum.cached_tokens),
        priced: add(|sum| sum.priced),
        cost_micros: add(|sum| sum.cost_micros),
    }
}

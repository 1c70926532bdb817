//! Rows of `token_ledger`: appended in batches, read back in order, purged when the text is final.

use entity::token_ledger::{ActiveModel, Channel, Column, Entity, Model};
use entity::{RequestId, llm_request};
use sea_orm::{
    ColumnTrait, EntityTrait, QueryFilter, QueryOrder, Set,
    sea_query::{Expr, ExprTrait, Query},
};

use super::{Fence, Store, StoreError, Tx};

/// Rows in one INSERT. Five values are bound for each; SQLite takes 32,766 in a statement.
const MAX_ROWS: usize = 4_000;
/// Ids in one `IN (…)`.
const MAX_IDS: usize = 1_000;

/// A piece of one of an answer's two texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    pub request: RequestId,
    pub attempt: i64,
    pub channel: Channel,
    /// Bytes of UTF-8 before it.
    pub start_offset: i64,
    pub text: String,
}

/// An answer's two texts, as far as the database has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerTexts {
    pub text: String,
    pub reasoning: String,
}

impl LedgerTexts {
    fn is_empty(&self) -> bool {
        self.text.is_empty() && self.reasoning.is_empty()
    }

    /// Whether another attempt's texts are worth more than these: words are worth more than thoughts,
    /// and thoughts more than nothing.
    #[must_use]
    pub fn are_less_than(&self, other: &Self) -> bool {
        let worth = |texts: &Self| (!texts.text.is_empty(), !texts.reasoning.is_empty());
        self.text.is_empty() && worth(self) < worth(other)
    }

    /// Puts chunks in the order of their offsets behind the texts. A chunk that is there twice was
    /// left by a flush that was committed but not confirmed: the flusher writes exactly the same
    /// one again.
    fn join(&mut self, chunks: &[Model]) {
        for chunk in chunks {
            let text = match chunk.channel {
                Channel::Text => &mut self.text,
                Channel::Reasoning => &mut self.reasoning,
            };
            if i64::try_from(text.len()) == Ok(chunk.start_offset) {
                text.push_str(&chunk.text);
            }
        }
    }
}

impl Store {
    /// Appends to `texts` what an attempt has written behind them, up to the first gap.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn read_ledger(
        &self,
        (request, attempt): Fence,
        texts: &mut LedgerTexts,
    ) -> Result<(), StoreError> {
        let behind = |channel: Channel, text: &str| {
            let known = i64::try_from(text.len()).unwrap_or(i64::MAX);
            Column::Channel
                .eq(channel)
                .and(Column::StartOffset.gte(known))
        };
        let rows = Entity::find()
            .filter(Column::RequestId.eq(request))
            .filter(Column::Attempt.eq(attempt))
            .filter(
                behind(Channel::Text, &texts.text).or(behind(Channel::Reasoning, &texts.reasoning)),
            )
            .order_by_asc(Column::StartOffset)
            .all(self.reader())
            .await?;
        texts.join(&rows);
        Ok(())
    }

    /// What the latest attempt that wrote anything has written, and which one that was. An attempt
    /// that was cut short before its first word does not take from the user what an earlier one
    /// had said.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn last_ledger_text(
        &self,
        request: RequestId,
    ) -> Result<Option<(i64, LedgerTexts)>, StoreError> {
        let rows = Entity::find()
            .filter(Column::RequestId.eq(request))
            .order_by_desc(Column::Attempt)
            .order_by_asc(Column::StartOffset)
            .all(self.reader())
            .await?;
        let mut found = None;
        for chunks in rows.chunk_by(|a, b| a.attempt == b.attempt) {
            let mut texts = LedgerTexts::default();
            texts.join(chunks);
            let Some(first) = chunks.first().filter(|_| !texts.is_empty()) else {
                continue;
            };
            // Thoughts are better than nothing, and words are better than thoughts.
            let has_words = !texts.text.is_empty();
            if has_words || found.is_none() {
                found = Some((first.attempt, texts));
            }
            if has_words {
                break;
            }
        }
        Ok(found)
    }
}

impl Tx {
    /// Appends chunks.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn append_chunks(&self, chunks: &[Chunk]) -> Result<(), StoreError> {
        for batch in chunks.chunks(MAX_ROWS) {
            let rows = batch.iter().map(|chunk| ActiveModel {
                request_id: Set(chunk.request),
                attempt: Set(chunk.attempt),
                channel: Set(chunk.channel),
                start_offset: Set(chunk.start_offset),
                text: Set(chunk.text.clone()),
                ..Default::default()
            });
            Entity::insert_many(rows)
                .exec_without_returning(self.connection())
                .await?;
        }
        Ok(())
    }

    /// Deletes the chunks of those of these requests that neither run nor wait for their next
    /// attempt: their text is final. Rows deleted.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn purge_ledger(&self, requests: &[RequestId]) -> Result<u64, StoreError> {
        let mut purged = 0;
        for ids in requests.chunks(MAX_IDS) {
            purged += Entity::delete_many()
                .filter(Column::RequestId.is_in(ids.iter().copied()))
                .filter(is_final())
                .exec(self.connection())
                .await?
                .rows_affected;
        }
        Ok(purged)
    }

    /// Deletes all chunks of which the text is final. Rows deleted.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn purge_finished_ledgers(&self) -> Result<u64, StoreError> {
        let purged = Entity::delete_many()
            .filter(is_final())
            .exec(self.connection())
            .await?;
        Ok(purged.rows_affected)
    }
}

/// The chunk's request is over, or gone. Looked up by its id, for there are few chunks and many
/// requests.
fn is_final() -> Expr {
    let active = Query::select()
        .column(llm_request::Column::Id)
        .from(llm_request::Entity)
        .and_where(
            Expr::col((llm_request::Entity, llm_request::Column::Id))
                .equals((Entity, Column::RequestId)),
        )
        .and_where(
            llm_request::Column::Status
                .is_in([llm_request::Status::Queued, llm_request::Status::Running]),
        )
        .to_owned();
    Expr::exists(active).not()
}

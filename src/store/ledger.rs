//! Rows of `token_ledger`: appended in batches, read back in order, purged when the text is final.

use entity::token_ledger::{Channel, Column, Entity, Model};
use entity::{RequestId, llm_request};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, ExprTrait, Query},
};

use super::batches::{Rows, batches, padded};
use super::{Fence, Store, StoreError, Tx};

/// Ids in one `IN (…)`.
const MAX_IDS: usize = 1_000;
/// Chunks that one step of the repair looks at.
const MAX_LOOKED_AT: u64 = 10_000;

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
    pub async fn append_chunks(&self, chunks: &[&Chunk]) -> Result<(), StoreError> {
        for batch in batches(chunks) {
            let rows = Rows::of(batch, |chunk| {
                [
                    chunk.request.into(),
                    chunk.attempt.into(),
                    chunk.channel.into(),
                    chunk.start_offset.into(),
                    chunk.text.clone().into(),
                ]
            });
            let insert = rows.insert(
                self,
                "token_ledger",
                "request_id, attempt, channel, start_offset, text",
            );
            self.connection().execute_raw(insert).await?;
        }
        Ok(())
    }

    /// Deletes chunks of which the text is final, with those of these requests among them: they neither run
    /// nor wait for their next attempt. Where they cannot be looked up, those go that no chunk stands before
    /// that is still needed. They fill whole pages, which are given back without being written; one by one
    /// they would cost a page each.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn purge_ledger(&self, requests: &[RequestId]) -> Result<(), StoreError> {
        if self.dialect.finds_chunks() {
            for ids in requests.chunks(MAX_IDS) {
                Entity::delete_many()
                    .filter(Column::RequestId.is_in(padded(ids)))
                    .filter(is_final())
                    .exec(self.connection())
                    .await?;
            }
            return Ok(());
        }
        let first_needed: Option<i64> = Entity::find()
            .select_only()
            .column(Column::Id)
            .filter(is_final().not())
            .order_by_asc(Column::Id)
            .limit(1)
            .into_tuple()
            .one(self.connection())
            .await?;
        let mut purge = Entity::delete_many();
        if let Some(first) = first_needed {
            purge = purge.filter(Column::Id.lt(first));
        }
        purge.exec(self.connection()).await?;
        Ok(())
    }

    /// Deletes the chunks of which the text is final among those behind `after`, as many as one transaction
    /// should look at. Behind which to go on; none: that was all.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn purge_finished_ledgers(&self, after: i64) -> Result<Option<i64>, StoreError> {
        let last: Option<i64> = Entity::find()
            .select_only()
            .column(Column::Id)
            .filter(Column::Id.gt(after))
            .order_by_asc(Column::Id)
            .offset(MAX_LOOKED_AT)
            .limit(1)
            .into_tuple()
            .one(self.connection())
            .await?;
        let mut purge = Entity::delete_many()
            .filter(Column::Id.gt(after))
            .filter(is_final());
        if let Some(last) = last {
            purge = purge.filter(Column::Id.lte(last));
        }
        purge.exec(self.connection()).await?;
        Ok(last)
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

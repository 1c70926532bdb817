//! Rows of `token_ledger`: appended in batches, read back in order, purged when the text is final.

use std::collections::BTreeMap;

use entity::token_ledger::{ActiveModel, Column, Entity};
use entity::{RequestId, llm_request};
use sea_orm::{
    ColumnTrait, EntityTrait, QueryFilter, Set,
    sea_query::{ExprTrait, Query},
};

use super::{Store, StoreError, Tx};

/// Rows in one INSERT. Four values are bound for each; SQLite takes 32,766 in a statement.
const MAX_ROWS: usize = 4_000;
/// Ids in one `IN (…)`.
const MAX_IDS: usize = 1_000;

/// A piece of an answer's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    pub request: RequestId,
    pub attempt: i64,
    /// Bytes of UTF-8 before it.
    pub start_offset: i64,
    pub text: String,
}

impl Store {
    /// What the request's current attempt has written of an edition: the chunks in order, up to
    /// the first gap. Nothing if the request has moved on to another edition.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn ledger_text(
        &self,
        request: RequestId,
        edition: i64,
    ) -> Result<String, StoreError> {
        let current_attempt = Query::select()
            .column(llm_request::Column::Attempt)
            .from(llm_request::Entity)
            .and_where(llm_request::Column::Id.eq(request))
            .and_where(llm_request::Column::Edition.eq(edition))
            .to_owned();
        let rows = Entity::find()
            .filter(Column::RequestId.eq(request))
            .filter(Column::Attempt.in_subquery(current_attempt))
            .all(self.reader())
            .await?;
        let mut chunks: BTreeMap<i64, String> = BTreeMap::new();
        for row in rows {
            // Two chunks at one offset are left by a flush that was committed but not confirmed:
            // the second one begins with the first.
            let chunk = chunks.entry(row.start_offset).or_default();
            if row.text.len() > chunk.len() {
                *chunk = row.text;
            }
        }
        let mut text = String::new();
        for (offset, chunk) in chunks {
            if i64::try_from(text.len()) != Ok(offset) {
                break;
            }
            text.push_str(&chunk);
        }
        Ok(text)
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

    /// Deletes the chunks of these requests, whose text is final. Rows deleted.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn purge_ledger(&self, requests: &[RequestId]) -> Result<u64, StoreError> {
        let mut purged = 0;
        for ids in requests.chunks(MAX_IDS) {
            purged += Entity::delete_many()
                .filter(Column::RequestId.is_in(ids.iter().copied()))
                .exec(self.connection())
                .await?
                .rows_affected;
        }
        Ok(purged)
    }

    /// Deletes the chunks of all requests that do not run. Rows deleted.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn purge_finished_ledgers(&self) -> Result<u64, StoreError> {
        let running = Query::select()
            .column(llm_request::Column::Id)
            .from(llm_request::Entity)
            .and_where(llm_request::Column::Status.eq(llm_request::Status::Running))
            .to_owned();
        let purged = Entity::delete_many()
            .filter(Column::RequestId.in_subquery(running).not())
            .exec(self.connection())
            .await?;
        Ok(purged.rows_affected)
    }
}

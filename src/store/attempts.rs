//! Rows of `llm_attempt`: the usage ledger.

use entity::llm_attempt::{Column, Entity, Model};
use entity::{OwnerId, RequestId, Timestamp};
use sea_orm::{
    ColumnTrait, EntityTrait, FromQueryResult, IntoActiveModel, QueryFilter, QueryOrder,
    QuerySelect, Statement, Value,
    sea_query::{Expr, OnConflict},
};

use super::batches::batches;
use super::{Store, StoreError, Tx};

/// By what usage is summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageGroup {
    /// UTC; the key is the number of the day since the Unix epoch.
    Day,
    Model,
    Chat,
}

/// Usage of one day, model or chat.
#[derive(Clone, Debug, PartialEq, Eq, FromQueryResult)]
pub struct UsageSum {
    pub key: String,
    pub attempts: i64,
    /// Attempts of which a count was estimated.
    pub estimated: i64,
    pub input_tokens: i64,
    pub output_tokens: i64,
    pub reasoning_tokens: i64,
    pub cached_tokens: i64,
    /// Attempts whose answer was in the response cache, and attempts for which it was not.
    pub cache_hits: i64,
    pub cache_misses: i64,
    /// Tokens that the response cache made it unnecessary to pay for.
    pub saved_tokens: i64,
    /// Attempts of models that have a price.
    pub priced: i64,
    pub cost_micros: i64,
}

impl Store {
    /// What the owner's attempts used that ended from `from` until before `to`: at most `limit`
    /// groups, the last day, the most used model or the last used chat first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn usage(
        &self,
        owner: OwnerId,
        group: UsageGroup,
        from: Timestamp,
        to: Timestamp,
        limit: u64,
    ) -> Result<Vec<UsageSum>, StoreError> {
        let (key, order) = match group {
            UsageGroup::Day => ("CAST(finished_at / 86400000 AS TEXT)", "max(finished_at)"),
            UsageGroup::Model => ("COALESCE(model, '')", "sum(input_tokens + output_tokens)"),
            UsageGroup::Chat => (self.dialect.chat_id_text(), "max(finished_at)"),
        };
        let order = format!("GROUP BY 1 ORDER BY {order} DESC LIMIT {limit}");
        self.sums(key, &order, owner, from, to).await
    }

    /// All of it together.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn usage_total(
        &self,
        owner: OwnerId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<UsageSum, StoreError> {
        let sums = self.sums("''", "", owner, from, to).await?;
        let total = sums.into_iter().next();
        total.ok_or(StoreError::Missing { what: "sum" })
    }

    /// Tokens, and millionths of the currency, that the owner's attempts used that have ended since.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn used_since(
        &self,
        owner: OwnerId,
        since: Timestamp,
    ) -> Result<(i64, i64), StoreError> {
        let sum = |what: &str| format!("CAST(COALESCE(sum({what}), 0) AS BIGINT)");
        let sums: Option<(i64, i64)> = Entity::find()
            .select_only()
            .expr(Expr::cust(sum("input_tokens + output_tokens")))
            .expr(Expr::cust(sum("cost_micros")))
            .filter(Column::OwnerId.eq(owner))
            .filter(Column::FinishedAt.gte(since))
            .into_tuple()
            .one(self.reader())
            .await?;
        Ok(sums.unwrap_or_default())
    }

    /// The attempts of a request that have ended, in their order.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn attempts_of(&self, request: RequestId) -> Result<Vec<Model>, StoreError> {
        Ok(Entity::find()
            .filter(Column::RequestId.eq(request))
            .order_by_asc(Column::Attempt)
            .all(self.reader())
            .await?)
    }

    async fn sums(
        &self,
        key: &str,
        order: &str,
        owner: OwnerId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<UsageSum>, StoreError> {
        // PostgreSQL sums integers up as NUMERIC.
        let sum = |what: &str| format!("CAST(COALESCE(sum({what}), 0) AS BIGINT)");
        let sql = format!(
            "SELECT {key} AS key, count(*) AS attempts, \
               {} AS estimated, {} AS input_tokens, {} AS output_tokens, {} AS reasoning_tokens, \
               {} AS cached_tokens, {} AS cache_hits, {} AS cache_misses, {} AS saved_tokens, \
               count(cost_micros) AS priced, {} AS cost_micros \
             FROM llm_attempt WHERE owner_id = $1 AND finished_at >= $2 AND finished_at < $3 {order}",
            sum("CASE WHEN estimated THEN 1 ELSE 0 END"),
            sum("input_tokens"),
            sum("output_tokens"),
            sum("reasoning_tokens"),
            sum("cached_tokens"),
            sum("CASE WHEN cache = 'hit' THEN 1 ELSE 0 END"),
            sum("CASE WHEN cache = 'miss' THEN 1 ELSE 0 END"),
            sum("saved_tokens"),
            sum("cost_micros"),
        );
        let values: [Value; 3] = [owner.into(), from.into(), to.into()];
        let backend = self.reader().get_database_backend();
        Ok(
            UsageSum::find_by_statement(Statement::from_sql_and_values(backend, sql, values))
                .all(self.reader())
                .await?,
        )
    }
}

impl Tx {
    /// Notes what an attempt used, unless that has been noted already.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn insert_attempt(&self, attempt: Model) -> Result<(), StoreError> {
        self.insert_attempts(&[attempt]).await
    }

    /// The same for several.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn insert_attempts(&self, attempts: &[Model]) -> Result<(), StoreError> {
        let is_there = OnConflict::columns([Column::RequestId, Column::Attempt])
            .do_nothing()
            .to_owned();
        for batch in batches(attempts) {
            let rows = batch
                .iter()
                .cloned()
                .map(IntoActiveModel::into_active_model);
            Entity::insert_many(rows)
                .on_conflict(is_there.clone())
                .exec_without_returning(self.connection())
                .await?;
        }
        Ok(())
    }
}

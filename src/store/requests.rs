//! Rows of `llm_request`: claimed by one conditional UPDATE, ended under the fence of the attempt.

use entity::llm_request::{Column, Entity, Model, Status};
use entity::{RequestId, Timestamp};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder,
    QuerySelect, Statement, Value,
    sea_query::{Expr, ExprTrait},
};

use super::{Store, StoreError, Tx};

/// Ids in one `IN (…)`: SQLite takes 32,766 bound values in a statement, PostgreSQL 65,535.
const MAX_IDS: usize = 1_000;

/// A node's claim on a request, until it runs out.
#[derive(Clone, Debug)]
pub struct Lease {
    pub owner: String,
    pub expires_at: Timestamp,
}

/// How a request ends.
#[derive(Clone, Debug)]
pub struct RequestEnd {
    pub status: Status,
    pub model: Option<String>,
    pub provider: Option<String>,
    pub finish_reason: Option<String>,
    pub input_tokens: Option<i64>,
    pub output_tokens: Option<i64>,
    pub error: Option<(String, String)>,
    pub first_token_at: Option<Timestamp>,
    pub now: Timestamp,
}

impl Store {
    /// Requests that say `running` but whose lease has run out by `now`; with `all`, every
    /// running one. At most `limit`, oldest lease first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn abandoned_requests(
        &self,
        now: Timestamp,
        all: bool,
        limit: u64,
    ) -> Result<Vec<Model>, StoreError> {
        let mut query = Entity::find().filter(Column::Status.eq(Status::Running));
        if !all {
            query = query.filter(
                Column::LeaseExpiresAt
                    .lt(now)
                    .or(Column::LeaseExpiresAt.is_null()),
            );
        }
        Ok(query
            .order_by_asc(Column::LeaseExpiresAt)
            .limit(limit)
            .all(self.reader())
            .await?)
    }
}

impl Tx {
    /// # Errors
    /// If the database fails.
    pub async fn insert_request(&self, request: Model) -> Result<(), StoreError> {
        Entity::insert(request.into_active_model())
            .exec_without_returning(self.connection())
            .await?;
        Ok(())
    }

    /// Takes the oldest queued request whose chat is free, and turns it `running` under the lease.
    /// None if there is none. Of one chat's requests the earliest goes first.
    ///
    /// # Errors
    /// If the database fails; [`StoreError::is_duplicate`] if another node took one of the same chat.
    pub async fn claim_request(
        &self,
        lease: &Lease,
        now: Timestamp,
    ) -> Result<Option<Model>, StoreError> {
        let sql = format!(
            "UPDATE llm_request SET status = 'running', lease_owner = $1, lease_expires_at = $2, started_at = $3 \
             WHERE status = 'queued' AND id = (\
               SELECT r.id FROM llm_request r WHERE r.status = 'queued' \
               AND NOT EXISTS (SELECT 1 FROM llm_request o \
                 WHERE o.chat_id = r.chat_id AND o.status = 'running') \
               AND NOT EXISTS (SELECT 1 FROM llm_request e \
                 WHERE e.chat_id = r.chat_id AND e.status = 'queued' AND e.sequence < r.sequence) \
               ORDER BY r.created_at, r.id LIMIT 1 {}) \
             RETURNING *",
            self.dialect.skip_locked()
        );
        let values: [Value; 3] = [
            lease.owner.clone().into(),
            lease.expires_at.into(),
            now.into(),
        ];
        let backend = self.connection().get_database_backend();
        Ok(Entity::find()
            .from_raw_sql(Statement::from_sql_and_values(backend, sql, values))
            .one(self.connection())
            .await?)
    }

    /// Names the answer that a claimed request writes.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn assign_answer(&self, request: &Model) -> Result<bool, StoreError> {
        let updated = Entity::update_many()
            .col_expr(
                Column::AssistantMessageId,
                Expr::value(request.assistant_message_id),
            )
            .filter(Column::Id.eq(request.id))
            .filter(Column::Attempt.eq(request.attempt))
            .filter(Column::Status.eq(Status::Running))
            .exec(self.connection())
            .await?;
        Ok(updated.rows_affected == 1)
    }

    /// Ends a running request, if it is still this attempt that runs. `false` means fenced:
    /// another attempt has taken over, or the request has been ended or deleted.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn end_request(
        &self,
        id: RequestId,
        attempt: i64,
        end: RequestEnd,
    ) -> Result<bool, StoreError> {
        let (code, message) = end.error.unzip();
        let updated = Entity::update_many()
            .col_expr(Column::Status, Expr::value(end.status))
            .col_expr(Column::Model, Expr::value(end.model))
            .col_expr(Column::Provider, Expr::value(end.provider))
            .col_expr(Column::FinishReason, Expr::value(end.finish_reason))
            .col_expr(Column::InputTokens, Expr::value(end.input_tokens))
            .col_expr(Column::OutputTokens, Expr::value(end.output_tokens))
            .col_expr(Column::ErrorCode, Expr::value(code))
            .col_expr(Column::ErrorMessage, Expr::value(message))
            .col_expr(Column::FirstTokenAt, Expr::value(end.first_token_at))
            .col_expr(Column::FinishedAt, Expr::value(end.now))
            .col_expr(Column::LeaseOwner, Expr::value(Option::<String>::None))
            .col_expr(
                Column::LeaseExpiresAt,
                Expr::value(Option::<Timestamp>::None),
            )
            .filter(Column::Id.eq(id))
            .filter(Column::Attempt.eq(attempt))
            .filter(Column::Status.eq(Status::Running))
            .exec(self.connection())
            .await?;
        Ok(updated.rows_affected == 1)
    }

    /// Moves the end of the owner's leases on these requests.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn renew_leases(
        &self,
        requests: &[RequestId],
        lease: &Lease,
    ) -> Result<(), StoreError> {
        for ids in requests.chunks(MAX_IDS) {
            Entity::update_many()
                .col_expr(Column::LeaseExpiresAt, Expr::value(lease.expires_at))
                .filter(Column::Id.is_in(ids.iter().copied()))
                .filter(Column::LeaseOwner.eq(&lease.owner))
                .filter(Column::Status.eq(Status::Running))
                .exec(self.connection())
                .await?;
        }
        Ok(())
    }
}

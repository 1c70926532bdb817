//! Rows of `llm_request`: claimed by one conditional UPDATE, changed and ended under the fence of
//! the attempt.

use std::fmt::Write as _;

use entity::llm_request::{CacheUse, Column, Entity, Model, Status};
use entity::{ChatId, OwnerId, RequestId, Timestamp, chat};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect, Select, Statement, Value,
    sea_query::{Expr, ExprTrait, Query},
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

/// What a claim sets on the request that it takes.
#[derive(Clone, Debug)]
pub struct Claim {
    pub lease: Lease,
    pub now: Timestamp,
    /// Kept from the first claim of the request on.
    pub deadline_at: Timestamp,
    /// Who answers requests that name no provider.
    pub default_provider: String,
    /// Requests that a provider may run at once, on all nodes together. Those that are not here have
    /// no limit.
    pub provider_limits: Vec<(String, u32)>,
}

/// One run of a request: what a worker writes under.
pub type Fence = (RequestId, i64);

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

    /// # Errors
    /// If the database fails.
    pub async fn request(&self, id: RequestId) -> Result<Option<Model>, StoreError> {
        Ok(Entity::find_by_id(id).one(self.reader()).await?)
    }

    /// A chat's requests that run or wait, the running one first, then in the order of their
    /// messages.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn active_requests(&self, chat: ChatId) -> Result<Vec<Model>, StoreError> {
        let mut active = active(chat).all(self.reader()).await?;
        running_first(&mut active);
        Ok(active)
    }

    /// The runs that this node holds the lease of, whether or not it has run out.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn held_requests(&self, owner: &str) -> Result<Vec<Fence>, StoreError> {
        Ok(held(owner).into_tuple().all(self.reader()).await?)
    }
}

fn active(chat: ChatId) -> Select<Entity> {
    Entity::find()
        .filter(Column::ChatId.eq(chat))
        .filter(Column::Status.is_in([Status::Queued, Status::Running]))
}

fn running_first(requests: &mut [Model]) {
    requests.sort_by_key(|request| (request.status != Status::Running, request.sequence));
}

fn held(owner: &str) -> Select<Entity> {
    Entity::find()
        .select_only()
        .column(Column::Id)
        .column(Column::Attempt)
        .filter(Column::LeaseOwner.eq(owner))
        .filter(Column::Status.eq(Status::Running))
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

    /// How many of the user's requests run or wait.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn active_requests_of(&self, owner: OwnerId) -> Result<u64, StoreError> {
        let chats = Query::select()
            .column(chat::Column::Id)
            .from(chat::Entity)
            .and_where(chat::Column::OwnerId.eq(owner))
            .to_owned();
        Ok(Entity::find()
            .filter(Column::Status.is_in([Status::Queued, Status::Running]))
            .filter(Column::ChatId.in_subquery(chats))
            .count(self.connection())
            .await?)
    }

    /// The request as this transaction sees it, which nobody else changes until it ends.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn lock_request(&self, id: RequestId) -> Result<Option<Model>, StoreError> {
        Ok(Entity::find_by_id(id)
            .lock_exclusive()
            .one(self.connection())
            .await?)
    }

    /// As [`Store::request`], seen by this transaction.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn request(&self, id: RequestId) -> Result<Option<Model>, StoreError> {
        Ok(Entity::find_by_id(id).one(self.connection()).await?)
    }

    /// As [`Store::active_requests`], and nobody else changes them until this transaction ends.
    /// Requests are locked before their chat, as a claim does, and among themselves by their ids.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn lock_active_requests(&self, chat: ChatId) -> Result<Vec<Model>, StoreError> {
        let mut active = active(chat)
            .order_by_asc(Column::Id)
            .lock_exclusive()
            .all(self.connection())
            .await?;
        running_first(&mut active);
        Ok(active)
    }

    /// As [`Store::active_requests`], seen by this transaction.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn active_requests(&self, chat: ChatId) -> Result<Vec<Model>, StoreError> {
        let mut active = active(chat).all(self.connection()).await?;
        running_first(&mut active);
        Ok(active)
    }

    /// Takes the oldest queued request whose chat is free, and turns it `running` under the lease.
    /// None if there is none whose provider has room. Of one chat's requests the earliest goes
    /// first.
    ///
    /// # Errors
    /// If the database fails; [`StoreError::is_duplicate`] if another node took one of the same chat.
    pub async fn claim_request(&self, claim: &Claim) -> Result<Option<Model>, StoreError> {
        let mut values: Vec<Value> = vec![
            claim.lease.owner.clone().into(),
            claim.lease.expires_at.into(),
            claim.now.into(),
            claim.deadline_at.into(),
            claim.default_provider.clone().into(),
        ];
        let mut has_room = String::new();
        let mut limits: Vec<&(String, u32)> = claim.provider_limits.iter().collect();
        limits.sort();
        for (provider, limit) in limits {
            // Counted under a lock, or two nodes would both find the last place free.
            self.dialect
                .lock_until_commit(self.connection(), provider)
                .await?;
            let place = values.len() + 1;
            values.extend([provider.clone().into(), i64::from(*limit).into()]);
            let _ = write!(
                has_room,
                "AND (COALESCE(r.provider, $5) <> ${place} OR (SELECT count(*) FROM llm_request p \
                   WHERE p.status = 'running' AND p.provider = ${place}) < ${}) ",
                place + 1
            );
        }
        let sql = format!(
            "UPDATE llm_request SET status = 'running', lease_owner = $1, lease_expires_at = $2, \
               started_at = $3, deadline_at = COALESCE(deadline_at, $4), \
               provider = COALESCE(provider, $5) \
             WHERE status = 'queued' AND id = (\
               SELECT r.id FROM llm_request r WHERE r.status = 'queued' {has_room} \
               AND NOT EXISTS (SELECT 1 FROM llm_request o \
                 WHERE o.chat_id = r.chat_id AND o.status = 'running') \
               AND NOT EXISTS (SELECT 1 FROM llm_request e \
                 WHERE e.chat_id = r.chat_id AND e.status = 'queued' AND e.sequence < r.sequence) \
               ORDER BY r.created_at, r.id LIMIT 1 {}) \
             RETURNING *",
            self.dialect.skip_locked()
        );
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

    /// Ends a request that is `as_status`, if it is still this attempt's. `false` means fenced:
    /// another attempt has taken over, or the request has been ended or deleted.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn end_request(
        &self,
        (id, attempt): Fence,
        as_status: Status,
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
            .filter(Column::Status.eq(as_status))
            .exec(self.connection())
            .await?;
        Ok(updated.rows_affected == 1)
    }

    /// Puts a running request back into the queue as its next attempt, which writes the next
    /// edition. Whether it was still this attempt's.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn requeue_request(&self, (id, attempt): Fence) -> Result<bool, StoreError> {
        let updated = Entity::update_many()
            .col_expr(Column::Status, Expr::value(Status::Queued))
            .col_expr(Column::Attempt, Expr::col(Column::Attempt).add(1))
            .col_expr(Column::Edition, Expr::col(Column::Edition).add(1))
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

    /// Has a request that has not started use the response cache like this. Whether it had not.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn set_cache_use(&self, id: RequestId, wanted: CacheUse) -> Result<bool, StoreError> {
        let updated = Entity::update_many()
            .col_expr(Column::CacheUse, Expr::value(wanted))
            .filter(Column::Id.eq(id))
            .filter(Column::Status.eq(Status::Queued))
            .exec(self.connection())
            .await?;
        Ok(updated.rows_affected == 1)
    }

    /// Takes back a request that has not started. Whether it had not.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn withdraw_request(
        &self,
        id: RequestId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let updated = Entity::update_many()
            .col_expr(Column::Status, Expr::value(Status::Cancelled))
            .col_expr(Column::FinishedAt, Expr::value(now))
            .filter(Column::Id.eq(id))
            .filter(Column::Status.eq(Status::Queued))
            .exec(self.connection())
            .await?;
        Ok(updated.rows_affected == 1)
    }

    /// As [`Store::held_requests`], seen by this transaction.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn held_requests(&self, owner: &str) -> Result<Vec<Fence>, StoreError> {
        Ok(held(owner).into_tuple().all(self.connection()).await?)
    }

    /// Moves the end of the owner's leases on these requests. The runs that it still holds.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn renew_leases(
        &self,
        requests: &[RequestId],
        lease: &Lease,
    ) -> Result<Vec<Fence>, StoreError> {
        let mut renewed = Vec::with_capacity(requests.len());
        for ids in requests.chunks(MAX_IDS) {
            let rows = Entity::update_many()
                .col_expr(Column::LeaseExpiresAt, Expr::value(lease.expires_at))
                .filter(Column::Id.is_in(ids.iter().copied()))
                .filter(Column::LeaseOwner.eq(&lease.owner))
                .filter(Column::Status.eq(Status::Running))
                .exec_with_returning(self.connection())
                .await?;
            renewed.extend(rows.into_iter().map(|row| (row.id, row.attempt)));
        }
        Ok(renewed)
    }
}

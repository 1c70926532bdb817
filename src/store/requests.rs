//! Rows of `llm_request`: claimed by one conditional UPDATE, changed and ended under the fence of
//! the attempt.

use std::fmt::Write as _;

use entity::llm_request::{CacheUse, Column, Entity, Model, Status};
use entity::{AskedAs, ChatId, MessageId, OwnerId, RequestId, Timestamp, chat};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter,
    QueryOrder, QueryResult, QuerySelect, Select, Statement, Value,
    sea_query::{CaseStatement, Expr, ExprTrait, Query},
};

use super::batches::{Rows, padded};
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
        let mut query = Entity::find().filter(is_running());
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
        Ok(Entity::find_by_id(id).all(self.reader()).await?.pop())
    }

    /// Those of these requests that there are.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn requests(&self, ids: &[RequestId]) -> Result<Vec<Model>, StoreError> {
        let mut found = Vec::with_capacity(ids.len());
        for ids in ids.chunks(MAX_IDS) {
            let query = Entity::find().filter(Column::Id.is_in(padded(ids)));
            found.extend(query.all(self.reader()).await?);
        }
        Ok(found)
    }

    /// The ids of all requests of a chat, in the order in which they were asked for.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn requests_of(&self, chat: ChatId) -> Result<Vec<RequestId>, StoreError> {
        Ok(Entity::find()
            .select_only()
            .column(Column::Id)
            .filter(Column::ChatId.eq(chat))
            .order_by_asc(Column::CreatedAt)
            .order_by_asc(Column::Id)
            .into_tuple()
            .all(self.reader())
            .await?)
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

/// The runs that a statement has returned.
fn fences_of(rows: &[QueryResult]) -> Result<Vec<Fence>, StoreError> {
    let fence = |row: &QueryResult| Ok((row.try_get("", "id")?, row.try_get("", "attempt")?));
    rows.iter().map(fence).collect()
}

/// Whether a request of the chat of a query has begun: one runs while one waits for its next attempt. In
/// words that the partial indexes have, so that the chat's ended requests cost nothing.
pub(super) fn has_begun() -> Expr {
    Expr::cust(
        "(EXISTS (SELECT 1 FROM llm_request r WHERE r.chat_id = chat.id AND r.status = 'running') \
          OR EXISTS (SELECT 1 FROM llm_request r WHERE r.chat_id = chat.id \
            AND r.status = 'queued' AND r.started_at IS NOT NULL))",
    )
}

/// Spelt out: where a partial index is of use or not by a value that is bound, SQLite prepares the statement
/// anew at each run.
fn is_running() -> Expr {
    Expr::cust("status = 'running'")
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
        .filter(is_running())
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
        Ok(Entity::find_by_id(id).all(self.connection()).await?.pop())
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

    /// Takes the oldest queued requests whose chats are free, and turns them `running` under the lease:
    /// at most `limit` of them, and one of each chat, the earliest. Where providers have limits it takes one,
    /// and none that its provider has no room for.
    ///
    /// # Errors
    /// If the database fails; [`StoreError::is_duplicate`] if another node took one of the same chat.
    pub async fn claim_requests(
        &self,
        claim: &Claim,
        limit: usize,
    ) -> Result<Vec<Model>, StoreError> {
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
        // The count of what runs is the one before this statement.
        let most = if limits.is_empty() { limit } else { 1 };
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
        let limit_place = values.len() + 1;
        values.push(i64::try_from(most).unwrap_or(i64::MAX).into());
        // Materialized, or PostgreSQL may look for the next ones once for each row, and take more than the limit.
        let sql = format!(
            "WITH next AS MATERIALIZED (\
               SELECT r.id FROM llm_request r WHERE r.status = 'queued' {has_room} \
               AND NOT EXISTS (SELECT 1 FROM llm_request o \
                 WHERE o.chat_id = r.chat_id AND o.status = 'running') \
               AND NOT EXISTS (SELECT 1 FROM llm_request e \
                 WHERE e.chat_id = r.chat_id AND e.status = 'queued' AND e.sequence < r.sequence) \
               ORDER BY r.created_at, r.id LIMIT ${limit_place} {}) \
             UPDATE llm_request SET status = 'running', lease_owner = $1, lease_expires_at = $2, \
               started_at = $3, deadline_at = COALESCE(deadline_at, $4), \
               provider = COALESCE(provider, $5) \
             WHERE status = 'queued' AND id IN (SELECT id FROM next) \
             RETURNING *",
            self.dialect.skip_locked()
        );
        let backend = self.connection().get_database_backend();
        Ok(Entity::find()
            .from_raw_sql(Statement::from_sql_and_values(backend, sql, values))
            .all(self.connection())
            .await?)
    }

    /// Sets what a program said beside the question.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn set_asked_as(&self, id: RequestId, asked_as: AskedAs) -> Result<(), StoreError> {
        Entity::update_many()
            .col_expr(Column::AskedAs, Expr::value(Some(asked_as)))
            .filter(Column::Id.eq(id))
            .exec(self.connection())
            .await?;
        Ok(())
    }

    /// Whether something in a chat was asked that was not to stay.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn has_passing(&self, chat: ChatId) -> Result<bool, StoreError> {
        let asked: Vec<Option<AskedAs>> = Entity::find()
            .select_only()
            .column(Column::AskedAs)
            .filter(Column::ChatId.eq(chat))
            .filter(Column::AskedAs.is_not_null())
            .into_tuple()
            .all(self.connection())
            .await?;
        let mut asked = asked.into_iter().flatten();
        Ok(asked.any(|asked_as| asked_as.is_passing))
    }

    /// Names the answers that requests write which this transaction has claimed.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn assign_answers(
        &self,
        answers: &[(RequestId, MessageId)],
    ) -> Result<(), StoreError> {
        let mut answer = CaseStatement::new();
        for (request, message) in padded(answers) {
            answer = answer.case(Column::Id.eq(request), message);
        }
        let requests = padded(answers).map(|(request, _)| request);
        let updated = Entity::update_many()
            .col_expr(Column::AssistantMessageId, answer.into())
            .filter(Column::Id.is_in(requests))
            .filter(is_running())
            .exec(self.connection())
            .await?;
        if updated.rows_affected == answers.len() as u64 {
            return Ok(());
        }
        Err(StoreError::Missing {
            what: "claimed request",
        })
    }

    /// Ends those of these requests that are still as they are here: this attempt's, with this status. Which
    /// they were; the others have been fenced: another attempt has taken over, or the request has been ended
    /// or deleted.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn end_requests(
        &self,
        ends: &[(&Model, RequestEnd)],
    ) -> Result<Vec<Fence>, StoreError> {
        let ends: Vec<_> = ends.iter().collect();
        let rows = Rows::of(&ends, |(request, end)| {
            let (code, message) = end.error.clone().unzip();
            [
                request.id.into(),
                request.attempt.into(),
                request.status.into(),
                end.status.into(),
                end.model.clone().into(),
                end.provider.clone().into(),
                end.finish_reason.clone().into(),
                end.input_tokens.into(),
                end.output_tokens.into(),
                code.into(),
                message.into(),
                end.first_token_at.into(),
                end.now.into(),
            ]
        });
        let update = rows.update(
            self,
            "llm_request",
            "status = v.column4, model = v.column5, provider = v.column6, finish_reason = v.column7, \
             input_tokens = v.column8, output_tokens = v.column9, error_code = v.column10, \
             error_message = v.column11, first_token_at = v.column12, finished_at = v.column13, \
             lease_owner = NULL, lease_expires_at = NULL",
            "llm_request.id = v.column1 AND llm_request.attempt = v.column2 \
             AND llm_request.status = v.column3 RETURNING id, attempt",
        );
        fences_of(&self.connection().query_all_raw(update).await?)
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
            let update = Query::update()
                .table(Entity)
                .value(Column::LeaseExpiresAt, lease.expires_at)
                .and_where(Column::Id.is_in(padded(ids)))
                .and_where(Column::LeaseOwner.eq(&lease.owner))
                .and_where(is_running())
                .returning(Query::returning().columns([Column::Id, Column::Attempt]))
                .to_owned();
            renewed.extend(fences_of(&self.connection().query_all(&update).await?)?);
        }
        Ok(renewed)
    }
}

//! All that there is of one user, to be handed over to them or to be erased.

use entity::user::{Column, Entity, Model};
use entity::{
    AskedAs, ChatId, MessageId, OwnerId, RequestId, Timestamp, api_token, audit_log, chat,
    idempotency_key, llm_attempt, llm_request, message_version, session, share,
};
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect,
    QueryTrait,
};

use super::{Actor, Store, StoreError, Tx};

/// Entries of the record that are handed over, the newest first.
const LOG_ENTRIES: u64 = 1_000;
/// Rows of the usage ledger that go in one transaction.
const BATCH: u64 = 1_000;

/// What is known of a user, but for what was said and what was used.
#[derive(Clone, Debug)]
pub struct Account {
    pub user: Model,
    pub tokens: Vec<api_token::Model>,
    pub sessions: Vec<session::Model>,
    pub shares: Vec<share::Model>,
    /// What they did to rights, and what was done to theirs.
    pub log: Vec<audit_log::Model>,
}

/// What a program said beside a question.
#[derive(Clone, Debug, FromQueryResult)]
pub struct Beside {
    /// The request's.
    pub id: RequestId,
    pub user_message_id: MessageId,
    pub instructions: Option<String>,
    pub asked_as: Option<AskedAs>,
}

impl Store {
    /// All that is known of the user, if there is one.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn account(&self, owner: OwnerId) -> Result<Option<Account>, StoreError> {
        let Some(user) = self.user(owner).await? else {
            return Ok(None);
        };
        let tokens = api_token::Entity::find()
            .filter(api_token::Column::UserId.eq(owner))
            .order_by_asc(api_token::Column::CreatedAt)
            .all(self.reader())
            .await?;
        let sessions = session::Entity::find()
            .filter(session::Column::UserId.eq(owner))
            .order_by_asc(session::Column::CreatedAt)
            .all(self.reader())
            .await?;
        let chats = Query::select()
            .column(chat::Column::Id)
            .from(chat::Entity)
            .and_where(chat::Column::OwnerId.eq(owner))
            .and_where(chat::Column::DeletedAt.is_null())
            .to_owned();
        let shares = share::Entity::find()
            .filter(share::Column::ChatId.in_subquery(chats))
            .order_by_asc(share::Column::CreatedAt)
            .all(self.reader())
            .await?;
        let is_theirs = Condition::any()
            .add(audit_log::Column::ActorId.eq(owner))
            .add(audit_log::Column::Target.eq(owner.to_string()));
        let log = audit_log::Entity::find()
            .filter(is_theirs)
            .order_by_desc(audit_log::Column::Id)
            .limit(LOG_ENTRIES)
            .all(self.reader())
            .await?;
        Ok(Some(Account {
            user,
            tokens,
            sessions,
            shares,
            log,
        }))
    }

    /// The ids of the owner's chats, the oldest first, deleted ones left out.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn chat_ids(&self, owner: OwnerId) -> Result<Vec<ChatId>, StoreError> {
        Ok(chat::Entity::find()
            .select_only()
            .column(chat::Column::Id)
            .filter(chat::Column::OwnerId.eq(owner))
            .filter(chat::Column::DeletedAt.is_null())
            .order_by_asc(chat::Column::CreatedAt)
            .order_by_asc(chat::Column::Id)
            .into_tuple()
            .all(self.reader())
            .await?)
    }

    /// The texts that the chat's messages had before, in the order of their numbers.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn versions_in(
        &self,
        chat: ChatId,
    ) -> Result<Vec<message_version::Model>, StoreError> {
        Ok(message_version::Entity::find()
            .filter(message_version::Column::ChatId.eq(chat))
            .order_by_asc(message_version::Column::Number)
            .all(self.reader())
            .await?)
    }

    /// What programs said beside the questions in a chat, in the order of those.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn said_beside(&self, chat: ChatId) -> Result<Vec<Beside>, StoreError> {
        use llm_request::Column;
        let said = Column::Instructions
            .is_not_null()
            .or(Column::AskedAs.is_not_null());
        Ok(llm_request::Entity::find()
            .select_only()
            .columns([Column::Id, Column::UserMessageId])
            .columns([Column::Instructions, Column::AskedAs])
            .filter(Column::ChatId.eq(chat))
            .filter(said)
            .order_by_asc(Column::Sequence)
            .into_model()
            .all(self.reader())
            .await?)
    }

    /// Up to `limit` rows of the owner's usage ledger by their keys, after this one.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn attempts_after(
        &self,
        owner: OwnerId,
        after: Option<(RequestId, i64)>,
        limit: u64,
    ) -> Result<Vec<llm_attempt::Model>, StoreError> {
        use llm_attempt::Column;
        let mut query = llm_attempt::Entity::find().filter(Column::OwnerId.eq(owner));
        if let Some((request, attempt)) = after {
            let later = Column::RequestId
                .eq(request)
                .and(Column::Attempt.gt(attempt));
            query = query.filter(
                Condition::any()
                    .add(Column::RequestId.gt(request))
                    .add(later),
            );
        }
        Ok(query
            .order_by_asc(Column::RequestId)
            .order_by_asc(Column::Attempt)
            .limit(limit)
            .all(self.reader())
            .await?)
    }

    /// Marks the user as to be erased with all that is theirs, and notes who wants it. They may not come in any
    /// more, but for the local one, whom nobody could keep out. None: there is no such user; false: it was
    /// marked.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn condemn(
        &self,
        owner: OwnerId,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Option<bool>, StoreError> {
        self.tx(|tx| async move {
            let is_new = tx.condemn_user(owner, now).await?;
            if is_new == Some(true) {
                tx.audit(actor, "user.delete", owner, now).await?;
            }
            Ok(is_new)
        })
        .await
    }

    /// Up to `limit` users that are to be erased with all that is theirs.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn users_to_forget(&self, limit: u64) -> Result<Vec<OwnerId>, StoreError> {
        Ok(Entity::find()
            .select_only()
            .column(Column::Id)
            .filter(Column::DeletedAt.is_not_null())
            .order_by_asc(Column::DeletedAt)
            .limit(limit)
            .into_tuple()
            .all(self.reader())
            .await?)
    }

    /// Up to `limit` of the owner's chats that are not on their way out for good, deleted ones included.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn chats_to_condemn(
        &self,
        owner: OwnerId,
        limit: u64,
    ) -> Result<Vec<chat::Model>, StoreError> {
        Ok(chat::Entity::find()
            .filter(chat::Column::OwnerId.eq(owner))
            .filter(
                Condition::any()
                    .add(chat::Column::DeletedAt.is_null())
                    .add(chat::Column::DeletedAt.gt(super::deletion::FOR_GOOD)),
            )
            .limit(limit)
            .all(self.reader())
            .await?)
    }

    /// Up to `limit` of the owner's chats, whatever has become of them.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn chats_left(&self, owner: OwnerId, limit: u64) -> Result<Vec<ChatId>, StoreError> {
        Ok(chat::Entity::find()
            .select_only()
            .column(chat::Column::Id)
            .filter(chat::Column::OwnerId.eq(owner))
            .limit(limit)
            .into_tuple()
            .all(self.reader())
            .await?)
    }
}

impl Tx {
    async fn condemn_user(
        &self,
        owner: OwnerId,
        now: Timestamp,
    ) -> Result<Option<bool>, StoreError> {
        let row = Entity::find_by_id(owner)
            .lock_exclusive()
            .one(self.connection())
            .await?;
        let Some(row) = row else { return Ok(None) };
        if row.deleted_at.is_some() {
            return Ok(Some(false));
        }
        let mut update = Entity::update_many()
            .col_expr(Column::DeletedAt, Expr::value(now))
            .filter(Column::Id.eq(owner));
        if owner != OwnerId::LOCAL && row.disabled_at.is_none() {
            update = update.col_expr(Column::DisabledAt, Expr::value(now));
        }
        update.exec(self.connection()).await?;
        Ok(Some(true))
    }

    /// Whether the user is there and not to be erased, which stays so until this transaction ends.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn hold_user(&self, owner: OwnerId) -> Result<bool, StoreError> {
        let row: Option<OwnerId> = Entity::find_by_id(owner)
            .select_only()
            .column(Column::Id)
            .filter(Column::DeletedAt.is_null())
            .lock_shared()
            .into_tuple()
            .one(self.connection())
            .await?;
        Ok(row.is_some())
    }

    /// Erases some of what the user used, and all of their keys and tokens; ends their sessions. Whether
    /// there may be more.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn erase_rows_of(&self, owner: OwnerId, now: Timestamp) -> Result<bool, StoreError> {
        let is_used_up = self.erase_usage_of(owner).await?;
        self.discard_archives_of(owner).await?;
        idempotency_key::Entity::delete_many()
            .filter(idempotency_key::Column::OwnerId.eq(owner))
            .exec(self.connection())
            .await?;
        api_token::Entity::delete_many()
            .filter(api_token::Column::UserId.eq(owner))
            .exec(self.connection())
            .await?;
        // What the browser was is nobody's business any more; that its session has ended is.
        session::Entity::update_many()
            .col_expr(session::Column::Browser, Expr::value(""))
            .col_expr(
                session::Column::EndedAt,
                Expr::col(session::Column::EndedAt).if_null(now),
            )
            .filter(session::Column::UserId.eq(owner))
            .exec(self.connection())
            .await?;
        Ok(!is_used_up)
    }

    /// Erases some of what the user used. Whether that was the last of it.
    async fn erase_usage_of(&self, owner: OwnerId) -> Result<bool, StoreError> {
        let requests = llm_attempt::Entity::find()
            .select_only()
            .column(llm_attempt::Column::RequestId)
            .filter(llm_attempt::Column::OwnerId.eq(owner))
            .limit(BATCH)
            .into_query();
        let erased = llm_attempt::Entity::delete_many()
            .filter(llm_attempt::Column::OwnerId.eq(owner))
            .filter(llm_attempt::Column::RequestId.in_subquery(requests))
            .exec(self.connection())
            .await?;
        Ok(erased.rows_affected < BATCH)
    }

    /// Erases the user, of whom nothing else is left; of the local one the mark goes and the row stays.
    /// Whether it was done: not if there still is a chat of theirs.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn erase_user(&self, owner: OwnerId) -> Result<bool, StoreError> {
        let row = Entity::find_by_id(owner)
            .filter(Column::DeletedAt.is_not_null())
            .lock_exclusive()
            .one(self.connection())
            .await?;
        if row.is_none() {
            return Ok(true);
        }
        let chat: Option<ChatId> = chat::Entity::find()
            .select_only()
            .column(chat::Column::Id)
            .filter(chat::Column::OwnerId.eq(owner))
            .into_tuple()
            .one(self.connection())
            .await?;
        if chat.is_some() {
            return Ok(false);
        }
        if owner == OwnerId::LOCAL {
            Entity::update_many()
                .col_expr(Column::DeletedAt, Expr::value(Option::<Timestamp>::None))
                .col_expr(Column::Name, Expr::value(""))
                .filter(Column::Id.eq(owner))
                .exec(self.connection())
                .await?;
        } else {
            Entity::delete_by_id(owner).exec(self.connection()).await?;
        }
        Ok(true)
    }
}

//! Chats that were deleted: marked first, so that they can be brought back, and erased later. What
//! is marked is found by no other query of a chat.

use entity::chat::{Column, Entity, Model};
use entity::{
    ChatId, MessageId, OwnerId, Timestamp, chat_message, llm_request, message_version, token_ledger,
};
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::{Store, StoreError, Tx};

/// When a chat was deleted that nobody may bring back: before any time.
pub(super) const FOR_GOOD: Timestamp = Timestamp(i64::MIN);
/// Messages that are erased in one transaction.
const PIECE: u64 = 500;

/// What the erasing of a piece of a chat came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Erased {
    /// There was no such chat to erase.
    Nothing,
    /// There is more of it.
    Piece,
    /// It is gone.
    All,
}

impl Store {
    /// Up to `limit` chats that were deleted at `before` or earlier, the first one first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn chats_to_erase(
        &self,
        before: Timestamp,
        limit: u64,
    ) -> Result<Vec<ChatId>, StoreError> {
        Ok(Entity::find()
            .select_only()
            .column(Column::Id)
            .filter(Column::DeletedAt.lte(before))
            .order_by_asc(Column::DeletedAt)
            .limit(limit)
            .into_tuple()
            .all(self.reader())
            .await?)
    }

    /// The title of a chat of the owner's that was deleted after `since`.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn deleted_title(
        &self,
        owner: OwnerId,
        id: ChatId,
        since: Timestamp,
    ) -> Result<Option<String>, StoreError> {
        Ok(Entity::find_by_id(id)
            .select_only()
            .column(Column::Title)
            .filter(Column::OwnerId.eq(owner))
            .filter(Column::DeletedAt.gt(since))
            .into_tuple()
            .one(self.reader())
            .await?)
    }
}

impl Tx {
    /// Marks the chat as deleted. Its place in the list stays what it was. Whether it was there.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn mark_deleted(&self, id: ChatId, now: Timestamp) -> Result<bool, StoreError> {
        self.touch(id);
        let updated = Entity::update_many()
            .col_expr(Column::DeletedAt, Expr::value(now))
            .col_expr(Column::Revision, Expr::col(Column::Revision).add(1))
            .filter(Column::Id.eq(id))
            .filter(Column::DeletedAt.is_null())
            .exec(self.connection())
            .await?;
        Ok(updated.rows_affected == 1)
    }

    /// Brings back a chat of the owner's that was deleted after `since`, as it was. None if there is
    /// no such chat.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn restore_chat(
        &self,
        owner: OwnerId,
        id: ChatId,
        since: Timestamp,
    ) -> Result<Option<Model>, StoreError> {
        self.touch(id);
        let rows = Entity::update_many()
            .col_expr(Column::DeletedAt, Expr::value(Option::<Timestamp>::None))
            .col_expr(Column::Revision, Expr::col(Column::Revision).add(1))
            .filter(Column::Id.eq(id))
            .filter(Column::OwnerId.eq(owner))
            .filter(Column::DeletedAt.gt(since))
            .exec_with_returning(self.connection())
            .await?;
        Ok(rows.into_iter().next())
    }

    /// Erases a chat of the owner's that was deleted, so that its id is free again. Whether there was
    /// one.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn erase_deleted_chat(&self, owner: OwnerId, id: ChatId) -> Result<bool, StoreError> {
        let found = Entity::find_by_id(id)
            .filter(Column::OwnerId.eq(owner))
            .filter(Column::DeletedAt.is_not_null())
            .lock_exclusive()
            .one(self.connection())
            .await?;
        match found {
            Some(chat) => self.erase_chat(chat.id).await,
            None => Ok(false),
        }
    }

    /// Marks the chat, deleted before or not, as one that nobody can bring back. Whether it was there.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn condemn_chat(&self, id: ChatId) -> Result<bool, StoreError> {
        self.touch(id);
        let updated = Entity::update_many()
            .col_expr(Column::DeletedAt, Expr::value(FOR_GOOD))
            .filter(Column::Id.eq(id))
            .exec(self.connection())
            .await?;
        Ok(updated.rows_affected == 1)
    }

    /// Erases a piece of the chat if it was deleted at `before` or earlier, and has not been brought
    /// back; from then on it cannot be. What the erasing came to.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn erase_piece(&self, id: ChatId, before: Timestamp) -> Result<Erased, StoreError> {
        self.touch(id);
        let condemned = Entity::update_many()
            .col_expr(Column::DeletedAt, Expr::value(FOR_GOOD))
            .filter(Column::Id.eq(id))
            .filter(Column::DeletedAt.lte(before))
            .exec(self.connection())
            .await?;
        if condemned.rows_affected == 0 {
            return Ok(Erased::Nothing);
        }
        if self.erase_messages(id).await? {
            return Ok(Erased::Piece);
        }
        self.erase_chat(id).await?;
        Ok(Erased::All)
    }

    /// Erases some of the chat's messages with their versions. Whether there may be more.
    async fn erase_messages(&self, id: ChatId) -> Result<bool, StoreError> {
        let messages: Vec<MessageId> = chat_message::Entity::find()
            .select_only()
            .column(chat_message::Column::Id)
            .filter(chat_message::Column::ChatId.eq(id))
            .limit(PIECE)
            .into_tuple()
            .all(self.connection())
            .await?;
        let is_full = messages.len() as u64 == PIECE;
        message_version::Entity::delete_many()
            .filter(message_version::Column::MessageId.is_in(messages.iter().copied()))
            .exec(self.connection())
            .await?;
        chat_message::Entity::delete_many()
            .filter(chat_message::Column::Id.is_in(messages))
            .exec(self.connection())
            .await?;
        Ok(is_full)
    }

    /// Erases the chat with its messages and requests, and what the ledger has of them. Whether it
    /// was there.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn erase_chat(&self, id: ChatId) -> Result<bool, StoreError> {
        self.touch(id);
        let requests = Query::select()
            .column(llm_request::Column::Id)
            .from(llm_request::Entity)
            .and_where(llm_request::Column::ChatId.eq(id))
            .to_owned();
        token_ledger::Entity::delete_many()
            .filter(token_ledger::Column::RequestId.in_subquery(requests))
            .exec(self.connection())
            .await?;
        // The requests before the chat, as a claim and a finish lock them.
        llm_request::Entity::delete_many()
            .filter(llm_request::Column::ChatId.eq(id))
            .exec(self.connection())
            .await?;
        let erased = Entity::delete_by_id(id).exec(self.connection()).await?;
        Ok(erased.rows_affected == 1)
    }
}

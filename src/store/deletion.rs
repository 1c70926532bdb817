//! Chats that were deleted: marked first, so that they can be brought back, and erased later. What
//! is marked is found by no other query of a chat.

use entity::chat::{Column, Entity, Model};
use entity::{ChatId, OwnerId, Timestamp, llm_request};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::{Store, StoreError, Tx};

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

    /// Erases the chat if it was deleted at `before` or earlier, and has not been brought back.
    /// Whether it was.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn erase_expired_chat(
        &self,
        id: ChatId,
        before: Timestamp,
    ) -> Result<bool, StoreError> {
        let found = Entity::find_by_id(id)
            .filter(Column::DeletedAt.lte(before))
            .lock_exclusive()
            .one(self.connection())
            .await?;
        match found {
            Some(chat) => self.erase_chat(chat.id).await,
            None => Ok(false),
        }
    }

    /// Erases the chat with its messages and requests. Whether it was there.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn erase_chat(&self, id: ChatId) -> Result<bool, StoreError> {
        // The requests before the chat, as a claim and a finish lock them.
        llm_request::Entity::delete_many()
            .filter(llm_request::Column::ChatId.eq(id))
            .exec(self.connection())
            .await?;
        let erased = Entity::delete_by_id(id).exec(self.connection()).await?;
        Ok(erased.rows_affected == 1)
    }
}

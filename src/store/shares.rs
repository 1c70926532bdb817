//! Rows of `share`: links to chats. They are found by the digest of their secret.

use entity::share::{Column, Entity, Model};
use entity::{ChatId, OwnerId, ShareId, Timestamp, chat, user};
use sea_orm::sea_query::{Condition, Expr, ExprTrait, Query, SelectStatement};
use sea_orm::{
    ColumnTrait, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
};

use super::{Store, StoreError, Tx};

impl Store {
    /// The chat that the link with this digest leads to at this time, unless the chat was deleted or its owner
    /// may not come in.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn shared_chat(
        &self,
        hash: &str,
        now: Timestamp,
    ) -> Result<Option<chat::Model>, StoreError> {
        let link = Query::select()
            .column(Column::ChatId)
            .from(Entity)
            .and_where(Column::Hash.eq(hash))
            .cond_where(works_at(now))
            .to_owned();
        let shut_out = Query::select()
            .column(user::Column::Id)
            .from(user::Entity)
            .and_where(user::Column::DisabledAt.is_not_null())
            .and_where(
                Expr::col((user::Entity, user::Column::Id))
                    .equals((chat::Entity, chat::Column::OwnerId)),
            )
            .to_owned();
        Ok(chat::Entity::find()
            .filter(chat::Column::Id.in_subquery(link))
            .filter(chat::Column::DeletedAt.is_null())
            .filter(Expr::exists(shut_out).not())
            .one(self.reader())
            .await?)
    }

    /// Up to `limit` of the chat's links: those that work come first, and of each kind the newest.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn shares_of(
        &self,
        chat: ChatId,
        now: Timestamp,
        limit: u64,
    ) -> Result<Vec<Model>, StoreError> {
        let works = Expr::case(works_at(now), 0).finally(1);
        Ok(Entity::find()
            .filter(Column::ChatId.eq(chat))
            .order_by_asc(Expr::Case(Box::new(works)))
            .order_by_desc(Column::CreatedAt)
            .order_by_desc(Column::Id)
            .limit(limit)
            .all(self.reader())
            .await?)
    }

    /// The link, if it is to a chat of the owner's that is there.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn share(&self, owner: OwnerId, id: ShareId) -> Result<Option<Model>, StoreError> {
        Ok(Entity::find_by_id(id)
            .filter(Column::ChatId.in_subquery(chats_of(owner)))
            .one(self.reader())
            .await?)
    }
}

impl Tx {
    /// How many of the chat's links work at this time.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn count_shares(&self, chat: ChatId, now: Timestamp) -> Result<u64, StoreError> {
        Ok(Entity::find()
            .filter(Column::ChatId.eq(chat))
            .filter(works_at(now))
            .count(self.connection())
            .await?)
    }

    /// Inserts a link.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn insert_share(&self, share: Model) -> Result<(), StoreError> {
        Entity::insert(share.into_active_model())
            .exec_without_returning(self.connection())
            .await?;
        Ok(())
    }

    /// Notes that the link is to work no more. Whether that is news.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn revoke_share(&self, id: ShareId, now: Timestamp) -> Result<bool, StoreError> {
        let updated = Entity::update_many()
            .col_expr(Column::RevokedAt, Expr::value(now))
            .filter(Column::Id.eq(id))
            .filter(Column::RevokedAt.is_null())
            .exec(self.connection())
            .await?;
        Ok(updated.rows_affected == 1)
    }
}

/// Neither revoked nor expired.
fn works_at(now: Timestamp) -> Condition {
    let lasts = Condition::any()
        .add(Column::ExpiresAt.is_null())
        .add(Column::ExpiresAt.gt(now));
    Condition::all().add(Column::RevokedAt.is_null()).add(lasts)
}

fn chats_of(owner: OwnerId) -> SelectStatement {
    Query::select()
        .column(chat::Column::Id)
        .from(chat::Entity)
        .and_where(chat::Column::OwnerId.eq(owner))
        .and_where(chat::Column::DeletedAt.is_null())
        .to_owned()
}

//! Rows of `session`.

use entity::session::{Column, Entity, Model};
use entity::{OwnerId, SessionId, Timestamp, TokenId};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect};

use super::{Store, StoreError, Tx};

/// Sessions of one user in a list.
const LISTED: u64 = 200;

/// Which sessions of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sessions {
    One(SessionId),
    All,
}

impl Store {
    /// The session of this id, whether or not it has ended.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn session(&self, id: SessionId) -> Result<Option<Model>, StoreError> {
        Ok(Entity::find_by_id(id).all(self.reader()).await?.pop())
    }

    /// The user's sessions that were not ended and were used after `seen_after`, the last one first; of very many
    /// those that were used last.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn sessions_of(
        &self,
        user: OwnerId,
        seen_after: Timestamp,
    ) -> Result<Vec<Model>, StoreError> {
        Ok(Entity::find()
            .filter(Column::UserId.eq(user))
            .filter(Column::EndedAt.is_null())
            .filter(Column::SeenAt.gt(seen_after))
            .order_by_desc(Column::SeenAt)
            .limit(LISTED)
            .all(self.reader())
            .await?)
    }
}

impl Tx {
    /// Inserts a session unless it is there already.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn insert_session(&self, session: Model) -> Result<(), StoreError> {
        Entity::insert(session.into_active_model())
            .on_conflict(OnConflict::column(Column::Id).do_nothing().to_owned())
            .exec_without_returning(self.connection())
            .await?;
        Ok(())
    }

    /// Notes that a session was used.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn see_session(&self, id: SessionId, now: Timestamp) -> Result<(), StoreError> {
        Entity::update_many()
            .col_expr(Column::SeenAt, Expr::value(now))
            .filter(Column::Id.eq(id))
            .exec(self.connection())
            .await?;
        Ok(())
    }

    /// Ends sessions of the user. How many there were to end.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn end_sessions(
        &self,
        user: OwnerId,
        which: Sessions,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let mut update = Entity::update_many()
            .col_expr(Column::EndedAt, Expr::value(now))
            .filter(Column::UserId.eq(user))
            .filter(Column::EndedAt.is_null());
        update = match which {
            Sessions::One(id) => update.filter(Column::Id.eq(id)),
            Sessions::All => update,
        };
        Ok(update.exec(self.connection()).await?.rows_affected)
    }

    /// Ends all sessions that were begun with a token.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn end_sessions_of_token(
        &self,
        token: TokenId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        Entity::update_many()
            .col_expr(Column::EndedAt, Expr::value(now))
            .filter(Column::TokenId.eq(token))
            .filter(Column::EndedAt.is_null())
            .exec(self.connection())
            .await?;
        Ok(())
    }
}

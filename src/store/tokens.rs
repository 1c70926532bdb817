//! Rows of `api_token`.

use entity::api_token::{Column, Entity, Model};
use entity::{OwnerId, Timestamp, TokenId, user};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder};

use super::{Store, StoreError, Tx};

impl Store {
    /// The token of this digest, and its user.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn token(&self, hash: &str) -> Result<Option<(Model, user::Model)>, StoreError> {
        let token = Entity::find()
            .filter(Column::Hash.eq(hash))
            .one(self.reader())
            .await?;
        let Some(token) = token else {
            return Ok(None);
        };
        let user = self.user(token.user_id).await?;
        Ok(user.map(|user| (token, user)))
    }

    /// The user's tokens, the newest first, those among them that are of no use any more.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn tokens_of(&self, user: OwnerId) -> Result<Vec<Model>, StoreError> {
        Ok(Entity::find()
            .filter(Column::UserId.eq(user))
            .order_by_desc(Column::CreatedAt)
            .order_by_desc(Column::Id)
            .all(self.reader())
            .await?)
    }

    /// Everybody's tokens, the newest first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn all_tokens(&self) -> Result<Vec<Model>, StoreError> {
        Ok(Entity::find()
            .order_by_desc(Column::CreatedAt)
            .all(self.reader())
            .await?)
    }
}

impl Tx {
    /// Inserts a token.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn insert_token(&self, token: Model) -> Result<(), StoreError> {
        Entity::insert(token.into_active_model())
            .exec_without_returning(self.connection())
            .await?;
        Ok(())
    }

    /// Revokes a token of the user's, or of anybody's. Whether there is one that was not revoked yet.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn revoke_token(
        &self,
        user: Option<OwnerId>,
        id: TokenId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut update = Entity::update_many()
            .col_expr(Column::RevokedAt, Expr::value(now))
            .filter(Column::Id.eq(id))
            .filter(Column::RevokedAt.is_null());
        if let Some(user) = user {
            update = update.filter(Column::UserId.eq(user));
        }
        Ok(update.exec(self.connection()).await?.rows_affected == 1)
    }

    /// Revokes the tokens that were made with this one. Which they were.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn revoke_tokens_made_with(
        &self,
        token: TokenId,
        now: Timestamp,
    ) -> Result<Vec<TokenId>, StoreError> {
        let revoked = Entity::update_many()
            .col_expr(Column::RevokedAt, Expr::value(now))
            .filter(Column::MadeWith.eq(token))
            .filter(Column::RevokedAt.is_null())
            .exec_with_returning(self.connection())
            .await?;
        Ok(revoked.into_iter().map(|token| token.id).collect())
    }

    /// Notes that a token was used.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn use_token(&self, id: TokenId, now: Timestamp) -> Result<(), StoreError> {
        Entity::update_many()
            .col_expr(Column::UsedAt, Expr::value(now))
            .filter(Column::Id.eq(id))
            .exec(self.connection())
            .await?;
        Ok(())
    }
}

//! Rows of `api_token`.

use entity::api_token::{Column, Entity, Model};
use entity::{OwnerId, Timestamp, TokenId, user};
use sea_orm::sea_query::{Condition, Expr};
use sea_orm::{
    ColumnTrait, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
};

use super::{Store, StoreError, Tx};

/// Tokens of one user in a list.
const LISTED: u64 = 500;

impl Store {
    /// The token of this digest, and its user.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn token(&self, hash: &str) -> Result<Option<(Model, user::Model)>, StoreError> {
        let token = Entity::find()
            .filter(Column::Hash.eq(hash))
            .all(self.reader())
            .await?
            .pop();
        let Some(token) = token else {
            return Ok(None);
        };
        let user = self.user(token.user_id).await?;
        Ok(user.map(|user| (token, user)))
    }

    /// The token of this id, whether or not it is of use.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn token_by_id(&self, id: TokenId) -> Result<Option<Model>, StoreError> {
        Ok(Entity::find_by_id(id).all(self.reader()).await?.pop())
    }

    /// The user's tokens: those that were not revoked come first, and of each kind the newest. Of those that
    /// are of no use any more, the oldest are left out.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn tokens_of(&self, user: OwnerId) -> Result<Vec<Model>, StoreError> {
        let is_revoked = Expr::case(Column::RevokedAt.is_null(), 0).finally(1);
        Ok(Entity::find()
            .filter(Column::UserId.eq(user))
            .order_by_asc(Expr::Case(Box::new(is_revoked)))
            .order_by_desc(Column::CreatedAt)
            .order_by_desc(Column::Id)
            .limit(LISTED)
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
    /// How many of the user's tokens let somebody in at this time.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn count_tokens(&self, user: OwnerId, now: Timestamp) -> Result<u64, StoreError> {
        let lasts = Condition::any()
            .add(Column::ExpiresAt.is_null())
            .add(Column::ExpiresAt.gt(now));
        Ok(Entity::find()
            .filter(Column::UserId.eq(user))
            .filter(Column::RevokedAt.is_null())
            .filter(lasts)
            .count(self.connection())
            .await?)
    }

    /// Whether the user may come in, and the token that they came with was not revoked; both stay as they are
    /// until this transaction ends.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn may_make_tokens(
        &self,
        user: OwnerId,
        with: Option<TokenId>,
    ) -> Result<bool, StoreError> {
        let user = user::Entity::find_by_id(user)
            .lock_exclusive()
            .one(self.connection())
            .await?;
        if !user.is_some_and(|user| user.disabled_at.is_none() && user.deleted_at.is_none()) {
            return Ok(false);
        }
        let Some(with) = with else { return Ok(true) };
        let token = Entity::find_by_id(with)
            .lock_exclusive()
            .one(self.connection())
            .await?;
        Ok(token.is_some_and(|token| token.revoked_at.is_none()))
    }

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

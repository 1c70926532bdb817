//! Rows of `idempotency_key`: stored in the same transaction as the effect that they stand for.

use entity::idempotency_key::{Column, Entity, Model};
use entity::{ChatId, OwnerId, Timestamp};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, IntoActiveModel, QueryFilter,
    sea_query::{Expr, OnConflict},
};

use super::{StoreError, Tx};

/// Which request a key belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyScope {
    pub owner: OwnerId,
    /// Method and path.
    pub route: String,
    pub key: String,
}

impl Tx {
    /// Takes the key for this transaction. None if it is free, or else what it already stands
    /// for. On PostgreSQL this waits for another transaction that is about to take the same key.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn take_key(
        &self,
        scope: &KeyScope,
        body_hash: &str,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Option<Model>, StoreError> {
        Entity::delete_many()
            .filter(is(scope))
            .filter(Column::ExpiresAt.lte(now))
            .exec(self.connection())
            .await?;
        let row = Model {
            owner_id: scope.owner,
            route: scope.route.clone(),
            key: scope.key.clone(),
            body_hash: body_hash.to_owned(),
            answer: String::new(),
            expires_at,
        };
        let is_there = OnConflict::columns([Column::OwnerId, Column::Route, Column::Key])
            .do_nothing()
            .to_owned();
        let inserted = Entity::insert(row.into_active_model())
            .on_conflict(is_there)
            .exec_without_returning(self.connection())
            .await?;
        if inserted == 1 {
            return Ok(None);
        }
        let taken = Entity::find()
            .filter(is(scope))
            .one(self.connection())
            .await?;
        // The one who had it may have given it up in the meantime: then this is a race, and is run again.
        taken.map(Some).ok_or(StoreError::Raced)
    }

    /// Stores what the effect was.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn answer_key(&self, scope: &KeyScope, answer: String) -> Result<(), StoreError> {
        Entity::update_many()
            .col_expr(Column::Answer, Expr::value(answer))
            .filter(is(scope))
            .exec(self.connection())
            .await?;
        Ok(())
    }

    /// Forgets the owner's keys whose answers tell of this chat.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn forget_keys(&self, owner: OwnerId, chat: ChatId) -> Result<(), StoreError> {
        Entity::delete_many()
            .filter(Column::OwnerId.eq(owner))
            .filter(Column::Answer.contains(chat.to_string()))
            .exec(self.connection())
            .await?;
        Ok(())
    }

    /// Forgets keys that have expired. How many there were.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn purge_keys(&self, now: Timestamp) -> Result<u64, StoreError> {
        let purged = Entity::delete_many()
            .filter(Column::ExpiresAt.lte(now))
            .exec(self.connection())
            .await?;
        Ok(purged.rows_affected)
    }
}

fn is(scope: &KeyScope) -> Condition {
    Condition::all()
        .add(Column::OwnerId.eq(scope.owner))
        .add(Column::Route.eq(&scope.route))
        .add(Column::Key.eq(&scope.key))
}

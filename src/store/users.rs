//! Rows of `user`.

use entity::user::{Column, Entity, Model};
use entity::{OwnerId, Timestamp};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect};

use super::{Store, StoreError, Tx};

/// What of a user is set anew; none leaves it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserChange {
    pub name: Option<String>,
    pub tier: Option<Option<String>>,
    pub is_admin: Option<bool>,
    pub disabled_at: Option<Option<Timestamp>>,
    pub seen_at: Option<Timestamp>,
}

impl Store {
    /// The user of this id.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn user(&self, id: OwnerId) -> Result<Option<Model>, StoreError> {
        Ok(Entity::find_by_id(id).all(self.reader()).await?.pop())
    }

    /// The user whom an issuer calls this.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn user_of(&self, issuer: &str, subject: &str) -> Result<Option<Model>, StoreError> {
        Ok(Entity::find()
            .filter(Column::Issuer.eq(issuer))
            .filter(Column::Subject.eq(subject))
            .one(self.reader())
            .await?)
    }

    /// Those whom some issuer, but `except` this one, calls this, and who are not to be erased.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn users_called(
        &self,
        subject: &str,
        except: &str,
    ) -> Result<Vec<Model>, StoreError> {
        Ok(Entity::find()
            .filter(Column::Subject.eq(subject))
            .filter(Column::Issuer.ne(except))
            .filter(Column::DeletedAt.is_null())
            .all(self.reader())
            .await?)
    }

    /// Up to `limit` users that are not to be erased, by their ids, after this one.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn user_page(
        &self,
        after: Option<OwnerId>,
        limit: u64,
    ) -> Result<Vec<Model>, StoreError> {
        let mut query = Entity::find().filter(Column::DeletedAt.is_null());
        if let Some(after) = after {
            query = query.filter(Column::Id.gt(after));
        }
        Ok(query
            .order_by_asc(Column::Id)
            .limit(limit)
            .all(self.reader())
            .await?)
    }
}

impl Tx {
    /// Inserts the user unless the issuer has one of this name already. Whether it was inserted.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn insert_user(&self, user: Model) -> Result<bool, StoreError> {
        let inserted = Entity::insert(user.into_active_model())
            .on_conflict(OnConflict::new().do_nothing().to_owned())
            .exec_without_returning(self.connection())
            .await?;
        Ok(inserted == 1)
    }

    /// Lets nobody else pass who locks the user, until this transaction ends.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn lock_user(&self, id: OwnerId) -> Result<(), StoreError> {
        Entity::find_by_id(id)
            .lock_exclusive()
            .one(self.connection())
            .await?;
        Ok(())
    }

    /// Sets what the change names. Whether there is such a user, who is not to be erased.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn change_user(&self, id: OwnerId, change: UserChange) -> Result<bool, StoreError> {
        let mut update = Entity::update_many()
            .filter(Column::Id.eq(id))
            .filter(Column::DeletedAt.is_null());
        if change == UserChange::default() {
            let found = Entity::find_by_id(id).one(self.connection()).await?;
            return Ok(found.is_some());
        }
        if let Some(name) = change.name {
            update = update.col_expr(Column::Name, Expr::value(name));
        }
        if let Some(tier) = change.tier {
            update = update.col_expr(Column::Tier, Expr::value(tier));
        }
        if let Some(is_admin) = change.is_admin {
            update = update.col_expr(Column::IsAdmin, Expr::value(is_admin));
        }
        if let Some(disabled) = change.disabled_at {
            update = update.col_expr(Column::DisabledAt, Expr::value(disabled));
        }
        if let Some(seen) = change.seen_at {
            update = update.col_expr(Column::SeenAt, Expr::value(seen));
        }
        Ok(update.exec(self.connection()).await?.rows_affected == 1)
    }
}

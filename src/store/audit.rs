//! Rows of `audit_log`: written in the same transaction as what they tell of, and never changed.

use entity::audit_log::{ActiveModel, Column, Entity, Model};
use entity::{OwnerId, Timestamp};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Set};

use super::{Store, StoreError, Tx};

/// Who does something to rights, and from where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actor {
    /// None: the command line, or the server by itself.
    pub id: Option<OwnerId>,
    /// The address that it was asked for from.
    pub address: Option<String>,
}

impl Store {
    /// The last `limit` entries, the newest first, before the entry of this number.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn audit_page(
        &self,
        before: Option<i64>,
        limit: u64,
    ) -> Result<Vec<Model>, StoreError> {
        let mut query = Entity::find();
        if let Some(before) = before {
            query = query.filter(Column::Id.lt(before));
        }
        Ok(query
            .order_by_desc(Column::Id)
            .limit(limit)
            .all(self.reader())
            .await?)
    }
}

impl Tx {
    /// Notes that somebody did something (`token.create`) to something (an id).
    ///
    /// # Errors
    /// If the database fails.
    pub async fn audit(
        &self,
        actor: &Actor,
        action: &str,
        target: impl ToString,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let row = ActiveModel {
            at: Set(now),
            actor_id: Set(actor.id),
            action: Set(action.to_owned()),
            target: Set(target.to_string()),
            address: Set(actor.address.clone()),
            ..Default::default()
        };
        Entity::insert(row)
            .exec_without_returning(self.connection())
            .await?;
        Ok(())
    }
}

//! `idempotency_key`: the first answers to requests that carried an `Idempotency-Key`.

use sea_orm::entity::prelude::*;

use crate::{OwnerId, Timestamp};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "idempotency_key")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub owner_id: OwnerId,
    /// Method and path.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub route: String,
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub key: String,
    /// SHA-256 of the request's body, in hexadecimal.
    #[sea_orm(column_type = "Text")]
    pub body_hash: String,
    /// What the use case found the first time, as JSON.
    #[sea_orm(column_type = "Text")]
    pub answer: String,
    pub expires_at: Timestamp,
}

impl ActiveModelBehavior for ActiveModel {}

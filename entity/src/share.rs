//! `share`: links by which somebody else may read a chat. The link's secret is nowhere.

use sea_orm::entity::prelude::*;

use crate::{ChatId, ShareId, Timestamp};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "share")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ShareId,
    pub chat_id: ChatId,
    /// The secret's first characters, by which people tell the link from others.
    #[sea_orm(column_type = "Text")]
    pub head: String,
    /// SHA-256 of the secret, in hexadecimal.
    #[sea_orm(column_type = "Text", unique)]
    pub hash: String,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

impl ActiveModelBehavior for ActiveModel {}

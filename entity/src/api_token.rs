//! `api_token`: keys that scripts and programs come in with. The key itself is nowhere.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{OwnerId, Timestamp, TokenId};

/// What somebody who came in this way may do; each includes those before it.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    EnumIter,
    DeriveActiveEnum,
    Serialize,
    Deserialize,
    ToSchema,
)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    Read,
    Write,
    /// What admins do, if the user is one.
    Admin,
}

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "api_token")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: TokenId,
    pub user_id: OwnerId,
    /// What its user calls it.
    #[sea_orm(column_type = "Text")]
    pub name: String,
    /// Its first characters, by which people tell it from others.
    #[sea_orm(column_type = "Text")]
    pub head: String,
    /// SHA-256 of the key, in hexadecimal.
    #[sea_orm(column_type = "Text", unique)]
    pub hash: String,
    pub scope: Scope,
    /// The token that it was made with, with which it goes.
    pub made_with: Option<TokenId>,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, within a minute.
    pub used_at: Option<Timestamp>,
}

impl ActiveModelBehavior for ActiveModel {}

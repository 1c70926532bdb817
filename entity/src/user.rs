//! `user`: everybody who was ever told apart from the others, however that was done.

use sea_orm::entity::prelude::*;

use crate::{OwnerId, Timestamp};

/// Who vouches for browsers that say nothing of themselves.
pub const ANONYMOUS: &str = "anonymous";

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "user")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: OwnerId,
    /// Who vouches for the subject: `local`, `anonymous`, `pollen`, `proxy`, or a JWT's issuer.
    #[sea_orm(column_type = "Text", unique_key = "subject")]
    pub issuer: String,
    /// What the issuer calls them.
    #[sea_orm(column_type = "Text", unique_key = "subject")]
    pub subject: String,
    /// What people call them.
    #[sea_orm(column_type = "Text")]
    pub name: String,
    /// The tier by name; none means the one of everybody who has no other.
    #[sea_orm(column_type = "Text", nullable)]
    pub tier: Option<String>,
    pub is_admin: bool,
    /// Set when they may not come in any more.
    pub disabled_at: Option<Timestamp>,
    /// Set when all that is theirs is being erased, at the end of which the row goes too.
    pub deleted_at: Option<Timestamp>,
    pub created_at: Timestamp,
    /// When they were last seen, within some minutes.
    pub seen_at: Timestamp,
}

impl ActiveModelBehavior for ActiveModel {}

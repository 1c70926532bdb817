//! `audit_log`: who did what to whose rights, when, and from where. Rows are only ever added, and stay
//! when the ones they tell of are gone.

use sea_orm::entity::prelude::*;

use crate::{OwnerId, Timestamp};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_log")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub at: Timestamp,
    /// Who; none means the command line, or the server by itself.
    pub actor_id: Option<OwnerId>,
    /// What, in a word or two: `token.create`.
    #[sea_orm(column_type = "Text")]
    pub action: String,
    /// To what, by its id.
    #[sea_orm(column_type = "Text")]
    pub target: String,
    /// The address it was asked for from.
    #[sea_orm(column_type = "Text", nullable)]
    pub address: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}

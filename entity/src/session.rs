//! `session`: browsers that came in. A row stays until its cookie is worthless in any case, so that a
//! session that has ended is known as such.

use sea_orm::entity::prelude::*;

use crate::{OwnerId, SessionId, Timestamp, TokenId};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "session")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: SessionId,
    pub user_id: OwnerId,
    /// The token that it was begun with, with which it ends.
    pub token_id: Option<TokenId>,
    /// What the browser says that it is.
    #[sea_orm(column_type = "Text")]
    pub browser: String,
    pub created_at: Timestamp,
    /// When it was last used, within some minutes.
    pub seen_at: Timestamp,
    /// When what it was begun with ends by itself, and it with that.
    pub ends_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
}

impl ActiveModelBehavior for ActiveModel {}

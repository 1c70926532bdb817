//! `archive`: all of somebody's chats in one file: the work on it, and what it came to.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{ArchiveId, OwnerId, Timestamp};

/// `queued` → `running` → `completed` | `failed`; any of them → `discarded`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize, ToSchema,
)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[schema(as = ArchiveStatus)]
pub enum Status {
    Queued,
    Running,
    Completed,
    Failed,
    /// It is to be erased, and nobody is shown it any more.
    Discarded,
}

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "archive")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ArchiveId,
    pub owner_id: OwnerId,
    pub status: Status,
    /// The number of the run that is at it, from 1; 0 while it waits for its first. The fencing token.
    pub attempt: i64,
    /// When the node that is at it must have said so again; past it the run counts as abandoned.
    pub lease_expires_at: Option<Timestamp>,
    pub chats_done: i64,
    pub chats_total: i64,
    /// Of the file, once it is there.
    pub bytes: i64,
    /// In how many rows of `archive_piece` it is.
    pub pieces: i64,
    #[sea_orm(column_type = "Text", nullable)]
    pub error_code: Option<String>,
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    /// When it is erased.
    pub expires_at: Option<Timestamp>,
}

impl ActiveModelBehavior for ActiveModel {}

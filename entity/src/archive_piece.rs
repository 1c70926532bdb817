//! `archive_piece`: a stretch of an archive's file.

use sea_orm::entity::prelude::*;

use crate::ArchiveId;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "archive_piece")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub archive_id: ArchiveId,
    /// From 0, in the file's order.
    #[sea_orm(primary_key, auto_increment = false)]
    pub number: i64,
    #[sea_orm(column_type = "Blob")]
    pub data: Vec<u8>,
}

impl ActiveModelBehavior for ActiveModel {}

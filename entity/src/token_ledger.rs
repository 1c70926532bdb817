//! `token_ledger`: the text of the answers that are being written, in chunks at offsets.
//!
//! The key is a plain rising integer and nothing else is indexed on SQLite, so that a flush
//! appends to the end of the table: a key of (request, offset) dirties one page per live answer
//! and was measured to write 27 to 58 times the bytes.

use sea_orm::entity::prelude::*;

use crate::RequestId;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "token_ledger")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub request_id: RequestId,
    /// The run that wrote this chunk. Chunks of other runs than the request's current one are void.
    pub attempt: i64,
    /// Bytes of UTF-8 before this chunk in the run's text.
    pub start_offset: i64,
    #[sea_orm(column_type = "Text")]
    pub text: String,
}

impl ActiveModelBehavior for ActiveModel {}

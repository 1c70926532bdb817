//! `token_ledger`: the text of the answers that are being written, in chunks at offsets.
//!
//! The key is a plain rising integer and nothing else is indexed on SQLite, so that a flush
//! appends to the end of the table: a key of (request, offset) dirties one page per live answer
//! and was measured to write 27 to 58 times the bytes.

use sea_orm::entity::prelude::*;

use serde::{Deserialize, Serialize};

use crate::RequestId;

/// Which of an answer's two texts a chunk is part of.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
)]
#[sea_orm(rs_type = "i16", db_type = "SmallInteger")]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// The answer itself.
    #[sea_orm(num_value = 0)]
    Text,
    /// What the model thought before it.
    #[sea_orm(num_value = 1)]
    Reasoning,
}

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "token_ledger")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub request_id: RequestId,
    /// The run that wrote this chunk. Chunks of other runs than the request's current one are void.
    pub attempt: i64,
    pub channel: Channel,
    /// Bytes of UTF-8 before this chunk in the run's text on this channel.
    pub start_offset: i64,
    #[sea_orm(column_type = "Text")]
    pub text: String,
}

impl ActiveModelBehavior for ActiveModel {}

//! `message_version`: the texts that a message had before the one that it has now.
//!
//! A message that was never regenerated, retried or edited has no rows here: its only version is
//! the text in its own row.

use sea_orm::entity::prelude::*;

use crate::chat_message::{Reaction, Status};
use crate::{MessageId, Origin, RequestId, Timestamp};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "message_version")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub message_id: MessageId,
    /// From 1, in the order in which the texts were begun.
    #[sea_orm(primary_key, auto_increment = false)]
    pub number: i64,
    pub chat_id: crate::ChatId,
    pub status: Status,
    #[sea_orm(column_type = "Text")]
    pub content: String,
    #[sea_orm(column_type = "Text")]
    pub reasoning: String,
    pub origin: Option<Origin>,
    /// The request that wrote it.
    pub request_id: Option<RequestId>,
    #[sea_orm(column_type = "Text", nullable)]
    pub error_code: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub error_message: Option<String>,
    /// What the user thinks of the text.
    pub reaction: Option<Reaction>,
    /// Why they think so, in their words.
    #[sea_orm(column_type = "Text", nullable)]
    pub reaction_comment: Option<String>,
    pub completed_at: Option<Timestamp>,
}

impl ActiveModelBehavior for ActiveModel {}

//! `chat_message`: one entry of a chat.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{ChatId, MessageId, Origin, RequestId, Timestamp};

/// Who speaks.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize, ToSchema,
)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Role {
    System,
    User,
    Assistant,
    Agent,
}

/// `pending` → `completed` | `failed` | `cancelled`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize, ToSchema,
)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[schema(as = MessageStatus)]
pub enum Status {
    Pending,
    Completed,
    Failed,
    Cancelled,
}

/// What a user thinks of an answer.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize, ToSchema,
)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Reaction {
    Like,
    Dislike,
}

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize, Deserialize)]
#[sea_orm(table_name = "chat_message")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: MessageId,
    pub chat_id: ChatId,
    /// The place in the chat: unique in it and rising; what the messages poll orders by.
    pub sequence: i64,
    /// The chat's revision when this row last changed.
    pub revision: i64,
    pub role: Role,
    pub status: Status,
    /// The user message that an answer answers.
    pub reply_to: Option<MessageId>,
    /// The latest LLM request that this message asked for (user) or is written by (assistant). A
    /// user message without one is a command, which no model ever sees.
    pub request_id: Option<RequestId>,
    /// Final text, UTF-8. Empty while the text is still in the token ledger.
    #[sea_orm(column_type = "Text")]
    pub content: String,
    /// What the model thought before it answered. Final text, as `content`.
    #[sea_orm(column_type = "Text")]
    #[serde(default)]
    pub reasoning: String,
    /// Who wrote the text. None on what no model wrote.
    pub origin: Option<Origin>,
    /// Counts the texts that this message has had, from 0.
    pub edition: i64,
    /// Which of the message's versions the text is, from 1.
    pub version: i64,
    /// How many versions there have been.
    pub versions: i64,
    #[sea_orm(column_type = "Text", nullable)]
    pub error_code: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub error_message: Option<String>,
    /// What the user thinks of the text.
    #[serde(default)]
    pub reaction: Option<Reaction>,
    /// Why they think so, in their words.
    #[sea_orm(column_type = "Text", nullable)]
    #[serde(default)]
    pub reaction_comment: Option<String>,
    pub created_at: Timestamp,
    pub completed_at: Option<Timestamp>,
    /// Set on a tombstone: no text any more, but still a valid cursor.
    pub deleted_at: Option<Timestamp>,
    /// Set when an edit of an earlier message has made this one beside the point: kept, not shown.
    pub superseded_at: Option<Timestamp>,
}

impl ActiveModelBehavior for ActiveModel {}

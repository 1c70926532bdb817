//! `llm_request`: one piece of work for a model, which is to produce one assistant message.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{AskedAs, ChatId, MessageId, Parameters, RequestId, Timestamp};

/// `queued` → `running` → `completed` | `failed` | `cancelled`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Queued,
    Running,
    Completed,
    Failed,
    Cancelled,
}

/// What a request may have of the response cache.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum CacheUse {
    /// An answer that was given before will do, if the model has a cache at all.
    #[default]
    Any,
    /// The answer is to be the model's own; it is kept for others.
    Fresh,
    /// The same, and nobody else is to have it.
    Bypass,
}

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "llm_request")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: RequestId,
    pub chat_id: ChatId,
    /// The user message to be answered.
    pub user_message_id: MessageId,
    /// The user message's sequence: requests of one chat run in this order.
    pub sequence: i64,
    /// The answer; none until the request is claimed.
    pub assistant_message_id: Option<MessageId>,
    pub status: Status,
    /// The number of the run that holds, or last held, this request. The fencing token.
    pub attempt: i64,
    /// The edition of the assistant message that the current attempt writes.
    pub edition: i64,
    /// The model that is to answer, by its name in the catalogue; none means the server's default.
    #[sea_orm(column_type = "Text", nullable)]
    pub model: Option<String>,
    /// Who runs the model; none means the default model's provider.
    #[sea_orm(column_type = "Text", nullable)]
    pub provider: Option<String>,
    /// How the model is asked, beyond what the chat says.
    pub parameters: Option<Parameters>,
    /// Whether the message itself named the model, and not the chat or the server.
    pub names_model: bool,
    pub cache_use: CacheUse,
    /// The node that runs the request.
    #[sea_orm(column_type = "Text", nullable)]
    pub lease_owner: Option<String>,
    /// When the node must have renewed its claim; past it the request counts as abandoned.
    pub lease_expires_at: Option<Timestamp>,
    #[sea_orm(column_type = "Text", nullable)]
    pub finish_reason: Option<String>,
    pub input_tokens: Option<i64>,
    pub output_tokens: Option<i64>,
    #[sea_orm(column_type = "Text", nullable)]
    pub error_code: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub error_message: Option<String>,
    pub created_at: Timestamp,
    /// When the current attempt began.
    pub started_at: Option<Timestamp>,
    /// When the request is to have ended, whichever attempt runs then. Set by the first claim.
    pub deadline_at: Option<Timestamp>,
    pub first_token_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    /// The trace that it belongs to, as W3C's header writes it; none where it is not traced.
    #[sea_orm(column_type = "Text", nullable)]
    pub traceparent: Option<String>,
    /// What the system says for this answer alone, before what it says in the chat.
    #[sea_orm(column_type = "Text", nullable)]
    pub instructions: Option<String>,
    /// What a program said beside the question; none where a person asked.
    pub asked_as: Option<AskedAs>,
}

impl ActiveModelBehavior for ActiveModel {}

//! `llm_attempt`: the usage ledger. One row for each attempt that has ended, whatever its end; it
//! outlives the chat, for what was used was used.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{ChatId, MessageId, OwnerId, RequestId, Timestamp};

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Completed,
    Failed,
    Cancelled,
    /// Another attempt took its place.
    Replaced,
}

/// What a look into the response cache found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum CacheLookup {
    Hit,
    Miss,
}

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "llm_attempt")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub request_id: RequestId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub attempt: i64,
    pub owner_id: OwnerId,
    pub chat_id: ChatId,
    pub message_id: Option<MessageId>,
    #[sea_orm(column_type = "Text", nullable)]
    pub provider: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub model: Option<String>,
    pub outcome: Outcome,
    #[sea_orm(column_type = "Text", nullable)]
    pub finish_reason: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub error_code: Option<String>,
    pub input_tokens: i64,
    pub output_tokens: i64,
    /// Of the output: what the model thought and did not say.
    pub reasoning_tokens: i64,
    /// Of the input: what the provider had in its cache.
    pub cached_tokens: i64,
    /// The provider did not report all of the counts; what is missing was estimated from the texts.
    pub estimated: bool,
    /// Whether the answer was in the response cache; none where nobody looked.
    pub cache: Option<CacheLookup>,
    /// Tokens, read and written, that the cache made it unnecessary to pay for.
    pub saved_tokens: i64,
    /// Millionths of the currency of the configured prices; none where the model has no price.
    pub cost_micros: Option<i64>,
    pub started_at: Timestamp,
    pub first_token_at: Option<Timestamp>,
    pub finished_at: Timestamp,
}

impl ActiveModelBehavior for ActiveModel {}

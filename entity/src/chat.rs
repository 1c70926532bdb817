//! `chat`: a thread of messages that one owner holds.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{ChatId, Metadata, OwnerId, Parameters, Timestamp};

/// Whose turn it is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize, ToSchema,
)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[schema(as = ChatStatus)]
pub enum Status {
    WaitingForUser,
    WaitingForChatbot,
}

/// What happens to a message that is sent while an answer is under way.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize, ToSchema,
)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum OnBusy {
    /// It waits its turn.
    Enqueue,
    /// It is refused.
    Reject,
    /// The answer under way is stopped, its text kept.
    Interrupt,
    /// The answer under way is stopped and removed together with its question.
    Rollback,
}

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize, Deserialize)]
#[sea_orm(table_name = "chat")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ChatId,
    pub owner_id: OwnerId,
    #[sea_orm(column_type = "Text")]
    pub title: String,
    /// The persona's alias.
    #[sea_orm(column_type = "Text", nullable)]
    pub agent: Option<String>,
    /// The model that answers; none means the server's default.
    #[sea_orm(column_type = "Text", nullable)]
    pub model: Option<String>,
    pub status: Status,
    /// What a message does that is sent while an answer is under way; none means the server's default.
    pub on_busy: Option<OnBusy>,
    /// How the model is asked; none means as its agent, its model or the provider has it.
    pub parameters: Option<Parameters>,
    /// What a client keeps with the chat for itself; none where it keeps nothing, and never an empty set.
    #[sea_orm(column_type = "JsonBinary", nullable)]
    #[serde(default)]
    pub metadata: Option<Metadata>,
    /// What the messages up to `summary_through` said, for a model whose window is full of later ones.
    #[sea_orm(column_type = "Text", nullable)]
    pub summary: Option<String>,
    /// The sequence number of the last message that the summary is of.
    pub summary_through: Option<i64>,
    /// The sequence number that the next message gets. Handed out only under this row's lock.
    pub next_sequence: i64,
    /// Rises with every change that a poller could see. Handed out only under this row's lock.
    pub revision: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// Set when the chat was deleted: to everybody it is gone, but for a while it can be brought back.
    #[serde(default)]
    pub deleted_at: Option<Timestamp>,
    /// When the chat is erased without anybody asking, if its owner's tier does not have it go sooner.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
}

impl ActiveModelBehavior for ActiveModel {}

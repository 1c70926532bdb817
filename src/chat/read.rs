//! A message with the text that it has now, wherever that text is: in its row, in this node's
//! memory, or in the token ledger of a node that is writing it.

use std::sync::Arc;

use entity::MessageId;
use entity::chat_message::{Model as Message, Status};
use entity::token_ledger::Channel;
use serde::{Deserialize, Serialize};

use super::{Chats, Reader};
use crate::ledger::Live;
use crate::model::delta::{Delta, MAX_DELTA_BYTES, opening};
use crate::model::failure::Failure;
use crate::model::position::{Edition, Position};
use crate::store::StoreError;

/// A message as a client sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MessageRead {
    /// The row, but for its `content`.
    pub row: Message,
    /// The text so far, or its beginning.
    pub content: String,
    /// Where a poll for the rest goes on from.
    pub position: Position,
    /// What the model thought so far, or its beginning, and where a poll for the rest goes on from.
    #[serde(default)]
    pub reasoning: String,
    #[serde(default)]
    pub reasoning_position: Position,
    /// `content` and `reasoning` are all that is known of the texts.
    pub is_whole: bool,
    /// The texts are finished and longer than `content` and `reasoning`.
    pub truncated: bool,
    pub error: Option<Failure>,
}

impl MessageRead {
    /// `opening`: of the text, and of what the model thought.
    pub(super) fn new(mut row: Message, (opening, thoughts): (Delta, Delta)) -> Self {
        row.content.clear();
        row.reasoning.clear();
        let is_whole = opening.at_end && thoughts.at_end;
        Self {
            is_whole,
            truncated: !is_whole && !is_written(&row),
            reasoning: thoughts.tokens,
            reasoning_position: thoughts.position,
            error: Failure::from_stored(row.error_code.as_deref(), row.error_message.as_deref()),
            content: opening.tokens,
            position: opening.position,
            row,
        }
    }

    /// A finished message, or one of the user's, whose text is in its row.
    pub(crate) fn stored(row: Message, limit: usize) -> Self {
        let edition = Edition::from_stored(row.edition);
        let openings = openings(edition, &row.content, &row.reasoning, limit);
        Self::new(row, openings)
    }

    /// Bytes of text that it carries.
    pub(super) fn len(&self) -> usize {
        self.content.len() + self.reasoning.len()
    }
}

/// The beginnings of both texts, at most `limit` bytes of them together: the answer goes first.
fn openings(edition: Edition, text: &str, reasoning: &str, limit: usize) -> (Delta, Delta) {
    let text = opening(edition, text, limit);
    let left = limit.saturating_sub(text.tokens.len());
    (text, opening(edition, reasoning, left))
}

/// Whether the text is still being written: a message of the user's has all of its own.
pub(super) fn is_written(row: &Message) -> bool {
    row.status == Status::Pending && row.reply_to.is_some()
}

#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    #[error("there is no such message")]
    NotFound,
    #[error("the message could not be read")]
    Store(#[from] StoreError),
}

impl Chats {
    /// One message.
    ///
    /// # Errors
    /// If there is no such message for the reader, or the database fails.
    pub async fn message(
        &self,
        reader: impl Into<Reader>,
        id: MessageId,
    ) -> Result<MessageRead, MessageError> {
        // Memory is asked before the database: an answer that is finished in between is then seen
        // finished, and never as pending without a text.
        let live = self.ledgers.get(id);
        let reader = reader.into();
        let row = self.store.message(reader.owner(), id).await?;
        let row = row.filter(|row| reader.may_read(reader.owner(), row.chat_id));
        let row = row.ok_or(MessageError::NotFound)?;
        Ok(self.read_row(row, live.as_slice(), MAX_DELTA_BYTES).await?)
    }

    /// Adds the text to a row. `live`: the ledgers that were open before the row was read.
    pub(super) async fn read_row(
        &self,
        row: Message,
        live: &[Arc<Live>],
        limit: usize,
    ) -> Result<MessageRead, StoreError> {
        if !is_written(&row) {
            return Ok(MessageRead::stored(row, limit));
        }
        let edition = Edition::from_stored(row.edition);
        let is_this = |live: &&Arc<Live>| live.ids.message == row.id && live.ids.edition == edition;
        if let Some(live) = live.iter().find(is_this) {
            let text = live.opening(Channel::Text, limit);
            let left = limit.saturating_sub(text.tokens.len());
            let thoughts = live.opening(Channel::Reasoning, left);
            return Ok(MessageRead::new(row, (text, thoughts)));
        }
        let Some(seen) = self.follower.read(row.id).await? else {
            return Ok(MessageRead::stored(row, limit));
        };
        if !is_written(&seen.message) {
            return Ok(MessageRead::stored(seen.message.clone(), limit));
        }
        // What was seen a moment ago may be an edition behind this row.
        let (text, reasoning) = if seen.message.edition == row.edition {
            (seen.texts.text.as_str(), seen.texts.reasoning.as_str())
        } else {
            ("", "")
        };
        Ok(MessageRead::new(
            row,
            openings(edition, text, reasoning, limit),
        ))
    }
}

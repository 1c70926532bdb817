//! The token poll: the text of one message since a position.

use entity::chat_message::{Model as Message, Status};
use entity::{MessageId, OwnerId};

use super::Chats;
use super::read::is_written;
use crate::model::delta::{Delta, Knowledge, delta};
use crate::model::hint::Activity;
use crate::model::position::{Edition, Position};
use crate::store::StoreError;

/// What the poll found.
#[derive(Clone, Debug)]
pub struct TokensPoll {
    pub message: MessageId,
    pub delta: Delta,
    /// Terminal only when `delta` reaches the end of the text: a client that stops at a terminal
    /// status has it all.
    pub status: Status,
    pub activity: Activity,
}

#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    #[error("there is no such message")]
    NotFound,
    #[error("the message could not be read")]
    Store(#[from] StoreError),
}

impl Chats {
    /// The text of the message since `position`. Answers that this node writes are read from
    /// memory, and no database is touched.
    ///
    /// # Errors
    /// If there is no such message of the owner's, or the database fails.
    pub async fn poll_tokens(
        &self,
        owner: OwnerId,
        id: MessageId,
        position: Position,
    ) -> Result<TokensPoll, TokensError> {
        let live = self.ledgers.get(id).filter(|live| live.ids.owner == owner);
        if let Some(live) = &live
            // A client that holds a later edition has it from another node, and this node's
            // memory may be a fenced attempt's: the database knows.
            && position.edition() <= live.ids.edition
        {
            return Ok(pending(id, live.read(position)));
        }
        let seen = self.follower.read(id).await?;
        let seen = seen.filter(|seen| seen.owner == owner);
        let seen = seen.ok_or(TokensError::NotFound)?;
        if !is_written(&seen.message) {
            return Ok(stored(&seen.message, position));
        }
        let edition = Edition::from_stored(seen.message.edition);
        if let Some(live) = live.filter(|live| live.ids.edition == edition) {
            return Ok(pending(id, live.read(position)));
        }
        let delta = delta(position, edition, &seen.text, Knowledge::Following);
        Ok(pending(id, delta))
    }
}

fn pending(message: MessageId, delta: Delta) -> TokensPoll {
    TokensPoll {
        message,
        activity: if delta.at_end {
            Activity::Flowing
        } else {
            Activity::More
        },
        delta,
        status: Status::Pending,
    }
}

fn stored(row: &Message, position: Position) -> TokensPoll {
    let edition = Edition::from_stored(row.edition);
    let delta = delta(position, edition, &row.content, Knowledge::Whole);
    let (status, activity) = match (delta.at_end, row.status) {
        (false, _) => (Status::Pending, Activity::More),
        // A user message that waits to be answered: its text is all there.
        (true, Status::Pending) => (Status::Pending, Activity::Flowing),
        (true, ended) => (ended, Activity::Idle),
    };
    TokensPoll {
        message: row.id,
        delta,
        status,
        activity,
    }
}

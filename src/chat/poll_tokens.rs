//! The token poll: the text of one message since a position, and if the client wants it what the
//! model thought before it, which has positions of its own.

use std::sync::Arc;

use entity::MessageId;
use entity::chat_message::{Model as Message, Status};
use entity::token_ledger::Channel;

use super::read::is_written;
use super::{Chats, Reader};
use crate::ledger::Live;
use crate::model::delta::{Delta, Knowledge, MAX_DELTA_BYTES, delta};
use crate::model::hint::Activity;
use crate::model::position::{Edition, Position};
use crate::store::StoreError;

/// What the poll found.
#[derive(Clone, Debug)]
pub struct TokensPoll {
    pub message: MessageId,
    pub delta: Delta,
    /// What the model thought, if that was asked for.
    pub reasoning: Option<Delta>,
    /// Terminal only when the deltas reach the end of the texts: a client that stops at a terminal
    /// status has it all.
    pub status: Status,
    pub activity: Activity,
}

/// Where a client has read to.
#[derive(Clone, Copy, Debug)]
pub struct Cursors {
    pub text: Position,
    /// None: the client does not want to know what the model thinks.
    pub reasoning: Option<Position>,
}

impl Cursors {
    fn edition(&self) -> Edition {
        let reasoning = self.reasoning.map(Position::edition).unwrap_or_default();
        self.text.edition().max(reasoning)
    }

    /// What is new on both channels, the answer first: one poll carries only so much (P7).
    fn read(&self, read: impl Fn(Channel, Position, usize) -> Delta) -> (Delta, Option<Delta>) {
        let text = read(Channel::Text, self.text, MAX_DELTA_BYTES);
        let left = MAX_DELTA_BYTES - text.tokens.len();
        let reasoning = self
            .reasoning
            .map(|position| read(Channel::Reasoning, position, left));
        (text, reasoning)
    }
}

impl TokensPoll {
    /// Whether there is something in it besides the position that the client has sent.
    #[must_use]
    pub fn is_new(&self) -> bool {
        let says = |delta: &Delta| !delta.append || !delta.tokens.is_empty();
        self.status != Status::Pending
            || says(&self.delta)
            || self.reasoning.as_ref().is_some_and(says)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    #[error("there is no such message")]
    NotFound,
    #[error("the message could not be read")]
    Store(#[from] StoreError),
}

impl Chats {
    /// The texts of the message since the client's positions. Answers that this node writes are read
    /// from memory, and no database is touched.
    ///
    /// # Errors
    /// If there is no such message for the reader, or the database fails.
    pub async fn poll_tokens(
        &self,
        reader: impl Into<Reader>,
        id: MessageId,
        cursors: Cursors,
    ) -> Result<TokensPoll, TokensError> {
        let reader = reader.into();
        let live = self.live(reader, id);
        if let Some(live) = live.as_deref().filter(|live| holds(live, cursors)) {
            return Ok(written_here(live, cursors));
        }
        let seen = self.follower.read(id).await?;
        let seen = seen.filter(|seen| reader.may_read(seen.owner, seen.message.chat_id));
        let seen = seen.ok_or(TokensError::NotFound)?;
        if !is_written(&seen.message) {
            return Ok(stored(&seen.message, cursors));
        }
        let edition = Edition::from_stored(seen.message.edition);
        if let Some(live) = live.filter(|live| live.ids.edition == edition) {
            return Ok(written_here(&live, cursors));
        }
        let texts = (seen.texts.text.as_str(), seen.texts.reasoning.as_str());
        let read = cursors.read(deltas(edition, texts, Knowledge::Following));
        Ok(pending(id, read))
    }

    /// The same, if nothing has to be waited for.
    pub fn tokens_at_hand(
        &self,
        reader: Reader,
        id: MessageId,
        cursors: Cursors,
    ) -> Option<TokensPoll> {
        let live = self.live(reader, id);
        if let Some(live) = live.filter(|live| holds(live, cursors)) {
            return Some(written_here(&live, cursors));
        }
        let seen = self.follower.at_hand(id)?;
        let row = &seen.message;
        let is_readable = reader.may_read(seen.owner, row.chat_id);
        (is_readable && !is_written(row)).then(|| stored(row, cursors))
    }

    fn live(&self, reader: Reader, id: MessageId) -> Option<Arc<Live>> {
        let live = self.ledgers.get(id)?;
        reader
            .may_read(live.ids.owner, live.ids.chat)
            .then_some(live)
    }
}

/// Whether this node's memory has what the client is to read. A client that holds a later edition has it from another
/// node, and this node's memory may be a fenced attempt's: the database knows.
fn holds(live: &Live, cursors: Cursors) -> bool {
    cursors.edition() <= live.ids.edition
}

fn written_here(live: &Live, cursors: Cursors) -> TokensPoll {
    let read = |channel, position, limit| live.read(channel, position, limit);
    pending(live.ids.message, cursors.read(read))
}

fn deltas(
    edition: Edition,
    (text, reasoning): (&str, &str),
    knowledge: Knowledge,
) -> impl Fn(Channel, Position, usize) -> Delta {
    move |channel, position, limit| {
        let text = match channel {
            Channel::Text => text,
            Channel::Reasoning => reasoning,
        };
        delta(position, edition, text, knowledge, limit)
    }
}

fn is_at_end((text, reasoning): &(Delta, Option<Delta>)) -> bool {
    text.at_end && reasoning.as_ref().is_none_or(|delta| delta.at_end)
}

fn pending(message: MessageId, read: (Delta, Option<Delta>)) -> TokensPoll {
    let activity = if is_at_end(&read) {
        Activity::Flowing
    } else {
        Activity::More
    };
    let (delta, reasoning) = read;
    TokensPoll {
        message,
        delta,
        reasoning,
        status: Status::Pending,
        activity,
    }
}

fn stored(row: &Message, cursors: Cursors) -> TokensPoll {
    let edition = Edition::from_stored(row.edition);
    let texts = (row.content.as_str(), row.reasoning.as_str());
    let read = cursors.read(deltas(edition, texts, Knowledge::Whole));
    let (status, activity) = match (is_at_end(&read), row.status) {
        (false, _) => (Status::Pending, Activity::More),
        // A user message that waits to be answered: its text is all there.
        (true, Status::Pending) => (Status::Pending, Activity::Flowing),
        (true, ended) => (ended, Activity::Idle),
    };
    let (delta, reasoning) = read;
    TokensPoll {
        message: row.id,
        delta,
        reasoning,
        status,
        activity,
    }
}

//! The whole conversation in order, in pages: for who reads a chat, and does not watch it.

use entity::MessageId;

use super::read::is_written;
use super::{Chats, MessageRead, MessagesError, ReadableChat};
use crate::model::delta::MAX_DELTA_BYTES;

/// Messages on a page when nobody says, and at most.
pub const HISTORY_PAGE: u64 = 50;
pub const MAX_HISTORY_PAGE: u64 = 100;

/// A page of what was said.
#[derive(Clone, Debug)]
pub struct History {
    /// Oldest first.
    pub messages: Vec<MessageRead>,
    /// Where the next page begins. None: there is none.
    pub next: Option<MessageId>,
}

impl Chats {
    /// A page of a chat's messages after `cursor`, as whoever reads it sees them: without what was deleted or superseded, and
    /// without what the system says. `limit` is held between 1 and 100; a page that has 256 KiB of text is full, too.
    ///
    /// # Errors
    /// If the cursor is not of this chat, or the database fails.
    pub async fn history(
        &self,
        chat: &(impl ReadableChat + Sync),
        cursor: Option<MessageId>,
        limit: Option<u64>,
    ) -> Result<History, MessagesError> {
        let id = chat.row().id;
        let limit = limit.unwrap_or(HISTORY_PAGE).clamp(1, MAX_HISTORY_PAGE);
        // Memory is asked before the database, as a poll does.
        let live = self.ledgers.of_chat(id);
        let after = match cursor {
            None => 0,
            Some(cursor) => self
                .store
                .sequence_of(id, cursor)
                .await?
                .ok_or(MessagesError::UnknownCursor)?,
        };
        let page = self.store.messages_after(id, after, limit, MAX_DELTA_BYTES);
        let page = page.await?;
        let mut has_more = page.has_more;
        let mut messages = Vec::with_capacity(page.messages.len());
        let mut left = MAX_DELTA_BYTES;
        for row in page.messages {
            let read = self.read_row(row, &live, left).await?;
            if !read.is_whole && !messages.is_empty() && !is_written(&read.row) {
                // It ended while the page was read, and is longer than what was left: it comes with the next one.
                has_more = true;
                break;
            }
            left = left.saturating_sub(read.len());
            messages.push(read);
        }
        let last = messages.last().map(|read| read.row.id);
        Ok(History {
            next: last.filter(|_| has_more),
            messages,
        })
    }
}

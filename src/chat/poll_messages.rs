//! The messages poll: what is new in a chat since a cursor, and what has changed of the rest
//! since a revision.

use std::sync::Arc;

use entity::MessageId;
use entity::chat::{Model as Chat, Status as ChatStatus};
use entity::chat_message::Status;

use super::read::is_written;
use super::{Chats, MessageRead, ReadableChat, WatchedChat};
use crate::model::delta::MAX_DELTA_BYTES;
use crate::model::hint::Activity;
use crate::store::{Head, MessagePage, StoreError};

/// Messages in one answer at most, new and changed ones counted apart.
pub const MESSAGES_PER_PAGE: u64 = 100;

/// What the poll found.
#[derive(Clone, Debug)]
pub struct MessagesPoll {
    /// The chat as it was before the messages were read.
    pub chat: Chat,
    /// Messages up to the cursor that changed since the revision, deleted ones among them.
    pub changed: Vec<MessageRead>,
    /// Messages after the cursor, oldest first.
    pub new: Vec<MessageRead>,
    /// The cursor for the next poll.
    pub cursor: Option<MessageId>,
    /// The revision for the next poll.
    pub revision: i64,
    /// There is more to fetch at once.
    pub has_more: bool,
    pub activity: Activity,
}

/// A poll that found nothing, for the client has all that there is.
#[derive(Clone, Copy, Debug)]
pub struct Quiet {
    pub cursor: MessageId,
    pub revision: i64,
    pub activity: Activity,
}

#[derive(Debug, thiserror::Error)]
pub enum MessagesError {
    /// The cursor is the UUID of no message of this chat.
    #[error("the cursor is not a message of this chat; begin again without one")]
    UnknownCursor,
    #[error("the messages could not be read")]
    Store(#[from] StoreError),
}

impl Chats {
    /// What is new after `cursor`, and with `revision` what has changed up to it.
    ///
    /// # Errors
    /// If the cursor is not of this chat, or the database fails.
    pub async fn poll_messages(
        &self,
        chat: &impl ReadableChat,
        cursor: Option<MessageId>,
        revision: Option<i64>,
    ) -> Result<MessagesPoll, MessagesError> {
        let head = match chat.head() {
            Some(head) => self.head_for(head, revision).await?,
            None => None,
        };
        if let Some(head) = &head
            && let Some(quiet) = Quiet::of(head, cursor, revision)
        {
            return Ok(MessagesPoll::quiet(quiet, head.chat.clone()));
        }
        let chat = head.as_ref().map_or(chat.row(), |head| &head.chat);
        // Boxed, for most polls end before it.
        Box::pin(self.read_messages(chat, cursor, revision)).await
    }

    /// The same, if the chat is as it is remembered and the client has all of it.
    pub fn quiet_at_hand(
        &self,
        chat: &WatchedChat,
        cursor: MessageId,
        revision: Option<i64>,
    ) -> Option<Quiet> {
        Quiet::of(chat.head()?, Some(cursor), revision)
    }

    async fn read_messages(
        &self,
        chat: &Chat,
        cursor: Option<MessageId>,
        revision: Option<i64>,
    ) -> Result<MessagesPoll, MessagesError> {
        let id = chat.id;
        // The order matters: the chat's row was read first, so that its revision promises no
        // more than what is read after it, and memory is asked before the messages are read.
        let live = self.ledgers.of_chat(id);
        let after = match cursor {
            None => 0,
            Some(cursor) => self
                .store
                .sequence_of(id, cursor)
                .await?
                .ok_or(MessagesError::UnknownCursor)?,
        };
        let seen = revision.unwrap_or(chat.revision);
        let (changed, through) = if seen < chat.revision {
            self.store
                .messages_changed(id, after, seen, MESSAGES_PER_PAGE, MAX_DELTA_BYTES)
                .await?
        } else {
            (MessagePage::default(), seen)
        };
        let new = if changed.has_more {
            MessagePage::default()
        } else {
            self.store
                .messages_after(id, after, MESSAGES_PER_PAGE, MAX_DELTA_BYTES)
                .await?
        };
        let mut poll = MessagesPoll {
            chat: chat.clone(),
            cursor,
            revision: if changed.has_more {
                through
            } else {
                chat.revision
            },
            has_more: changed.has_more || new.has_more,
            changed: Vec::with_capacity(changed.messages.len()),
            new: Vec::with_capacity(new.messages.len()),
            activity: Activity::Idle,
        };
        let mut left = MAX_DELTA_BYTES;
        for row in changed.messages {
            let read = self.read_row(row, &live, left).await?;
            left = left.saturating_sub(read.len());
            poll.changed.push(read);
        }
        for row in new.messages {
            let read = self.read_row(row, &live, left).await?;
            let is_first = poll.changed.is_empty() && poll.new.is_empty();
            if !read.is_whole && !is_first && !is_written(&read.row) {
                // What does not fit beside the others comes by itself in the next answer. One
                // that is being written may be cut: its tokens are polled anyway.
                poll.has_more = true;
                break;
            }
            left = left.saturating_sub(read.len());
            poll.cursor = Some(read.row.id);
            poll.new.push(read);
        }
        poll.activity = activity(&poll);
        Ok(poll)
    }
}

impl Chats {
    /// What is remembered of the chat, read again if the client has seen more of it, on another node.
    async fn head_for(
        &self,
        head: &Arc<Head>,
        revision: Option<i64>,
    ) -> Result<Option<Arc<Head>>, MessagesError> {
        if revision.is_none_or(|seen| seen <= head.chat.revision) {
            return Ok(Some(Arc::clone(head)));
        }
        Ok(Box::pin(self.heads.read_again(head.chat.id)).await?)
    }
}

impl Quiet {
    /// None: the client may not have all that there is of the chat.
    fn of(head: &Head, cursor: Option<MessageId>, revision: Option<i64>) -> Option<Self> {
        let chat = &head.chat;
        let cursor = cursor.filter(|_| cursor == head.last)?;
        let has_all = revision.is_none_or(|seen| seen == chat.revision);
        has_all.then_some(Self {
            cursor,
            revision: chat.revision,
            activity: match chat.status {
                ChatStatus::WaitingForChatbot => Activity::Flowing,
                ChatStatus::WaitingForUser => Activity::Idle,
            },
        })
    }
}

impl MessagesPoll {
    /// Whether there is something in it that a client with this revision does not have.
    #[must_use]
    pub fn is_new(&self, revision: Option<i64>) -> bool {
        let is_seen = revision.is_none_or(|seen| seen == self.revision);
        !(self.new.is_empty() && self.changed.is_empty() && is_seen)
    }

    /// Bytes of text that it carries.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        let reads = self.changed.iter().chain(&self.new);
        reads.map(MessageRead::len).sum()
    }

    fn quiet(quiet: Quiet, chat: Chat) -> Self {
        Self {
            chat,
            changed: Vec::new(),
            new: Vec::new(),
            cursor: Some(quiet.cursor),
            revision: quiet.revision,
            has_more: false,
            activity: quiet.activity,
        }
    }
}

fn activity(poll: &MessagesPoll) -> Activity {
    let reads = || poll.changed.iter().chain(&poll.new);
    let is_pending = |read: &MessageRead| read.row.status == Status::Pending;
    // The chat went on between the reads: what it has now is told by the next poll.
    let moved_on = |read: &MessageRead| read.row.revision > poll.chat.revision;
    if poll.has_more {
        Activity::More
    } else if poll.chat.status == ChatStatus::WaitingForChatbot
        || reads().any(is_pending)
        || reads().any(moved_on)
    {
        Activity::Flowing
    } else {
        Activity::Idle
    }
}

#[cfg(test)]
mod tests {
    use entity::chat_message::Role;
    use entity::{ChatId, OwnerId, Timestamp};

    use super::*;
    use crate::chat::agents::finished_message;

    #[test]
    fn a_chat_that_went_on_while_it_was_read_is_not_idle() {
        let now = Timestamp(1_795_226_400_000);
        let chat = Chat {
            id: ChatId::generate(),
            owner_id: OwnerId::LOCAL,
            title: String::new(),
            agent: None,
            model: None,
            status: ChatStatus::WaitingForUser,
            on_busy: None,
            parameters: None,
            metadata: None,
            summary: None,
            summary_through: None,
            next_sequence: 2,
            revision: 3,
            created_at: now,
            updated_at: now,
            deleted_at: None,
            expires_at: None,
        };
        let question = finished_message(&chat, Role::User, "Tea?", now);
        let mut poll = MessagesPoll {
            cursor: Some(question.id),
            revision: chat.revision,
            new: vec![MessageRead::stored(question, MAX_DELTA_BYTES)],
            changed: Vec::new(),
            has_more: false,
            activity: Activity::Idle,
            chat,
        };
        assert_eq!(activity(&poll), Activity::Idle);
        // The chat's row was read before the request was claimed, its message after that.
        poll.chat.revision -= 1;
        assert_eq!(activity(&poll), Activity::Flowing);
    }
}

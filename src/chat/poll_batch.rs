//! Many polls in one: what is new of several chats, of several messages and of the list of chats. What is not new
//! is left out, so that a client with ten open chats makes one short request for all of them.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use entity::{ChatId, MessageId, OwnerId};
use futures::{StreamExt as _, stream};

use super::{AccessError, Chats, Cursors, MessagesError, MessagesPoll, TokensError, TokensPoll};
use crate::store::StoreError;

/// Cursors in one poll at most.
pub const MAX_CURSORS: usize = 100;
/// Cursors that are read at the same time.
const AT_ONCE: usize = 8;
/// Chats at the head of the list whose changes its revision tells by their revisions. A chat that is further down
/// comes to the head with any change of its own.
const LIST_HEAD: u64 = 100;

/// What a client has read to.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub chats: Vec<ChatCursor>,
    pub messages: Vec<MessageCursor>,
    /// Whether the revision of the list of chats is wanted.
    pub list: bool,
}

/// Where a client has read the messages of a chat to.
#[derive(Clone, Copy, Debug)]
pub struct ChatCursor {
    pub chat: ChatId,
    pub last: Option<MessageId>,
    pub revision: Option<i64>,
}

/// Where a client has read the text of a message to.
#[derive(Clone, Copy, Debug)]
pub struct MessageCursor {
    pub message: MessageId,
    pub cursors: Cursors,
}

/// What each of the polls found, in their order.
#[derive(Debug)]
pub struct BatchPoll {
    pub chats: Vec<Result<MessagesPoll, ChatPollError>>,
    pub messages: Vec<Result<TokensPoll, TokensError>>,
    pub list: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ChatPollError {
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    Messages(#[from] MessagesError),
}

impl Chats {
    /// What is new of all of these.
    ///
    /// # Errors
    /// If the list of chats cannot be read. What goes wrong with one cursor stands in its place.
    pub async fn poll_batch(&self, owner: OwnerId, batch: &Batch) -> Result<BatchPoll, StoreError> {
        let chats = batch
            .chats
            .iter()
            .map(|cursor| self.poll_one(owner, *cursor));
        let messages = batch
            .messages
            .iter()
            .map(|cursor| self.poll_tokens(owner, cursor.message, cursor.cursors));
        // Collected first: the compiler does not see otherwise that the futures may change threads.
        let (chats, messages) = (chats.collect::<Vec<_>>(), messages.collect::<Vec<_>>());
        let list = if batch.list {
            Some(self.list_revision(owner).await?)
        } else {
            None
        };
        Ok(BatchPoll {
            list,
            chats: stream::iter(chats).buffered(AT_ONCE).collect().await,
            messages: stream::iter(messages).buffered(AT_ONCE).collect().await,
        })
    }

    async fn poll_one(
        &self,
        owner: OwnerId,
        cursor: ChatCursor,
    ) -> Result<MessagesPoll, ChatPollError> {
        let chat = self.watch(owner, cursor.chat).await?;
        let poll = self.poll_messages(&chat, cursor.last, cursor.revision);
        Ok(poll.await?)
    }

    /// A word for the state of the owner's list of chats: another one as soon as a chat in it is created, changed
    /// or deleted.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn list_revision(&self, owner: OwnerId) -> Result<String, StoreError> {
        let (count, head) = self.store.list_state(owner, LIST_HEAD).await?;
        let mut hasher = DefaultHasher::new();
        (count, head).hash(&mut hasher);
        Ok(format!("{:016x}", hasher.finish()))
    }
}

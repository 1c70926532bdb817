//! The heads of chats: the row and the last message, which is all that a poll of a quiet chat has to know. A chat that
//! is polled is read once for as long as nothing in it changes, not once for each poll.

use std::sync::Arc;
use std::time::Duration;

use entity::ChatId;
use entity::chat::Status;

use super::remembered::{Readable, Remembered};
use crate::store::{Head, Store, StoreError};

/// Bytes of all heads that are remembered, at most.
const MAX_BYTES: u64 = 64 << 20;
/// A chat that nobody has asked for in this time is forgotten.
const FORGET_AFTER: Duration = Duration::from_mins(1);

impl Readable for Head {
    fn is_under_way(&self) -> bool {
        self.chat.status == Status::WaitingForChatbot
    }

    fn is_watched(&self) -> bool {
        true
    }

    fn bytes(&self) -> usize {
        let chat = &self.chat;
        let texts = [&chat.agent, &chat.model, &chat.summary];
        let texts = texts.into_iter().flatten().map(String::len).sum::<usize>();
        size_of::<Self>() + chat.title.len() + texts
    }
}

/// Remembers the heads of the chats that are polled.
pub struct Heads {
    store: Arc<Store>,
    heads: Remembered<ChatId, Head>,
}

impl Heads {
    /// `interval`: how old the head of a chat that waits for its answer may be, where other nodes write too.
    #[must_use]
    pub fn new(store: Arc<Store>, interval: Duration) -> Self {
        let is_alone = store.is_single_process();
        Self {
            store,
            heads: Remembered::new(interval, is_alone, MAX_BYTES, FORGET_AFTER),
        }
    }

    /// The chat's head. None if there is no such chat.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn read(&self, id: ChatId) -> Result<Option<Arc<Head>>, StoreError> {
        let watch = |_: Option<&Head>| Some(self.store.watch(id));
        let look = |_| self.store.head(id);
        self.heads.read(id, watch, look).await
    }

    /// The chat's head, if it is remembered and sure to be so still.
    #[must_use]
    pub fn at_hand(&self, id: ChatId) -> Option<Arc<Head>> {
        self.heads.at_hand(id)
    }

    /// The chat's head as it is now: somebody knows that what is remembered is behind.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn read_again(&self, id: ChatId) -> Result<Option<Arc<Head>>, StoreError> {
        self.heads.forget(id);
        self.read(id).await
    }
}

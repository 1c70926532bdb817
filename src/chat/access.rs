//! Proven access: a value of these types exists only for who may have it.

use std::sync::Arc;

use entity::chat::Model as Chat;
use entity::{ChatId, OwnerId};

use super::{Chats, SharedChat};
use crate::store::{Head, StoreError};

/// A chat of the caller's own, as it was when access was proved.
#[derive(Clone, Debug)]
pub struct OwnedChat {
    chat: Chat,
}

/// A chat that the caller may read, whether it is theirs or they have a link to it.
pub trait ReadableChat {
    /// The chat as it was when access was proved.
    fn row(&self) -> &Chat;

    /// What is remembered of a chat that is polled, which may be a little behind.
    fn head(&self) -> Option<&Arc<Head>> {
        None
    }
}

/// A chat of the caller's own that they poll: what is remembered of it.
#[derive(Clone, Debug)]
pub struct WatchedChat {
    head: Arc<Head>,
}

/// A chat that is polled, and can be looked at again by the same right.
pub trait PolledChat: ReadableChat + Sync + Sized {
    /// The chat as it is now.
    fn again(&self, chats: &Chats) -> impl Future<Output = Result<Self, AccessError>> + Send;
}

impl PolledChat for WatchedChat {
    async fn again(&self, chats: &Chats) -> Result<Self, AccessError> {
        chats
            .watch(self.head.chat.owner_id, self.head.chat.id)
            .await
    }
}

impl WatchedChat {
    fn of(owner: OwnerId, head: Option<Arc<Head>>) -> Option<Self> {
        let head = head.filter(|head| head.chat.owner_id == owner)?;
        Some(Self { head })
    }
}

impl ReadableChat for WatchedChat {
    fn row(&self) -> &Chat {
        &self.head.chat
    }

    fn head(&self) -> Option<&Arc<Head>> {
        Some(&self.head)
    }
}

impl ReadableChat for OwnedChat {
    fn row(&self) -> &Chat {
        &self.chat
    }
}

/// Who reads a message: an owner, in all chats of theirs, or whoever has a link, in one chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader {
    owner: OwnerId,
    only: Option<ChatId>,
}

impl Reader {
    /// The owner of all that may be read.
    pub(super) fn owner(self) -> OwnerId {
        self.owner
    }

    /// Whether what is in this chat of this owner's may be read.
    pub(super) fn may_read(self, owner: OwnerId, chat: ChatId) -> bool {
        owner == self.owner && self.only.is_none_or(|only| only == chat)
    }
}

impl From<OwnerId> for Reader {
    fn from(owner: OwnerId) -> Self {
        Self { owner, only: None }
    }
}

impl From<&SharedChat> for Reader {
    fn from(chat: &SharedChat) -> Self {
        Self {
            owner: chat.row().owner_id,
            only: Some(chat.id()),
        }
    }
}

impl OwnedChat {
    #[must_use]
    pub fn row(&self) -> &Chat {
        &self.chat
    }

    pub(super) fn id(&self) -> ChatId {
        self.chat.id
    }
}

#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// There is none, or it is somebody else's: the caller cannot tell which.
    #[error("there is no such chat")]
    NotFound,
    #[error("the chat could not be read")]
    Store(#[from] StoreError),
}

impl Chats {
    /// Proves that the chat is the owner's.
    ///
    /// # Errors
    /// If it is not, or there is none.
    pub async fn own(&self, owner: OwnerId, id: ChatId) -> Result<OwnedChat, AccessError> {
        let chat = self.store.chat(owner, id).await?;
        chat.map(|chat| OwnedChat { chat })
            .ok_or(AccessError::NotFound)
    }

    /// The same for a poll, which reads the chat only when it has changed.
    ///
    /// # Errors
    /// As [`Self::own`].
    pub async fn watch(&self, owner: OwnerId, id: ChatId) -> Result<WatchedChat, AccessError> {
        let head = self.heads.read(id).await?;
        WatchedChat::of(owner, head).ok_or(AccessError::NotFound)
    }

    /// The same, if the chat has not changed since it was read.
    pub fn watched_at_hand(&self, owner: OwnerId, id: ChatId) -> Option<WatchedChat> {
        WatchedChat::of(owner, self.heads.at_hand(id))
    }
}

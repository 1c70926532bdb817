//! Proven access: a value of these types exists only for who may have it.

use entity::chat::Model as Chat;
use entity::{ChatId, OwnerId};

use super::Chats;
use crate::store::StoreError;

/// A chat of the caller's own, as it was when access was proved.
#[derive(Clone, Debug)]
pub struct OwnedChat {
    chat: Chat,
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
}

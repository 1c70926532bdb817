//! Bringing back a chat that was deleted. `retention.rs` erases those that nobody has brought back in time.

use entity::chat::Model as Chat;
use entity::{ChatId, OwnerId, Timestamp};

use super::{Chats, Once, OnceError};
use crate::store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// It never was, was not deleted, or was erased: the caller cannot tell which.
    #[error("there is no such chat to bring back")]
    NotFound,
    #[error(transparent)]
    Once(#[from] OnceError),
    #[error("the chat could not be brought back")]
    Store(#[from] StoreError),
}

impl Chats {
    /// Brings back a chat that was deleted a moment ago, with all that was in it. What ran in it
    /// stays stopped.
    ///
    /// # Errors
    /// If there is no such chat of the owner's to bring back, or the database fails.
    pub async fn restore_chat(
        &self,
        owner: OwnerId,
        id: ChatId,
        once: Option<&Once>,
    ) -> Result<Chat, RestoreError> {
        let since = self.undo_begins(self.clock.now());
        self.once(once, |tx| async move {
            let chat = tx.restore_chat(owner, id, since).await?;
            chat.ok_or(RestoreError::NotFound)
        })
        .await
    }

    /// The title of a chat of the owner's that was deleted, as long as it can be brought back.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn deleted_title(
        &self,
        owner: OwnerId,
        id: ChatId,
    ) -> Result<Option<String>, StoreError> {
        let since = self.undo_begins(self.clock.now());
        self.store.deleted_title(owner, id, since).await
    }

    /// What was deleted after this can be brought back at `now`.
    pub(super) fn undo_begins(&self, now: Timestamp) -> Timestamp {
        let ms = i64::try_from(self.rules().settings.undo.as_millis()).unwrap_or(i64::MAX);
        now.plus_ms(-ms)
    }
}

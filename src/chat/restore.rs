//! Bringing back a chat that was deleted, and erasing those that nobody has brought back in time.

use entity::chat::Model as Chat;
use entity::{ChatId, OwnerId, Timestamp};

use super::{Chats, Once, OnceError};
use crate::store::StoreError;

/// Chats that are erased in one go, so that nothing else waits long; each in a transaction of its own.
const BATCH: u64 = 100;

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

    /// Erases chats that can no longer be brought back; what is left over is erased the next time.
    pub(super) async fn erase_deleted(&self, now: Timestamp) -> Result<(), StoreError> {
        let before = self.undo_begins(now);
        let mut erased = 0_u64;
        for id in self.store.chats_to_erase(before, BATCH).await? {
            let done = self
                .store
                .tx(|tx| async move { tx.erase_expired_chat(id, before).await })
                .await;
            match done {
                Ok(is_erased) => erased += u64::from(is_erased),
                // The others are not kept for it.
                Err(error) => {
                    tracing::error!(%error, chat = %id, "a deleted chat could not be erased");
                }
            }
        }
        if erased > 0 {
            tracing::info!(erased, "erased chats that were deleted");
        }
        Ok(())
    }

    /// What was deleted after this can be brought back at `now`.
    fn undo_begins(&self, now: Timestamp) -> Timestamp {
        let ms = i64::try_from(self.settings.undo.as_millis()).unwrap_or(i64::MAX);
        now.plus_ms(-ms)
    }
}

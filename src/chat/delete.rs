//! Deleting a chat, and deleting a message.

use entity::chat_message::Role;
use entity::{MessageId, OwnerId};

use super::read::is_written;
use super::{Chats, OwnedChat};
use crate::ledger::Stop;
use crate::store::{Advance, StoreError};

#[derive(Debug, thiserror::Error)]
pub enum DeleteChatError {
    #[error("the chat could not be deleted")]
    Store(#[from] StoreError),
}

#[derive(Debug, thiserror::Error)]
pub enum DeleteMessageError {
    #[error("there is no such message")]
    NotFound,
    #[error("this answer is still being written; delete it when it is finished")]
    StillWritten,
    #[error("the message could not be deleted")]
    Store(#[from] StoreError),
}

impl Chats {
    /// Deletes the chat with all that is in it. Answers that run in it are stopped; what they
    /// would still write finds no row any more.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn delete_chat(&self, chat: OwnedChat) -> Result<(), DeleteChatError> {
        let id = chat.id();
        self.store
            .tx(|tx| async move { tx.delete_chat(id).await })
            .await?;
        self.ledgers.stop_chat(id, Stop::Cancel);
        Ok(())
    }

    /// Deletes a message: its text goes, its UUID stays a valid cursor. A user message that is
    /// still queued is taken back before it is answered.
    ///
    /// # Errors
    /// If there is no such message, it is an answer that is being written, or the database fails.
    pub async fn delete_message(
        &self,
        owner: OwnerId,
        id: MessageId,
    ) -> Result<(), DeleteMessageError> {
        let message = self.store.message(owner, id).await?;
        let message = message.ok_or(DeleteMessageError::NotFound)?;
        let (chat, request, now) = (message.chat_id, message.request_id, self.clock.now());
        self.store
            .tx(|tx| async move {
                // The request before the chat, as a claim locks them.
                if let (Role::User, Some(request)) = (message.role, request) {
                    tx.withdraw_request(request, now).await?;
                }
                let advance = Advance {
                    messages: 0,
                    status: None,
                    now,
                };
                let chat = tx.advance_chat(chat, advance).await?;
                let chat = chat.ok_or(DeleteMessageError::NotFound)?;
                // Read again under the chat's lock: it may have been taken up meanwhile.
                let message = tx
                    .message(id)
                    .await?
                    .filter(|message| message.deleted_at.is_none())
                    .ok_or(DeleteMessageError::NotFound)?;
                if is_written(&message) {
                    return Err(DeleteMessageError::StillWritten);
                }
                tx.bury_message(&message, chat.revision, now).await?;
                Ok(())
            })
            .await?;
        self.announce();
        Ok(())
    }
}

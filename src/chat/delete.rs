//! Deleting a chat, and deleting a message.

use entity::chat_message::Role;
use entity::{MessageId, OwnerId};

use super::end::End;
use super::read::is_written;
use super::{Chats, MAX_STALE, OwnedChat};
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
    /// Deletes the chat with all that is in it. An answer that runs in it is ended first: what it
    /// used is not forgotten.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn delete_chat(&self, chat: OwnedChat) -> Result<(), DeleteChatError> {
        let id = chat.id();
        for _ in 0..MAX_STALE {
            let mut active = self.store.active_requests(id).await?;
            active.retain(|request| request.started_at.is_some());
            let cut = match active.into_iter().next() {
                Some(request) => Some(self.cut(request).await?),
                None => None,
            };
            let cut_here = cut.as_ref();
            let deleted: Result<bool, StoreError> = self
                .store
                .tx(|tx| async move {
                    if let Some(cut) = cut_here {
                        let ending = cut.ending(End::Cancelled);
                        let ended = self.end_answer(&tx, &cut.request, ending).await?;
                        ended.ok_or(StoreError::Stale)?;
                    }
                    tx.delete_chat(id).await
                })
                .await;
            match deleted {
                Err(StoreError::Stale) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => {
                    if let Some(cut) = cut {
                        cut.done(self);
                    }
                    return Ok(());
                }
            }
        }
        Err(StoreError::Stale.into())
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

//! Deleting a chat, and deleting a message.

use entity::chat::Model as Chat;
use entity::chat_message::Model as Message;
use entity::llm_request::Model as Request;
use entity::{MessageId, OwnerId};

use super::end::{Cut, End};
use super::read::is_written;
use super::{Chats, MAX_STALE, OwnedChat};
use crate::store::{Advance, StoreError, Tx};

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

/// Whether a chat that goes can be brought back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Removal {
    /// For as long as the configuration says.
    CanBeUndone,
    ForGood,
}

impl Chats {
    /// Deletes the chat with all that is in it. For a while it can be brought back; to everybody
    /// else it is gone at once. What runs in it is ended first, for what it used is not forgotten,
    /// and what waits is taken back.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn delete_chat(&self, chat: OwnedChat) -> Result<(), DeleteChatError> {
        Ok(self.remove_chat(chat.row(), Removal::CanBeUndone).await?)
    }

    /// The same, whoever asks for it.
    pub(super) async fn remove_chat(
        &self,
        chat: &Chat,
        removal: Removal,
    ) -> Result<(), StoreError> {
        for _ in 0..MAX_STALE {
            let mut cuts = Vec::new();
            for request in self.store.active_requests(chat.id).await? {
                cuts.push(self.cut(request).await?);
            }
            let cuts_here = &cuts;
            let deleted = self
                .store
                .tx(|tx| async move { self.remove_chat_in(&tx, chat, removal, cuts_here).await })
                .await;
            match deleted {
                Err(StoreError::Stale) => self.let_others_pass().await,
                Err(error) => return Err(error),
                Ok(()) => {
                    for cut in cuts {
                        cut.done(self);
                    }
                    self.forget_answers(chat.id).await;
                    return Ok(());
                }
            }
        }
        Err(StoreError::Stale)
    }

    /// The requests before the chat, as a claim locks them.
    async fn remove_chat_in(
        &self,
        tx: &Tx,
        chat: &Chat,
        removal: Removal,
        cuts: &[Cut],
    ) -> Result<(), StoreError> {
        let id = chat.id;
        let active = tx.lock_active_requests(id).await?;
        let is_known = |request: &Request| cuts.iter().any(|cut| cut.request.id == request.id);
        if !active.iter().all(is_known) {
            // Sent in this moment.
            return Err(StoreError::Stale);
        }
        for cut in cuts {
            let ended = self.end_answer(tx, &cut.request, cut.ending(End::Cancelled));
            ended.await?.ok_or(StoreError::Stale)?;
        }
        tx.forget_keys(chat.owner_id, id).await?;
        match removal {
            Removal::CanBeUndone if self.rules().settings.undo.is_zero() => {
                tx.erase_chat(id).await?;
                self.sweeper.call();
                return Ok(());
            }
            Removal::CanBeUndone => tx.mark_deleted(id, self.clock.now()).await?,
            Removal::ForGood => tx.condemn_chat(id).await?,
        };
        if tx.active_requests(id).await?.is_empty() {
            Ok(())
        } else {
            // Somebody sent one before the chat's row was ours.
            Err(StoreError::Stale)
        }
    }

    /// Deletes a message: its text goes, its UUID stays a valid cursor. An answer to it that is
    /// being written, or waits to be, is stopped first.
    ///
    /// # Errors
    /// If there is no such message, it is an answer that is being written, or the database fails.
    pub async fn delete_message(
        &self,
        owner: OwnerId,
        id: MessageId,
    ) -> Result<(), DeleteMessageError> {
        for _ in 0..MAX_STALE {
            let message = self.store.message(owner, id).await?;
            let message = &message.ok_or(DeleteMessageError::NotFound)?;
            let mut active = self.store.active_requests(message.chat_id).await?;
            active.retain(|request| request.user_message_id == id);
            let cut = match active.into_iter().next() {
                Some(request) => Some(self.cut(request).await?),
                None => None,
            };
            let cut_here = cut.as_ref();
            let deleted = self
                .store
                .tx(|tx| async move { self.delete_message_in(&tx, message, cut_here).await })
                .await;
            match deleted {
                Err(DeleteMessageError::Store(StoreError::Stale)) => self.let_others_pass().await,
                Err(error) => return Err(error),
                Ok(()) => {
                    if let Some(cut) = cut {
                        cut.done(self);
                    }
                    self.forget_answers(message.chat_id).await;
                    self.announce();
                    return Ok(());
                }
            }
        }
        Err(StoreError::Stale.into())
    }

    async fn delete_message_in(
        &self,
        tx: &Tx,
        before: &Message,
        cut: Option<&Cut>,
    ) -> Result<(), DeleteMessageError> {
        // The request before the chat, as a claim locks them.
        if let Some(cut) = cut {
            let ended = self.end_answer(tx, &cut.request, cut.ending(End::Cancelled));
            ended.await?.ok_or(StoreError::Stale)?;
        }
        let now = self.clock.now();
        let chat = tx.advance_chat(before.chat_id, Advance::touch(now)).await?;
        let chat = chat.ok_or(DeleteMessageError::NotFound)?;
        // Read again under the chat's lock: it may have been taken up meanwhile.
        let message = tx
            .message(before.id)
            .await?
            .filter(|message| message.deleted_at.is_none())
            .ok_or(DeleteMessageError::NotFound)?;
        if is_written(&message) {
            return Err(DeleteMessageError::StillWritten);
        }
        let active = tx.active_requests(chat.id).await?;
        if active
            .iter()
            .any(|request| request.user_message_id == before.id)
        {
            return Err(StoreError::Stale.into());
        }
        tx.bury_message(&message, chat.revision, now).await?;
        Ok(())
    }
}

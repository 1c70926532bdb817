//! Other people's chats, for administrators: only where the configuration lets them look, and never
//! without a note in the audit log.

use entity::chat::Model as Chat;
use entity::{ChatId, OwnerId};

use super::{ChatList, Chats, ListError, PageCursor, ReadableChat};
use crate::store::{Actor, StoreError};

/// Somebody's chat that an administrator looks at, which has been noted.
#[derive(Clone, Debug)]
pub struct InspectedChat {
    chat: Chat,
}

impl ReadableChat for InspectedChat {
    fn row(&self) -> &Chat {
        &self.chat
    }
}

#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    #[error("administrators of this server do not read other people's chats")]
    NotHere,
    #[error("there is no such chat")]
    NoSuchChat,
    #[error("there is no such user")]
    NoSuchUser,
    #[error(transparent)]
    List(#[from] ListError),
    #[error("the chat could not be read")]
    Store(#[from] StoreError),
}

impl Chats {
    /// Proves that an administrator may read the chat, and notes that they do. Who calls this has proved that
    /// it is one.
    ///
    /// # Errors
    /// If administrators do not read chats here, there is no such chat, or the database fails.
    pub async fn inspect(&self, id: ChatId, actor: &Actor) -> Result<InspectedChat, InspectError> {
        self.let_inspect()?;
        let now = self.clock.now();
        let chat = self
            .store
            .tx(|tx| async move {
                let chat = tx.chat(id).await?;
                if chat.is_some() {
                    tx.audit(actor, "chat.inspect", id, now).await?;
                }
                Ok::<_, StoreError>(chat)
            })
            .await?;
        chat.map(|chat| InspectedChat { chat })
            .ok_or(InspectError::NoSuchChat)
    }

    /// A page of a user's chats, as [`Chats::list`] has them, for an administrator, which is noted.
    ///
    /// # Errors
    /// If administrators do not read chats here, there is no such user, or the database fails.
    pub async fn inspect_list(
        &self,
        owner: OwnerId,
        after: Option<PageCursor>,
        limit: Option<u64>,
        actor: &Actor,
    ) -> Result<ChatList, InspectError> {
        self.let_inspect()?;
        let user = self.store.user(owner).await?;
        user.ok_or(InspectError::NoSuchUser)?;
        let now = self.clock.now();
        let noted: Result<(), StoreError> = self
            .store
            .tx(|tx| async move { tx.audit(actor, "chats.inspect", owner, now).await })
            .await;
        noted?;
        Ok(self.list(owner, None, after, limit).await?)
    }

    fn let_inspect(&self) -> Result<(), InspectError> {
        if self.rules().settings.admins_read_chats {
            Ok(())
        } else {
            Err(InspectError::NotHere)
        }
    }
}

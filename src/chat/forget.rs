//! Forgetting a user: all that is theirs is erased, and at last they are.
//!
//! It begins with a mark, under which they can do nothing more; whatever happens to the process
//! afterwards, the next repair goes on where it stopped. So each step looks for what is still there,
//! and may be taken twice.

use entity::{OwnerId, Timestamp};

use super::delete::Removal;
use super::{Chats, MAX_STALE};
use crate::fault;
use crate::store::{Actor, Erased, StoreError};

/// Chats that are looked for at once.
const BATCH: u64 = 50;
/// Chats, and pieces of chats, that are seen to in one go: the rest is left to the repair, so that nobody
/// waits for minutes.
const MAX_AT_ONCE: usize = 500;

/// How far the erasing of a user has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgotten {
    /// Nothing is left.
    All,
    /// There was too much for one go: the rest is erased in the background.
    Underway,
}

#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    #[error("there is no such user")]
    NoSuchUser,
    #[error("the user could not be erased")]
    Store(#[from] StoreError),
}

impl Chats {
    /// Erases the user with all that is theirs: chats, whatever runs in them, what they used, tokens,
    /// links. Their sessions end. The local user stays, with nothing that was theirs. To be called again
    /// while it says that it is under way, or left to the repair.
    ///
    /// # Errors
    /// If there is no such user, or the database fails.
    pub async fn forget_user(
        &self,
        owner: OwnerId,
        actor: &Actor,
    ) -> Result<Forgotten, ForgetError> {
        let marked = self.store.condemn(owner, actor, self.clock.now()).await?;
        marked.ok_or(ForgetError::NoSuchUser)?;
        fault::point("forget.marked");
        Ok(self.finish_forgetting(owner).await?)
    }

    /// Erases what is left of a user that is marked.
    pub(super) async fn finish_forgetting(&self, owner: OwnerId) -> Result<Forgotten, StoreError> {
        let mut left = MAX_AT_ONCE;
        self.condemn_chats(owner, &mut left).await?;
        self.erase_chats(owner, &mut left).await?;
        if left == 0 {
            return Ok(Forgotten::Underway);
        }
        fault::point("forget.erased");
        let now = self.clock.now();
        loop {
            let rows = self
                .store
                .tx(|tx| async move { tx.erase_rows_of(owner, now).await });
            let has_more: Result<bool, StoreError> = rows.await;
            if !has_more? {
                break;
            }
        }
        self.clear_archives(now).await?;
        let is_gone: bool = self
            .store
            .tx(|tx| async move { tx.erase_user(owner).await })
            .await?;
        tracing::info!(user = %owner, is_gone, "erased a user with all that was theirs");
        Ok(if is_gone {
            Forgotten::All
        } else {
            Forgotten::Underway
        })
    }

    /// Stops what runs in the user's chats and takes them out of sight.
    async fn condemn_chats(&self, owner: OwnerId, left: &mut usize) -> Result<(), StoreError> {
        while *left > 0 {
            let chats = self.store.chats_to_condemn(owner, BATCH).await?;
            if chats.is_empty() {
                break;
            }
            for chat in &chats {
                *left = left.saturating_sub(1);
                self.remove_chat(chat, Removal::ForGood).await?;
            }
        }
        Ok(())
    }

    async fn erase_chats(&self, owner: OwnerId, left: &mut usize) -> Result<(), StoreError> {
        for _ in 0..MAX_STALE {
            let chats = self.store.chats_left(owner, BATCH).await?;
            if chats.is_empty() {
                break;
            }
            for chat in chats {
                while *left > 0 {
                    *left -= 1;
                    // Whatever was condemned was so at the beginning of time.
                    let erased = self.erase_piece(chat, Timestamp(i64::MIN)).await?;
                    if erased != Erased::Piece {
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}

//! Links by which somebody else may read a chat: made, listed, revoked, and opened by whoever has one.
//!
//! A link is its secret: nobody is asked who they are. So the secret is shown once and stored nowhere, and each
//! request looks anew whether the link still works.

use entity::chat::Model as Chat;
use entity::share::Model as Share;
use entity::{ChatId, OwnerId, ShareId, Timestamp};
use secrecy::SecretString;

use super::access::{PolledChat, ReadableChat};
use super::{AccessError, Chats, OwnedChat};
use crate::model::secret::{self, NewSecret, NoRandomness};
use crate::store::{Actor, StoreError};

/// What all secrets of links begin with.
pub const SHARE_PREFIX: &str = "pls_";
/// Links to one chat that work at the same time.
const MAX_SHARES: u64 = 100;
/// Links in a list; of those that work no more, the oldest are left out.
const MAX_LISTED: u64 = 200;
/// The end of the year 9999, the last that RFC 3339 can write.
const LAST_EXPIRY: Timestamp = Timestamp(253_402_300_799_999);

/// How long a link is to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShareUntil {
    Revoked,
    /// So many milliseconds from now on.
    In(i64),
    At(Timestamp),
}

/// A link that has just been made, with the secret that nobody will be shown again.
#[derive(Debug)]
pub struct MadeShare {
    pub share: Share,
    pub secret: SecretString,
}

/// A chat that the caller may read by a link, as it was when the link was looked at.
#[derive(Clone, Debug)]
pub struct SharedChat {
    chat: Chat,
}

impl ReadableChat for SharedChat {
    fn row(&self) -> &Chat {
        &self.chat
    }
}

/// Whether the link works still is whoever's business who has its secret.
impl PolledChat for SharedChat {
    async fn again(&self, chats: &Chats) -> Result<Self, AccessError> {
        let chat = chats.store.chat(self.chat.owner_id, self.chat.id).await?;
        chat.map(|chat| Self { chat }).ok_or(AccessError::NotFound)
    }
}

impl SharedChat {
    pub(super) fn id(&self) -> ChatId {
        self.chat.id
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    #[error("a link expires in the future, at the latest in the year 9999")]
    Expiry,
    #[error("this chat has {MAX_SHARES} links that work; revoke one of them")]
    TooMany,
    #[error("the chat is gone")]
    ChatGone,
    #[error(transparent)]
    Random(#[from] NoRandomness),
    #[error("the link could not be stored")]
    Store(#[from] StoreError),
}

#[derive(Debug, thiserror::Error)]
pub enum SharesError {
    #[error("the links could not be read")]
    Store(#[from] StoreError),
}

#[derive(Debug, thiserror::Error)]
pub enum RevokeShareError {
    #[error("there is no such link")]
    NotFound,
    #[error("the link could not be revoked")]
    Store(#[from] StoreError),
}

impl Chats {
    /// Makes a link to the chat. It is not made twice for one key: the answer has the secret, and is kept nowhere.
    ///
    /// # Errors
    /// If the expiry is not in the future, there are too many links, the chat is gone, there is no
    /// randomness, or the database fails.
    pub async fn share_chat(
        &self,
        chat: &OwnedChat,
        until: ShareUntil,
        actor: &Actor,
    ) -> Result<MadeShare, ShareError> {
        let now = self.clock.now();
        let made = NewSecret::generate(SHARE_PREFIX)?;
        let share = &Share {
            id: ShareId::generate(),
            chat_id: chat.id(),
            head: made.head,
            hash: made.hash,
            created_at: now,
            expires_at: expiry(until, now)?,
            revoked_at: None,
        };
        self.store
            .tx(|tx| async move {
                // Under the chat's lock, so that two at once do not make one too many.
                let chat = tx.lock_chat(share.chat_id).await?;
                let chat = chat.ok_or(ShareError::ChatGone)?;
                if tx.count_shares(chat.id, now).await? >= MAX_SHARES {
                    return Err(ShareError::TooMany);
                }
                tx.insert_share(share.clone()).await?;
                tx.audit(actor, "share.create", share.id, now).await?;
                Ok(())
            })
            .await?;
        Ok(MadeShare {
            share: share.clone(),
            secret: made.text.into(),
        })
    }

    /// The links to the chat: those that work come first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn shares(&self, chat: &OwnedChat) -> Result<Vec<Share>, SharesError> {
        let (id, now) = (chat.id(), self.clock.now());
        Ok(self.store.shares_of(id, now, MAX_LISTED).await?)
    }

    /// Ends a link, from whose next request on it leads nowhere. To end it once more changes nothing. The chat that
    /// it led to.
    ///
    /// # Errors
    /// If there is no such link to a chat of the owner's, or the database fails.
    pub async fn revoke_share(
        &self,
        owner: OwnerId,
        id: ShareId,
        actor: &Actor,
    ) -> Result<ChatId, RevokeShareError> {
        let share = self.store.share(owner, id).await?;
        let share = share.ok_or(RevokeShareError::NotFound)?;
        let now = self.clock.now();
        self.store
            .tx(|tx| async move {
                if tx.revoke_share(id, now).await? {
                    tx.audit(actor, "share.revoke", id, now).await?;
                }
                Ok::<_, StoreError>(())
            })
            .await?;
        Ok(share.chat_id)
    }

    /// Proves that this is the secret of a link that works.
    ///
    /// # Errors
    /// If it is not: it never was, was revoked, has expired, or its chat was deleted.
    pub async fn open_share(&self, secret: &str) -> Result<SharedChat, AccessError> {
        if !secret.starts_with(SHARE_PREFIX) {
            return Err(AccessError::NotFound);
        }
        let hash = secret::hash(secret);
        let chat = self.store.shared_chat(&hash, self.clock.now()).await?;
        chat.map(|chat| SharedChat { chat })
            .ok_or(AccessError::NotFound)
    }
}

fn expiry(until: ShareUntil, now: Timestamp) -> Result<Option<Timestamp>, ShareError> {
    let at = match until {
        ShareUntil::Revoked => return Ok(None),
        ShareUntil::In(ms) => now.plus_ms(ms),
        ShareUntil::At(at) => at,
    };
    if at <= now || at > LAST_EXPIRY {
        return Err(ShareError::Expiry);
    }
    Ok(Some(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_expires_in_the_future_or_never() {
        let now = Timestamp(1_795_226_400_000);
        let at = |until| expiry(until, now).ok();
        assert_eq!(at(ShareUntil::Revoked), Some(None));
        assert_eq!(at(ShareUntil::In(1)), Some(Some(now.plus_ms(1))));
        assert_eq!(at(ShareUntil::At(LAST_EXPIRY)), Some(Some(LAST_EXPIRY)));
        for wrong in [
            ShareUntil::In(0),
            ShareUntil::In(-1),
            ShareUntil::In(i64::MAX),
            ShareUntil::At(now),
            ShareUntil::At(LAST_EXPIRY.plus_ms(1)),
        ] {
            assert_eq!(at(wrong), None, "{wrong:?}");
        }
    }
}

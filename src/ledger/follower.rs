//! Reading an answer that another node writes, through the database. What is read may lag behind
//! what the writing node has already shown.
//!
//! However many clients poll one message, it is read once per interval, and of its text only what
//! is new. What has ended is remembered only where nobody else could begin it again: [`Remembered`].

use std::sync::Arc;
use std::time::Duration;

use entity::chat_message::Status;
use entity::{MessageId, OwnerId};

use super::remembered::{Readable, Remembered};
use crate::store::{LedgerTexts, Store, StoreError, Watched};

/// Bytes of all messages that are remembered, at most.
const MAX_BYTES: u64 = 128 << 20;
/// A message that nobody has asked for in this time is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(10);
/// How often a message may change while it is being read.
const MAX_CHANGES: usize = 4;

/// A message as the database has it.
#[derive(Clone, Debug)]
pub struct Followed {
    pub message: entity::chat_message::Model,
    pub owner: OwnerId,
    /// What has been flushed of a pending answer; empty for any other message, whose text is in
    /// its row.
    pub texts: LedgerTexts,
    attempt: Option<i64>,
}

impl Readable for Followed {
    fn is_under_way(&self) -> bool {
        is_written(&self.message)
    }

    /// What is being written grows by flushes, which move no watch.
    fn is_watched(&self) -> bool {
        !is_written(&self.message)
    }

    fn bytes(&self) -> usize {
        let (message, texts) = (&self.message, &self.texts);
        let stored = message.content.len() + message.reasoning.len();
        size_of::<Self>() + stored + texts.text.len() + texts.reasoning.len()
    }
}

/// Follows the answers of other nodes.
pub struct Follower {
    store: Arc<Store>,
    followed: Remembered<MessageId, Followed>,
}

impl Follower {
    /// `interval`: how old what is given out may be, beyond the writing node's flush interval.
    #[must_use]
    pub fn new(store: Arc<Store>, interval: Duration) -> Self {
        let is_alone = store.is_single_process();
        Self {
            store,
            followed: Remembered::new(interval, is_alone, MAX_BYTES, FORGET_AFTER),
        }
    }

    /// How old what is given out may be, beyond the writing node's flush interval.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.followed.interval()
    }

    /// The message as the database has it, at most an interval ago. None if there is none.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn read(&self, id: MessageId) -> Result<Option<Arc<Followed>>, StoreError> {
        let watch = |before: Option<&Followed>| {
            let chat = before?.message.chat_id;
            Some(self.store.watch(chat))
        };
        let look = |before| async move {
            let looked = self.look(id, before).await?;
            Ok(looked.map(|(watched, texts)| Followed {
                message: watched.message,
                owner: watched.owner_id,
                texts,
                attempt: watched.attempt,
            }))
        };
        self.followed.read(id, watch, look).await
    }

    /// The message, if it is remembered and sure to be so still.
    #[must_use]
    pub fn at_hand(&self, id: MessageId) -> Option<Arc<Followed>> {
        self.followed.at_hand(id)
    }

    /// Forgets what was read: this node has just changed the message.
    pub fn forget(&self, id: MessageId) {
        self.followed.forget(id);
    }

    /// The chunks first and the row after them: had the answer been finished in between, its
    /// chunks might have been purged already, and a part of the text be taken for the whole.
    async fn look(
        &self,
        id: MessageId,
        before: Option<Arc<Followed>>,
    ) -> Result<Option<(Watched, LedgerTexts)>, StoreError> {
        let (mut known, mut texts) = match before {
            Some(seen) => {
                let message = &seen.message;
                let known = (message.request_id, message.edition, seen.attempt);
                (Some(known), seen.texts.clone())
            }
            None => (None, LedgerTexts::default()),
        };
        for _ in 0..MAX_CHANGES {
            if let Some((Some(request), _, Some(attempt))) = known {
                self.store
                    .read_ledger((request, attempt), &mut texts)
                    .await?;
            }
            let Some(watched) = self.store.watched_message(id).await? else {
                return Ok(None);
            };
            if !is_written(&watched.message) {
                return Ok(Some((watched, LedgerTexts::default())));
            }
            let message = &watched.message;
            let now = (message.request_id, message.edition, watched.attempt);
            if known == Some(now) {
                return Ok(Some((watched, texts)));
            }
            known = Some(now);
            texts = LedgerTexts::default();
        }
        Err(StoreError::Raced)
    }
}

/// Whether the text is still being written: a message of the user's has all of its own.
fn is_written(message: &entity::chat_message::Model) -> bool {
    message.status == Status::Pending && message.reply_to.is_some()
}

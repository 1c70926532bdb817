//! Reading an answer that another node writes, through the database. What is read may lag behind
//! what the writing node has already shown.
//!
//! However many clients poll one message, it is read once per interval, and of its text only what
//! is new. Nothing but a pending message is remembered: once it has ended, or is to be written
//! again, a client must not be told otherwise, or it would stop polling too early.

use std::sync::Arc;
use std::time::Duration;

use entity::chat_message::Status;
use entity::{MessageId, OwnerId};
use moka::sync::Cache;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::store::{LedgerTexts, Store, StoreError, Watched};

/// Messages remembered at most.
const MAX_FOLLOWED: u64 = 10_000;
/// A message that nobody has asked for in this time is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(10);
/// How long a message is not read again after the database was away: those who wait for it are
/// told so at once, and not one after the other.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);
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
}

/// Follows the answers of other nodes.
pub struct Follower {
    store: Arc<Store>,
    interval: Duration,
    followed: Cache<MessageId, Arc<Mutex<Place>>>,
}

/// What is remembered of one message.
#[derive(Default)]
struct Place {
    reading: Option<Reading>,
    failed_at: Option<Instant>,
}

/// What was read, and when.
struct Reading {
    begun: Instant,
    ended: Instant,
    attempt: Option<i64>,
    seen: Arc<Followed>,
}

impl Place {
    /// What was read, if it will do for somebody who asked then. What is pending may be a little
    /// old. What is not has to have been read after the question, for it may be asked for again.
    fn fit_for(&self, asked: Instant, interval: Duration) -> Option<Arc<Followed>> {
        let reading = self.reading.as_ref()?;
        let is_fit = if is_written(&reading.seen.message) {
            reading.begun.elapsed() < interval || asked <= reading.ended
        } else {
            asked <= reading.begun
        };
        is_fit.then(|| Arc::clone(&reading.seen))
    }
}

impl Follower {
    /// `interval`: how old what is given out may be, beyond the writing node's flush interval.
    #[must_use]
    pub fn new(store: Arc<Store>, interval: Duration) -> Self {
        Self {
            store,
            interval,
            followed: Cache::builder()
                .max_capacity(MAX_FOLLOWED)
                .time_to_idle(FORGET_AFTER)
                .build(),
        }
    }

    /// The message as the database has it, at most an interval ago. None if there is none.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn read(&self, id: MessageId) -> Result<Option<Arc<Followed>>, StoreError> {
        let asked = Instant::now();
        let place = self.followed.get_with(id, Arc::default);
        // Whoever comes while it is being read waits for that.
        let mut place = place.lock().await;
        if let Some(seen) = place.fit_for(asked, self.interval) {
            return Ok(Some(seen));
        }
        if place
            .failed_at
            .is_some_and(|at| at.elapsed() < PAUSE_AFTER_FAILURE)
        {
            return Err(StoreError::Away);
        }
        let begun = Instant::now();
        let looked = self.look(id, place.reading.take()).await;
        let failed = looked.as_ref().is_err_and(StoreError::is_unavailable);
        place.failed_at = failed.then(Instant::now);
        let Some((watched, texts)) = looked? else {
            self.followed.invalidate(&id);
            return Ok(None);
        };
        let seen = Arc::new(Followed {
            message: watched.message,
            owner: watched.owner_id,
            texts,
        });
        if !is_written(&seen.message) {
            self.followed.invalidate(&id);
        }
        place.reading = Some(Reading {
            begun,
            ended: Instant::now(),
            attempt: watched.attempt,
            seen: Arc::clone(&seen),
        });
        Ok(Some(seen))
    }

    /// Forgets what was read: this node has just changed the message.
    pub fn forget(&self, id: MessageId) {
        self.followed.invalidate(&id);
    }

    /// The chunks first and the row after them: had the answer been finished in between, its
    /// chunks might have been purged already, and a part of the text be taken for the whole.
    async fn look(
        &self,
        id: MessageId,
        before: Option<Reading>,
    ) -> Result<Option<(Watched, LedgerTexts)>, StoreError> {
        let (mut known, mut texts) = match before {
            Some(reading) => {
                let message = &reading.seen.message;
                let known = (message.request_id, message.edition, reading.attempt);
                (Some(known), reading.seen.texts.clone())
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

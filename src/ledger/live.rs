//! The text of a running answer in this node's memory. Polls of it touch no database.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use entity::{ChatId, MessageId, OwnerId, RequestId, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::model::delta::{Delta, Knowledge, delta, opening};
use crate::model::position::{Edition, Position};
use crate::model::text::storable;
use crate::store::Chunk;

/// What a live ledger is the text of.
#[derive(Clone, Copy, Debug)]
pub struct LiveIds {
    pub request: RequestId,
    pub attempt: i64,
    pub message: MessageId,
    pub chat: ChatId,
    pub owner: OwnerId,
    pub edition: Edition,
}

/// Why an answer is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Nobody wants it any more: end it as cancelled.
    Cancel,
    /// This node goes away, or has lost the request: drop everything and write nothing.
    Abandon,
}

/// The answer has reached the limit on its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer has reached {limit} bytes")]
pub struct LedgerFull {
    pub limit: usize,
}

/// One running answer.
pub struct Live {
    pub ids: LiveIds,
    limit: usize,
    text: Mutex<Text>,
    cancel: CancellationToken,
    abandon: CancellationToken,
}

#[derive(Default)]
struct Text {
    so_far: String,
    /// Bytes that are in the database.
    flushed: usize,
    first_token_at: Option<Timestamp>,
    /// The final text is on its way to the message: nothing is flushed any more.
    sealed: bool,
}

impl Live {
    /// Appends what the model said at `now`. Nothing of a piece that does not fit is taken.
    ///
    /// # Errors
    /// If the text would grow beyond the limit.
    pub fn append(&self, piece: &str, now: Timestamp) -> Result<(), LedgerFull> {
        let piece = storable(piece);
        let mut text = self.lock();
        if text.so_far.len() + piece.len() > self.limit {
            return Err(LedgerFull { limit: self.limit });
        }
        if text.first_token_at.is_none() && !piece.is_empty() {
            text.first_token_at = Some(now);
        }
        text.so_far.push_str(&piece);
        Ok(())
    }

    /// What a client at `position` gets.
    #[must_use]
    pub fn read(&self, position: Position) -> Delta {
        delta(
            position,
            self.ids.edition,
            &self.lock().so_far,
            Knowledge::Whole,
        )
    }

    /// The beginning of the text so far, at most `limit` bytes of it.
    #[must_use]
    pub fn opening(&self, limit: usize) -> Delta {
        opening(self.ids.edition, &self.lock().so_far, limit)
    }

    /// Ends the flushing and returns the text and when it began.
    #[must_use]
    pub fn seal(&self) -> (String, Option<Timestamp>) {
        let mut text = self.lock();
        text.sealed = true;
        (text.so_far.clone(), text.first_token_at)
    }

    /// Takes the flushing up again: the final text could not be stored.
    pub fn unseal(&self) {
        self.lock().sealed = false;
    }

    /// Tells the task that writes this answer to stop. The first reason given counts, but for
    /// `Abandon`, which goes before.
    pub fn stop(&self, why: Stop) {
        match why {
            Stop::Cancel => self.cancel.cancel(),
            Stop::Abandon => self.abandon.cancel(),
        }
    }

    /// Returns when the answer is to stop.
    pub async fn stopped(&self) -> Stop {
        tokio::select! {
            biased;
            () = self.abandon.cancelled() => Stop::Abandon,
            () = self.cancel.cancelled() => Stop::Cancel,
        }
    }

    /// Returns when the answer is to be dropped without being finished.
    pub async fn abandoned(&self) {
        self.abandon.cancelled().await;
    }

    /// What the database does not have yet.
    pub(super) fn unflushed(&self) -> Option<Chunk> {
        let text = self.lock();
        if text.sealed || text.flushed == text.so_far.len() {
            return None;
        }
        Some(Chunk {
            request: self.ids.request,
            attempt: self.ids.attempt,
            start_offset: i64::try_from(text.flushed).unwrap_or(i64::MAX),
            text: text.so_far[text.flushed..].to_owned(),
        })
    }

    /// Notes that `bytes` more are in the database.
    pub(super) fn mark_flushed(&self, bytes: usize) {
        self.lock().flushed += bytes;
    }

    /// A panic while the lock was held cannot have left half a character behind: pushing a `str`
    /// is all that is done under it.
    fn lock(&self) -> MutexGuard<'_, Text> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All answers that this node writes, by message.
pub struct Ledgers {
    limit: usize,
    live: RwLock<HashMap<MessageId, Arc<Live>>>,
}

impl Ledgers {
    /// `limit`: the longest answer in bytes of UTF-8.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            live: RwLock::default(),
        }
    }

    /// Opens the ledger of an answer that this node begins to write.
    pub fn open(&self, ids: LiveIds) -> Arc<Live> {
        let live = Arc::new(Live {
            ids,
            limit: self.limit,
            text: Mutex::default(),
            cancel: CancellationToken::new(),
            abandon: CancellationToken::new(),
        });
        self.write().insert(ids.message, Arc::clone(&live));
        live
    }

    /// The ledger of a message, if this node writes it.
    #[must_use]
    pub fn get(&self, message: MessageId) -> Option<Arc<Live>> {
        self.read().get(&message).cloned()
    }

    /// The ledgers of a chat's running answers.
    #[must_use]
    pub fn of_chat(&self, chat: ChatId) -> Vec<Arc<Live>> {
        let is_of_chat = |live: &&Arc<Live>| live.ids.chat == chat;
        self.read().values().filter(is_of_chat).cloned().collect()
    }

    /// Forgets a ledger: from now on the database answers for the message.
    pub fn close(&self, live: &Live) {
        let mut ledgers = self.write();
        // A later attempt's ledger may have taken the place.
        let is_same = ledgers
            .get(&live.ids.message)
            .is_some_and(|held| std::ptr::eq(Arc::as_ptr(held), live));
        if is_same {
            ledgers.remove(&live.ids.message);
        }
    }

    /// Tells all answers of a chat to stop.
    pub fn stop_chat(&self, chat: ChatId, why: Stop) {
        for live in self.of_chat(chat) {
            live.stop(why);
        }
    }

    /// Tells all answers to stop.
    pub fn stop_all(&self, why: Stop) {
        for live in self.all() {
            live.stop(why);
        }
    }

    /// All ledgers that are open now.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Live>> {
        self.read().values().cloned().collect()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<MessageId, Arc<Live>>> {
        self.live.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<MessageId, Arc<Live>>> {
        self.live.write().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The text of a running answer in this node's memory. Polls of it touch no database.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use entity::llm_attempt::CacheLookup;
use entity::token_ledger::Channel;
use entity::{ChatId, MessageId, Origin, OwnerId, RequestId, Timestamp};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::backlog::Backlog;
use super::stops::{Stop, Stops};
use super::track::Track;
use crate::model::delta::{Delta, Knowledge, delta, opening};
use crate::model::position::{Edition, Position};
use crate::model::text::storable;
use crate::model::usage::{Price, Usage};
use crate::store::{Chunk, Fence};

const CHANNELS: [Channel; 2] = [Channel::Text, Channel::Reasoning];

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

/// The answer has reached the limit on its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer has reached {limit} bytes")]
pub struct LedgerFull {
    pub limit: usize,
}

/// What is known of an answer at the moment when somebody ends it.
#[derive(Clone, Debug, Default)]
pub struct Sealed {
    pub text: String,
    pub reasoning: String,
    /// What of both the database does not have.
    pub unflushed: Vec<Chunk>,
    pub first_token_at: Option<Timestamp>,
    /// Who was asked.
    pub origin: Option<Origin>,
    /// What they cost.
    pub price: Option<Price>,
    /// What the response cache had to say.
    pub cache: Option<CacheLookup>,
    /// What the provider has reported so far.
    pub usage: Usage,
    /// What other calls took that this answer needed.
    pub extra: Usage,
    /// About how many tokens the model was sent.
    pub input_estimate: i64,
}

/// One running answer.
pub struct Live {
    pub ids: LiveIds,
    limit: usize,
    text: Mutex<Text>,
    backlog: Arc<Backlog>,
    leased_until: Mutex<Instant>,
    stops: Stops,
    grown: Arc<Notify>,
}

#[derive(Default)]
struct Text {
    said: Track,
    thought: Track,
    first_token_at: Option<Timestamp>,
    origin: Option<Origin>,
    price: Option<Price>,
    cache: Option<CacheLookup>,
    usage: Usage,
    extra: Usage,
    input_estimate: i64,
    /// Those who are about to store the final text. Meanwhile nothing is flushed, and what the
    /// model says is held back: nobody may read what will not have been said.
    seals: usize,
    /// Seals of those who do not know whether they have stored it. The next flush finds out.
    doubts: usize,
}

impl Text {
    fn track(&self, channel: Channel) -> &Track {
        match channel {
            Channel::Text => &self.said,
            Channel::Reasoning => &self.thought,
        }
    }

    fn track_mut(&mut self, channel: Channel) -> &mut Track {
        match channel {
            Channel::Text => &mut self.said,
            Channel::Reasoning => &mut self.thought,
        }
    }
}

impl Live {
    /// Appends what the model said or thought at `now`. Nothing of a piece that does not fit is
    /// taken.
    ///
    /// # Errors
    /// If the two texts together would grow beyond the limit.
    pub fn append(&self, channel: Channel, piece: &str, now: Timestamp) -> Result<(), LedgerFull> {
        let piece = storable(piece);
        let mut text = self.lock();
        if text.said.len() + text.thought.len() + piece.len() > self.limit {
            return Err(LedgerFull { limit: self.limit });
        }
        if text.first_token_at.is_none() && !piece.is_empty() {
            text.first_token_at = Some(now);
        }
        let is_held = text.seals > 0;
        text.track_mut(channel).append(&piece, is_held);
        self.backlog.add(piece.len());
        drop(text);
        if !is_held {
            self.grown.notify_waiters();
        }
        Ok(())
    }

    /// Wakes whoever waits for more text, or for the ledger's end, and keeps nothing for who comes later: who waits
    /// registers, and then reads.
    #[must_use]
    pub fn grown(&self) -> Arc<Notify> {
        Arc::clone(&self.grown)
    }

    /// Returns when there is room for more text that the database does not have yet.
    pub async fn room(&self) {
        self.backlog.room().await;
    }

    /// Notes who is asked, at which price, and about how many tokens they are sent.
    pub fn note_call(&self, origin: Origin, price: Option<Price>, input_estimate: i64) {
        let mut text = self.lock();
        text.origin = Some(origin);
        text.price = price;
        text.input_estimate = input_estimate;
    }

    /// Notes what the response cache had to say.
    pub fn note_cache(&self, found: CacheLookup) {
        let mut text = self.lock();
        text.cache = Some(found);
        if let Some(origin) = &mut text.origin {
            origin.cached = found == CacheLookup::Hit;
        }
    }

    /// Notes what the provider says that it has counted.
    pub fn note_usage(&self, usage: Usage) {
        let mut text = self.lock();
        text.usage = usage.or(text.usage);
    }

    /// Notes what another call took that this answer needed.
    pub fn note_extra(&self, usage: Usage) {
        self.lock().extra = usage;
    }

    /// Whether nothing has come of the model yet, not even a thought.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let text = self.lock();
        text.said.is_empty() && text.thought.is_empty()
    }

    /// Whether the model has said nothing yet, whatever it has thought.
    #[must_use]
    pub fn has_said_nothing(&self) -> bool {
        self.lock().said.is_empty()
    }

    fn bytes(&self) -> usize {
        let text = self.lock();
        text.said.len() + text.thought.len()
    }

    /// What a client at `position` of one of the two texts gets, at most `limit` bytes of it.
    #[must_use]
    pub fn read(&self, channel: Channel, position: Position, limit: usize) -> Delta {
        let text = self.lock();
        let so_far = &text.track(channel).so_far;
        let edition = self.ids.edition;
        delta(position, edition, so_far, Knowledge::Whole, limit)
    }

    /// The beginning of the text so far, at most `limit` bytes of it.
    #[must_use]
    pub fn opening(&self, channel: Channel, limit: usize) -> Delta {
        let text = self.lock();
        opening(self.ids.edition, &text.track(channel).so_far, limit)
    }

    /// Holds the text still, so that it can be stored as the final one by somebody who ends the
    /// answer from outside.
    #[must_use]
    pub fn seal(&self) -> Sealed {
        let mut text = self.lock();
        text.seals += 1;
        self.sealed(&text)
    }

    /// The same for the task that writes the answer: what was held back for somebody else's seal
    /// is part of what the model has said.
    #[must_use]
    pub fn seal_whole(&self) -> Sealed {
        let mut text = self.lock();
        text.seals += 1;
        let mut sealed = self.sealed(&text);
        sealed.text.push_str(&text.said.held);
        sealed.reasoning.push_str(&text.thought.held);
        for channel in CHANNELS {
            let track = text.track(channel);
            if !track.held.is_empty() {
                let held = self.chunk(channel, track.so_far.len(), &track.held);
                sealed.unflushed.push(held);
            }
        }
        sealed
    }

    fn sealed(&self, text: &Text) -> Sealed {
        let unflushed = CHANNELS.into_iter().flat_map(|channel| {
            let track = text.track(channel);
            let chunk = move |(start, end)| self.chunk(channel, start, &track.so_far[start..end]);
            track.unflushed().map(chunk)
        });
        Sealed {
            unflushed: unflushed.collect(),
            text: text.said.so_far.clone(),
            reasoning: text.thought.so_far.clone(),
            first_token_at: text.first_token_at,
            origin: text.origin.clone(),
            price: text.price,
            cache: text.cache,
            usage: text.usage,
            extra: text.extra,
            input_estimate: text.input_estimate,
        }
    }

    /// Takes one seal off again: the final text could not be stored.
    pub fn unseal(&self) {
        self.take_off(1);
    }

    /// Leaves a seal to the next flush to take off: whoever set it may have stored the final text
    /// without having been told so, and then nobody may read more than that.
    pub fn doubt(&self) {
        self.lock().doubts += 1;
    }

    pub(super) fn doubts(&self) -> usize {
        self.lock().doubts
    }

    /// The answer is still this node's, so that none of these doubts was founded.
    pub(super) fn settle(&self, doubts: usize) {
        if doubts > 0 {
            self.lock().doubts -= doubts;
            self.take_off(doubts);
        }
    }

    fn take_off(&self, seals: usize) {
        let mut text = self.lock();
        text.seals = text.seals.saturating_sub(seals);
        if text.seals == 0 {
            text.said.let_go();
            text.thought.let_go();
            drop(text);
            self.grown.notify_waiters();
        }
    }

    /// Tells the task that writes this answer to stop.
    pub fn stop(&self, why: Stop) {
        self.stops.add(why);
    }

    /// Returns when the answer is to stop, for the weightiest reason there is.
    pub async fn stopped(&self) -> Stop {
        self.stops
            .first_of(&[Stop::Ended, Stop::Abandon, Stop::LeaseLost])
            .await
    }

    /// Returns when it makes no sense to go on storing the end of this answer.
    pub async fn dropped(&self) -> Stop {
        self.stops.first_of(&[Stop::Ended, Stop::Abandon]).await
    }

    /// Notes how long the lease holds that was taken or renewed.
    pub fn leased_until(&self, end: Instant) {
        *self
            .leased_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = end;
    }

    /// How long ago the lease ran out, if it has.
    pub(super) fn overdue(&self) -> Option<std::time::Duration> {
        let end = *self
            .leased_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Instant::now().checked_duration_since(end)
    }

    /// The run that this is the text of.
    #[must_use]
    pub fn fence(&self) -> Fence {
        (self.ids.request, self.ids.attempt)
    }

    /// What the database does not have yet.
    pub(super) fn unflushed(&self) -> Vec<Chunk> {
        let mut text = self.lock();
        if text.seals > 0 {
            return Vec::new();
        }
        let next = |channel| {
            let track = text.track_mut(channel);
            let (start, end) = track.next_chunk()?;
            Some(self.chunk(channel, start, &track.so_far[start..end]))
        };
        CHANNELS.into_iter().filter_map(next).collect()
    }

    fn chunk(&self, channel: Channel, start: usize, text: &str) -> Chunk {
        Chunk {
            request: self.ids.request,
            attempt: self.ids.attempt,
            channel,
            start_offset: i64::try_from(start).unwrap_or(i64::MAX),
            text: text.to_owned(),
        }
    }

    /// Notes that the chunk is in the database.
    pub(super) fn mark_flushed(&self, chunk: &Chunk) {
        let bytes = chunk.text.len();
        self.lock().track_mut(chunk.channel).mark_flushed(bytes);
        self.backlog.remove(bytes);
    }

    /// A panic while the lock was held cannot have left half a character behind: pushing a `str`
    /// is all that is done under it.
    fn lock(&self) -> MutexGuard<'_, Text> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let text = self.text.get_mut().unwrap_or_else(PoisonError::into_inner);
        for track in [&text.said, &text.thought] {
            self.backlog.remove(track.len() - track.flushed);
        }
    }
}

/// What a node keeps in memory.
#[derive(Clone, Copy, Debug)]
pub struct LedgerLimits {
    /// The longest answer in bytes of UTF-8.
    pub answer_bytes: usize,
    /// Bytes of all answers that the database does not have yet.
    pub unflushed_bytes: usize,
}

/// All answers that this node writes, by message.
pub struct Ledgers {
    limits: LedgerLimits,
    backlog: Arc<Backlog>,
    live: RwLock<Open>,
}

/// The open ledgers: of thousands of chats a poll looks for one's own.
#[derive(Default)]
struct Open {
    by_message: HashMap<MessageId, Arc<Live>>,
    by_chat: HashMap<ChatId, Vec<Arc<Live>>>,
}

impl Open {
    /// The one whose place it takes.
    fn insert(&mut self, live: Arc<Live>) -> Option<Arc<Live>> {
        let before = self.remove(live.ids.message);
        let of_chat = self.by_chat.entry(live.ids.chat).or_default();
        of_chat.push(Arc::clone(&live));
        self.by_message.insert(live.ids.message, live);
        before
    }

    fn remove(&mut self, message: MessageId) -> Option<Arc<Live>> {
        let live = self.by_message.remove(&message)?;
        if let Some(of_chat) = self.by_chat.get_mut(&live.ids.chat) {
            of_chat.retain(|other| other.ids.message != message);
            if of_chat.is_empty() {
                self.by_chat.remove(&live.ids.chat);
            }
        }
        Some(live)
    }
}

impl Ledgers {
    #[must_use]
    pub fn new(limits: LedgerLimits) -> Self {
        Self {
            limits,
            backlog: Arc::new(Backlog::new(limits.unflushed_bytes)),
            live: RwLock::default(),
        }
    }

    /// Opens the ledger of an answer that this node begins to write, under a lease that holds
    /// until then.
    pub fn open(&self, ids: LiveIds, leased_until: Instant) -> Arc<Live> {
        let live = Arc::new(Live {
            ids,
            limit: self.limits.answer_bytes,
            text: Mutex::default(),
            backlog: Arc::clone(&self.backlog),
            leased_until: Mutex::new(leased_until),
            stops: Stops::default(),
            grown: Arc::default(),
        });
        let before = self.write().insert(Arc::clone(&live));
        if let Some(before) = before {
            // An earlier attempt that this node had lost, and has now taken up again.
            before.stop(Stop::Ended);
            before.grown.notify_waiters();
        }
        live
    }

    /// The ledger of a message, if this node writes it.
    #[must_use]
    pub fn get(&self, message: MessageId) -> Option<Arc<Live>> {
        self.read().by_message.get(&message).cloned()
    }

    /// The ledgers of a chat's running answers.
    #[must_use]
    pub fn of_chat(&self, chat: ChatId) -> Vec<Arc<Live>> {
        let open = self.read();
        open.by_chat.get(&chat).cloned().unwrap_or_default()
    }

    /// Forgets a ledger: from now on the database answers for the message.
    pub fn close(&self, live: &Live) {
        let mut ledgers = self.write();
        // A later attempt's ledger may have taken the place.
        let held = ledgers.by_message.get(&live.ids.message);
        if held.is_some_and(|held| std::ptr::eq(Arc::as_ptr(held), live)) {
            ledgers.remove(live.ids.message);
        }
        drop(ledgers);
        live.grown.notify_waiters();
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
        self.read().by_message.values().cloned().collect()
    }

    /// Bytes of text in memory: of all answers that are being written, and of those what the database does not have
    /// yet.
    #[must_use]
    pub fn bytes(&self) -> (usize, usize) {
        let held = self.all().iter().map(|live| live.bytes()).sum();
        (held, self.backlog.bytes())
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.read().by_message.len()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Open> {
        self.live.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Open> {
        self.live.write().unwrap_or_else(PoisonError::into_inner)
    }
}

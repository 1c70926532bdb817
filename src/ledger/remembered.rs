//! What was read of a chat or a message, remembered for as long as it is sure to be so: however many clients poll it,
//! it is read once.
//!
//! Where this process is the only one that writes, that is until it changes the chat ([`Watch`]). Where others write
//! too, what is under way may be a little old; what is not has to have been read after whoever gets it asked, for
//! another node may have begun it again, and its client would stop polling too early.

use std::hash::Hash;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use moka::sync::Cache;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::store::{StoreError, Watch};

/// What one entry takes besides what was read, in bytes.
const ENTRY_BYTES: u32 = 256;
/// How long nothing is read again after the database was away: those who wait for it are told so at once, and not
/// one after the other.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// What can be remembered.
pub(super) trait Readable {
    /// Whether it goes on by itself, so that a reader who sees it a little late misses nothing.
    fn is_under_way(&self) -> bool;
    /// Whether no transaction of this process changes it without its watch's moving.
    fn is_watched(&self) -> bool;
    /// Bytes that it takes.
    fn bytes(&self) -> usize;
}

/// One kind of thing, by its id.
pub(super) struct Remembered<K, V> {
    places: Cache<K, Arc<Place<V>>>,
    interval: Duration,
    /// Nobody else writes to the database.
    is_alone: bool,
}

/// Where a thing is kept. Whoever comes while it is being read waits for that.
struct Place<V> {
    reading: RwLock<Option<Reading<V>>>,
    failed_at: Mutex<Option<Instant>>,
    bytes: AtomicU32,
}

impl<V> Default for Place<V> {
    fn default() -> Self {
        Self {
            reading: RwLock::default(),
            failed_at: Mutex::default(),
            bytes: AtomicU32::new(ENTRY_BYTES),
        }
    }
}

/// What was read, and when.
struct Reading<V> {
    begun: Instant,
    ended: Instant,
    /// The watch, and where it stood before the reading began.
    watch: Option<(Arc<Watch>, u64)>,
    seen: Arc<V>,
}

impl<V> Clone for Reading<V> {
    fn clone(&self) -> Self {
        Self {
            begun: self.begun,
            ended: self.ended,
            watch: self.watch.clone(),
            seen: Arc::clone(&self.seen),
        }
    }
}

impl<V> Place<V> {
    fn set(&self, reading: Option<Reading<V>>) {
        *self.reading.write().unwrap_or_else(PoisonError::into_inner) = reading;
    }

    fn get(&self) -> Option<Reading<V>> {
        let reading = self.reading.read();
        reading.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<K, V> Remembered<K, V>
where
    K: Hash + Eq + Copy + Send + Sync + 'static,
    V: Readable + Send + Sync + 'static,
{
    /// One that keeps at most `bytes`, and forgets what nobody has asked for in `forget_after`. What is under way
    /// may be as old as `interval`.
    pub fn new(interval: Duration, is_alone: bool, bytes: u64, forget_after: Duration) -> Self {
        Self {
            places: Cache::builder()
                .max_capacity(bytes)
                .weigher(|_, place: &Arc<Place<V>>| place.bytes.load(Ordering::Relaxed))
                .time_to_idle(forget_after)
                .build(),
            interval,
            is_alone,
        }
    }

    /// How old what is under way may be.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// What `look` reads, or has read for somebody else. `look` gets what was read before, and the watch that was
    /// taken before it began comes from `watch`, once it is known of which chat.
    ///
    /// # Errors
    /// As `look`, or for a moment after the database was away.
    pub async fn read<F>(
        &self,
        id: K,
        watch: impl Fn(Option<&V>) -> Option<Arc<Watch>>,
        look: impl FnOnce(Option<Arc<V>>) -> F,
    ) -> Result<Option<Arc<V>>, StoreError>
    where
        F: Future<Output = Result<Option<V>, StoreError>>,
    {
        let place = self.places.get_with(id, Arc::default);
        if self.is_alone
            && let Some(seen) = unchanged(&place)
        {
            return Ok(Some(seen));
        }
        // Boxed, for most polls end before it.
        Box::pin(self.read_or_wait(id, place, watch, look)).await
    }

    async fn read_or_wait<F>(
        &self,
        id: K,
        place: Arc<Place<V>>,
        watch: impl Fn(Option<&V>) -> Option<Arc<Watch>>,
        look: impl FnOnce(Option<Arc<V>>) -> F,
    ) -> Result<Option<Arc<V>>, StoreError>
    where
        F: Future<Output = Result<Option<V>, StoreError>>,
    {
        let asked = Instant::now();
        let mut failed_at = place.failed_at.lock().await;
        let before = place.get();
        if let Some(reading) = &before
            && self.is_fit(reading, asked)
        {
            return Ok(Some(Arc::clone(&reading.seen)));
        }
        if failed_at.is_some_and(|at| at.elapsed() < PAUSE_AFTER_FAILURE) {
            return Err(StoreError::Away);
        }
        let before = before.map(|reading| reading.seen);
        let watch = watch(before.as_deref()).map(|watch| {
            let changes = watch.changes();
            (watch, changes)
        });
        let begun = Instant::now();
        let looked = look(before).await;
        let failed = looked.as_ref().is_err_and(StoreError::is_unavailable);
        *failed_at = failed.then(Instant::now);
        let Some(seen) = looked?.map(Arc::new) else {
            self.forget(id);
            return Ok(None);
        };
        let bytes = u32::try_from(seen.bytes()).unwrap_or(u32::MAX);
        let bytes = bytes.saturating_add(ENTRY_BYTES);
        let is_larger = place.bytes.swap(bytes, Ordering::Relaxed) != bytes;
        place.set(Some(Reading {
            begun,
            ended: Instant::now(),
            watch,
            seen: Arc::clone(&seen),
        }));
        if is_larger {
            // Weighed anew.
            drop(failed_at);
            self.places.insert(id, place);
        }
        Ok(Some(seen))
    }

    /// What was read, if it is sure to be so still.
    pub fn at_hand(&self, id: K) -> Option<Arc<V>> {
        if self.is_alone {
            unchanged(&*self.places.get(&id)?)
        } else {
            None
        }
    }

    /// Forgets what was read.
    pub fn forget(&self, id: K) {
        self.places.invalidate(&id);
    }

    fn is_fit(&self, reading: &Reading<V>, asked: Instant) -> bool {
        if reading.has_changed() {
            return false;
        }
        if self.is_alone && reading.seen.is_watched() && reading.is_unchanged() {
            return true;
        }
        if reading.seen.is_under_way() {
            reading.begun.elapsed() < self.interval || asked <= reading.ended
        } else {
            asked <= reading.begun
        }
    }
}

/// What was read, if it is sure to be so still for whoever is alone.
fn unchanged<V: Readable>(place: &Place<V>) -> Option<Arc<V>> {
    let reading = place.reading.read();
    let reading = reading.unwrap_or_else(PoisonError::into_inner);
    let reading = reading.as_ref()?;
    let is_fit = reading.seen.is_watched() && reading.is_unchanged();
    is_fit.then(|| Arc::clone(&reading.seen))
}

impl<V> Reading<V> {
    fn is_unchanged(&self) -> bool {
        let watch = self.watch.as_ref();
        watch.is_some_and(|(watch, changes)| watch.changes() == *changes)
    }

    fn has_changed(&self) -> bool {
        let watch = self.watch.as_ref();
        watch.is_some_and(|(watch, changes)| watch.changes() != *changes)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use entity::ChatId;

    use super::*;
    use crate::store::{Store, StoreSettings};

    const INTERVAL: Duration = Duration::from_millis(100);

    struct Thing {
        number: u32,
        is_under_way: bool,
    }

    impl Readable for Thing {
        fn is_under_way(&self) -> bool {
            self.is_under_way
        }

        fn is_watched(&self) -> bool {
            true
        }

        fn bytes(&self) -> usize {
            8
        }
    }

    struct Readers {
        things: Remembered<u8, Thing>,
        watch: Option<Arc<Watch>>,
        is_under_way: bool,
        reads: Cell<u32>,
    }

    impl Readers {
        fn new(is_alone: bool, is_under_way: bool) -> Self {
            Self {
                things: Remembered::new(INTERVAL, is_alone, 1 << 20, Duration::from_mins(1)),
                watch: None,
                is_under_way,
                reads: Cell::new(0),
            }
        }

        async fn read(&self) -> u32 {
            let look = |_| async {
                self.reads.set(self.reads.get() + 1);
                tokio::time::sleep(Duration::from_millis(5)).await;
                let (number, is_under_way) = (self.reads.get(), self.is_under_way);
                Ok(Some(Thing {
                    number,
                    is_under_way,
                }))
            };
            let seen = self.things.read(1, |_| self.watch.clone(), look).await;
            seen.unwrap().unwrap().number
        }
    }

    async fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let settings = StoreSettings {
            url: format!("sqlite:{}/watched.db", dir.path().display()),
            max_connections: 1,
            acquire_timeout: Duration::from_secs(5),
        };
        let store = Store::open(&settings).await.unwrap();
        (dir, store)
    }

    #[tokio::test]
    async fn who_is_alone_reads_once_until_something_is_changed() {
        let (_dir, store) = store().await;
        let chat = ChatId::generate();
        let readers = Readers {
            watch: Some(store.watch(chat)),
            ..Readers::new(true, false)
        };
        for _ in 0..5 {
            assert_eq!(readers.read().await, 1);
        }
        let changed = store.tx(|tx| async move { tx.condemn_chat(chat).await });
        assert!(!changed.await.unwrap(), "there is none, and it is said so");
        for _ in 0..5 {
            assert_eq!(readers.read().await, 2);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_under_way_is_read_once_in_an_interval() {
        let readers = Readers::new(false, true);
        let all = futures::future::join_all((0..10).map(|_| readers.read())).await;
        assert_eq!(all, [1; 10]);
        assert_eq!(readers.read().await, 1);
        tokio::time::advance(INTERVAL).await;
        assert_eq!(readers.read().await, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_over_is_read_for_all_who_had_asked_before_and_for_nobody_after() {
        let readers = Readers::new(false, false);
        let all = futures::future::join_all((0..10).map(|_| readers.read())).await;
        // The first one's reading had begun when the others asked: a second one serves them all.
        assert!(readers.reads.get() <= 2, "{all:?}");
        let before = readers.reads.get();
        assert_eq!(readers.read().await, before + 1);
    }
}

//! Group commit: one task per node gathers what all live ledgers have gained and writes it in one
//! transaction every interval, so that the cost is per flush and not per token nor per chat.
//!
//! The same transaction asks which of the requests are still this node's. What is not is dropped
//! there and then: its provider connection, its memory, and the text that it would have written.
//!
//! The same task purges the chunks of answers whose text is final. Because it does so between two
//! flushes, no chunk of a finished answer can be written after its purge.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use entity::RequestId;
use metrics::{Counter, Histogram, counter, histogram};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::live::{Ledgers, Live};
use super::stops::Stop;
use crate::fault;
use crate::model::clock::Clock;
use crate::store::{Chunk, Fence, Lease, Store, StoreError};

/// How often the chunks of finished answers are purged, at most.
const PURGE_INTERVAL: Duration = Duration::from_secs(1);
/// A lease is renewed when a third of it has gone, so that two renewals may fail.
const RENEWALS_PER_LEASE: u32 = 3;

/// How the flusher works.
#[derive(Clone, Debug)]
pub struct FlushSettings {
    /// Time between two flushes.
    pub interval: Duration,
    /// The name under which this node claims requests.
    pub node: String,
    /// How long a claim holds.
    pub lease: Duration,
}

/// Whether a flush renews the leases too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leases {
    Keep,
    Renew,
    /// Let go of them, so that others need not wait for them to run out.
    Release,
}

/// Writes the live ledgers of one node to the database.
pub struct Flusher {
    store: Arc<Store>,
    ledgers: Arc<Ledgers>,
    clock: Arc<dyn Clock>,
    settings: FlushSettings,
    finished: Mutex<Vec<RequestId>>,
    counts: Counts,
}

struct Counts {
    flushed: Counter,
    failed: Counter,
    fenced: Counter,
    seconds: Histogram,
    bytes: Histogram,
}

impl Counts {
    fn new() -> Self {
        let flushes = |result: &'static str| counter!("pollen_flushes_total", "result" => result);
        Self {
            flushed: flushes("written"),
            failed: flushes("failed"),
            fenced: counter!("pollen_answers_fenced_total", "by" => "flush"),
            seconds: histogram!("pollen_flush_seconds"),
            bytes: histogram!("pollen_flush_bytes"),
        }
    }

    fn written(&self, took: Duration, bytes: usize) {
        self.flushed.increment(1);
        self.seconds.record(took);
        self.bytes.record(u32::try_from(bytes).unwrap_or(u32::MAX));
    }
}

impl Flusher {
    #[must_use]
    pub fn new(
        store: Arc<Store>,
        ledgers: Arc<Ledgers>,
        clock: Arc<dyn Clock>,
        settings: FlushSettings,
    ) -> Self {
        Self {
            store,
            ledgers,
            clock,
            settings,
            finished: Mutex::default(),
            counts: Counts::new(),
        }
    }

    /// A lease that this node takes or renews now, and until when it counts on it.
    #[must_use]
    pub fn lease(&self) -> (Lease, Instant) {
        let until = Instant::now() + self.settings.lease;
        (self.lease_for(self.settings.lease), until)
    }

    fn lease_for(&self, time: Duration) -> Lease {
        let ms = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        Lease {
            owner: self.settings.node.clone(),
            expires_at: self.clock.now().plus_ms(ms),
        }
    }

    /// Hands the chunks of a request over to be purged, once its text is final.
    pub fn finished(&self, request: RequestId) {
        self.lock_finished().push(request);
    }

    /// Flushes every interval until told to stop. A flush that fails is reported and its text
    /// stays in memory for the next one.
    pub async fn run(&self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(self.settings.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut renewed = Instant::now();
        let mut purged = Instant::now();
        let renewal = self.settings.lease / RENEWALS_PER_LEASE;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let begun = Instant::now();
            let leases = if renewed.elapsed() >= renewal {
                Leases::Renew
            } else {
                Leases::Keep
            };
            match self.watching_leases(self.flush(leases)).await {
                Ok(()) if leases == Leases::Renew => renewed = begun,
                Ok(()) => {}
                Err(error) => {
                    self.counts.failed.increment(1);
                    tracing::error!(%error, "flush failed; the text stays in memory");
                    self.give_up_lost_leases();
                }
            }
            if purged.elapsed() >= PURGE_INTERVAL {
                purged = Instant::now();
                if let Err(error) = self.watching_leases(self.purge()).await {
                    tracing::error!(%error, "purge failed; tried again later");
                }
            }
        }
    }

    /// What is done may wait long for a database that is away; the leases run out meanwhile.
    async fn watching_leases<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::time::sleep(self.settings.interval) => self.give_up_lost_leases(),
            }
        }
    }

    /// The last flush: writes what is unwritten and lets go of this node's leases, so that
    /// whoever comes next need not wait for them to run out.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn flush_and_release(&self) -> Result<(), StoreError> {
        // Twice, for what somebody had held still is written by the second one.
        self.flush(Leases::Keep).await?;
        self.flush(Leases::Release).await?;
        self.purge().await
    }

    /// Writes what all ledgers have gained, and drops those that are no longer this node's.
    ///
    /// # Errors
    /// If the database fails: nothing has been written then, or it was not confirmed.
    pub async fn flush(&self, leases: Leases) -> Result<(), StoreError> {
        let ledgers = self.ledgers.all();
        if ledgers.is_empty() {
            return Ok(());
        }
        let gained: Vec<(Arc<Live>, Chunk)> = ledgers
            .iter()
            .flat_map(|live| {
                live.unflushed()
                    .into_iter()
                    .map(|chunk| (Arc::clone(live), chunk))
            })
            .collect();
        // Looked up before the database is asked: what is doubted after that is for the next flush.
        let doubts: Vec<usize> = ledgers.iter().map(|live| live.doubts()).collect();
        let (until, held) = if gained.is_empty() && leases == Leases::Keep {
            if self.store.is_single_process() && doubts.iter().all(|count| *count == 0) {
                // Nobody else could have taken anything.
                return Ok(());
            }
            let held = self.store.held_requests(&self.settings.node).await?;
            (None, held)
        } else {
            let begun = Instant::now();
            let written = self.write(&ledgers, &gained, leases).await?;
            let bytes = gained.iter().map(|(_, chunk)| chunk.text.len()).sum();
            self.counts.written(begun.elapsed(), bytes);
            written
        };
        fault::point("flush.committed");
        let held: HashSet<Fence> = held.into_iter().collect();
        for (live, chunk) in gained {
            live.mark_flushed(&chunk);
        }
        for (live, doubts) in ledgers.into_iter().zip(doubts) {
            if !held.contains(&live.fence()) {
                self.drop_fenced(&live);
                continue;
            }
            live.settle(doubts);
            if let Some(until) = until {
                live.leased_until(until);
            }
        }
        Ok(())
    }

    async fn write(
        &self,
        ledgers: &[Arc<Live>],
        gained: &[(Arc<Live>, Chunk)],
        leases: Leases,
    ) -> Result<(Option<Instant>, Vec<Fence>), StoreError> {
        let requests: &Vec<RequestId> = &ledgers.iter().map(|live| live.ids.request).collect();
        let (lease, until) = match leases {
            Leases::Keep => (None, None),
            Leases::Renew => {
                let (lease, until) = self.lease();
                (Some(lease), Some(until))
            }
            Leases::Release => (Some(self.lease_for(Duration::ZERO)), None),
        };
        let lease = &lease;
        let held = self
            .store
            .tx(|tx| async move {
                let held = match lease {
                    Some(lease) => tx.renew_leases(requests, lease).await?,
                    None => tx.held_requests(&self.settings.node).await?,
                };
                let is_held: HashSet<&Fence> = held.iter().collect();
                let chunks: Vec<&Chunk> = gained
                    .iter()
                    .filter(|(live, _)| is_held.contains(&live.fence()))
                    .map(|(_, chunk)| chunk)
                    .collect();
                tx.append_chunks(&chunks).await?;
                fault::point("flush.before_commit");
                Ok::<_, StoreError>(held)
            })
            .await?;
        Ok((until, held))
    }

    /// The request has been ended, deleted, or taken over by another attempt.
    fn drop_fenced(&self, live: &Live) {
        self.counts.fenced.increment(1);
        tracing::info!(request = %live.ids.request, attempt = live.ids.attempt, "no longer this node's");
        live.stop(Stop::Ended);
        self.ledgers.close(live);
        self.finished(live.ids.request);
    }

    /// While the database is away nobody can tell a node that is cut off from one that is not. So
    /// that no model is asked for the same answer by two nodes for longer than a lease, this one
    /// stops listening when its own lease has been over for as long as it was.
    fn give_up_lost_leases(&self) {
        if self.store.is_single_process() {
            return;
        }
        for live in self.ledgers.all() {
            if live.overdue().is_some_and(|by| by >= self.settings.lease) {
                live.stop(Stop::LeaseLost);
            }
        }
    }

    async fn purge(&self) -> Result<(), StoreError> {
        let finished = std::mem::take(&mut *self.lock_finished());
        if finished.is_empty() {
            return Ok(());
        }
        let requests = &finished;
        let purged = self
            .store
            .tx(|tx| async move {
                tx.purge_ledger(requests).await?;
                fault::point("purge.before_commit");
                Ok::<_, StoreError>(())
            })
            .await;
        if purged.is_err() {
            self.lock_finished().extend(finished);
        }
        purged
    }

    fn lock_finished(&self) -> std::sync::MutexGuard<'_, Vec<RequestId>> {
        self.finished.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

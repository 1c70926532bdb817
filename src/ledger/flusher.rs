//! Group commit: one task per node gathers what all live ledgers have gained and writes it in one
//! transaction every interval, so that the cost is per flush and not per token nor per chat.
//!
//! The same task purges the chunks of answers whose text is final. Because it does so between two
//! flushes, no chunk of a finished answer can be written after its purge.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use entity::RequestId;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::live::{Ledgers, Live};
use crate::model::clock::Clock;
use crate::store::{Chunk, Lease, Store, StoreError};

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

/// Writes the live ledgers of one node to the database.
pub struct Flusher {
    store: Arc<Store>,
    ledgers: Arc<Ledgers>,
    clock: Arc<dyn Clock>,
    settings: FlushSettings,
    finished: Mutex<Vec<RequestId>>,
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
        }
    }

    /// A lease that this node takes or renews now.
    #[must_use]
    pub fn lease(&self) -> Lease {
        let ms = i64::try_from(self.settings.lease.as_millis()).unwrap_or(i64::MAX);
        Lease {
            owner: self.settings.node.clone(),
            expires_at: self.clock.now().plus_ms(ms),
        }
    }

    /// Hands a finished answer's chunks over to be purged.
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
            let renews = renewed.elapsed() >= renewal;
            match self.flush(renews.then(|| self.lease())).await {
                Ok(()) if renews => renewed = Instant::now(),
                Ok(()) => {}
                Err(error) => tracing::error!(%error, "flush failed; the text stays in memory"),
            }
            if purged.elapsed() >= PURGE_INTERVAL {
                purged = Instant::now();
                if let Err(error) = self.purge().await {
                    tracing::error!(%error, "purge failed; tried again later");
                }
            }
        }
    }

    /// The last flush: writes what is unwritten and lets go of this node's leases, so that
    /// whoever comes next need not wait for them to run out.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn flush_and_release(&self) -> Result<(), StoreError> {
        let released = Lease {
            expires_at: self.clock.now().plus_ms(-1),
            ..self.lease()
        };
        self.flush(Some(released)).await?;
        self.purge().await
    }

    async fn flush(&self, lease: Option<Lease>) -> Result<(), StoreError> {
        let ledgers = self.ledgers.all();
        let gained: Vec<(Arc<Live>, Chunk)> = ledgers
            .iter()
            .filter_map(|live| Some((Arc::clone(live), live.unflushed()?)))
            .collect();
        if gained.is_empty() && (lease.is_none() || ledgers.is_empty()) {
            return Ok(());
        }
        let chunks: Vec<Chunk> = gained.iter().map(|(_, chunk)| chunk.clone()).collect();
        let requests: Vec<RequestId> = ledgers.iter().map(|live| live.ids.request).collect();
        let (chunks, requests, lease) = (&chunks, &requests, &lease);
        self.store
            .tx(|tx| async move {
                tx.append_chunks(chunks).await?;
                if let Some(lease) = lease {
                    tx.renew_leases(requests, lease).await?;
                }
                Ok::<_, StoreError>(())
            })
            .await?;
        for (live, chunk) in gained {
            live.mark_flushed(chunk.text.len());
        }
        Ok(())
    }

    async fn purge(&self) -> Result<(), StoreError> {
        let finished = std::mem::take(&mut *self.lock_finished());
        if finished.is_empty() {
            return Ok(());
        }
        let requests = &finished;
        let purged: Result<u64, StoreError> = self
            .store
            .tx(|tx| async move { tx.purge_ledger(requests).await })
            .await;
        if purged.is_err() {
            self.lock_finished().extend(finished);
        }
        purged.map(drop)
    }

    fn lock_finished(&self) -> std::sync::MutexGuard<'_, Vec<RequestId>> {
        self.finished.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

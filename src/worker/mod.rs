//! When it happens: woken by a send or a finish, and scanning now and then in case no wake-up
//! came. What happens is decided in `chat/`.
//!
//! A pass takes no input and may run at any time: it rescues what is abandoned, claims what is
//! queued while there is room, and gives each claimed request a task of its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::chat::{Abandoned, Chats, Claimed};

/// How long to leave the database alone after it failed.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);

/// Requests that are claimed at once, at most.
const MAX_CLAIMED: usize = 32;

/// Archives that a node makes at once: whoever waits for one does not mind to wait for another.
const MAX_ARCHIVES: usize = 1;

/// Titles that models are asked for at once: answers go first.
const MAX_TITLES: usize = 8;

/// How the worker works.
#[derive(Clone, Copy, Debug)]
pub struct WorkerSettings {
    /// Answers written at once.
    pub max_running: usize,
    pub scan_interval: Duration,
    /// Between two looks for rows whose states disagree.
    pub repair_interval: Duration,
    /// How long a claim holds without being renewed.
    pub lease: Duration,
}

/// Runs the requests of one node.
pub struct Worker {
    chats: Arc<Chats>,
    settings: WorkerSettings,
    slots: Arc<Semaphore>,
    titles: Arc<Semaphore>,
    archives: Arc<Semaphore>,
    tasks: TaskTracker,
}

/// When what is to happen next.
struct Agenda {
    scan: Instant,
    repair: Instant,
}

/// How a pass ended.
enum Pass {
    /// There was nothing more to claim, or no room for it.
    Idle,
    /// It is time to scan again.
    Due,
}

impl Worker {
    #[must_use]
    pub fn new(chats: Arc<Chats>, settings: WorkerSettings) -> Self {
        Self {
            chats,
            settings,
            slots: Arc::new(Semaphore::new(settings.max_running)),
            titles: Arc::new(Semaphore::new(MAX_TITLES)),
            archives: Arc::new(Semaphore::new(MAX_ARCHIVES)),
            tasks: TaskTracker::new(),
        }
    }

    /// Works until told to stop; then lets go of all answers, which end without being finished,
    /// and returns when the last of them has.
    pub async fn run(self, stop: CancellationToken) {
        let now = Instant::now();
        let mut agenda = Agenda {
            scan: now + self.settings.scan_interval,
            repair: now + self.settings.repair_interval,
        };
        loop {
            // A wake-up that comes while the pass runs is kept and ends the next wait at once.
            let pause = match self.pass(&stop, &mut agenda).await {
                Ok(Pass::Idle) => self.settings.scan_interval,
                Ok(Pass::Due) => Duration::ZERO,
                Err(error) => {
                    tracing::error!(%error, "no request could be claimed");
                    PAUSE_AFTER_ERROR
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.chats.news() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.chats.abandon_answers();
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn pass(
        &self,
        stop: &CancellationToken,
        agenda: &mut Agenda,
    ) -> Result<Pass, crate::store::StoreError> {
        // What cannot be rescued or repaired must not keep the rest from being answered.
        if agenda.scan <= Instant::now() {
            agenda.scan = Instant::now() + self.settings.scan_interval;
            if let Err(error) = self.chats.rescue(Abandoned::LeaseExpired).await {
                tracing::error!(%error, "the rescue failed");
                // The leases of living nodes may have run out while the database was away: they
                // get the time of one to renew them, with all the text that they have in memory.
                agenda.scan = Instant::now() + self.settings.lease;
            }
            if let Err(error) = self.archive(stop).await {
                tracing::error!(%error, "no archive could be looked for");
            }
        }
        if agenda.repair <= Instant::now() {
            agenda.repair = Instant::now() + self.settings.repair_interval;
            if let Err(error) = self.chats.repair().await {
                tracing::error!(%error, "the repair failed");
            }
        }
        while let Some(mut slots) = self.slots(stop).await {
            if agenda.scan.min(agenda.repair) <= Instant::now() {
                // However long the queue is, the dead are not forgotten over it.
                return Ok(Pass::Due);
            }
            let wanted = slots.num_permits();
            let claimed = self.chats.claim(wanted).await?;
            let is_all = claimed.len() < wanted;
            for (claimed, slot) in claimed
                .into_iter()
                .zip(std::iter::from_fn(|| slots.split(1)))
            {
                self.start(claimed, slot, stop);
            }
            if is_all {
                break;
            }
        }
        Ok(Pass::Idle)
    }

    /// Makes an archive that is wanted, if there is room for it.
    async fn archive(&self, stop: &CancellationToken) -> Result<(), crate::store::StoreError> {
        let Ok(place) = Arc::clone(&self.archives).try_acquire_owned() else {
            return Ok(());
        };
        let Some(run) = self.chats.claim_archive().await? else {
            return Ok(());
        };
        let (chats, stop) = (Arc::clone(&self.chats), stop.clone());
        self.tasks.spawn(async move {
            let _place = place;
            let made = stop.run_until_cancelled(chats.make_archive(&run));
            if made.await.is_none() {
                chats.release_archive(&run).await;
            }
        });
        Ok(())
    }

    /// Gives a claimed request its task.
    fn start(&self, claimed: Claimed, slot: OwnedSemaphorePermit, stop: &CancellationToken) {
        let (chats, stop) = (Arc::clone(&self.chats), stop.clone());
        let titles = Arc::clone(&self.titles);
        self.tasks.spawn(async move {
            let answer = claimed.answer();
            chats.answer(claimed).await;
            drop(slot);
            // Nobody waits for a title, and least of all the shutdown; and where many are wanted
            // at once, most go without.
            if let Ok(_place) = titles.try_acquire() {
                let _ = stop
                    .run_until_cancelled(Box::pin(chats.entitle(answer)))
                    .await;
            }
        });
    }

    /// Room for more answers, as much of it as one claim takes. None if there is none within a scan interval,
    /// or it is time to stop.
    async fn slots(&self, stop: &CancellationToken) -> Option<OwnedSemaphorePermit> {
        let mut slots = self.slot(stop).await?;
        while slots.num_permits() < MAX_CLAIMED
            && let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned()
        {
            slots.merge(slot);
        }
        Some(slots)
    }

    /// Room for one more answer. None if there is none within a scan interval, or it is time to stop.
    async fn slot(&self, stop: &CancellationToken) -> Option<OwnedSemaphorePermit> {
        let slot = Arc::clone(&self.slots).acquire_owned();
        tokio::select! {
            biased;
            () = stop.cancelled() => None,
            slot = slot => slot.ok(),
            () = tokio::time::sleep(self.settings.scan_interval) => None,
        }
    }
}

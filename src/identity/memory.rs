//! What was found out of whom. For a moment it is believed without another look, so that polls several
//! times a second do not read it each time. While the database cannot be asked, what it said last goes
//! on to hold: polls of an answer that grows in memory need no database, and must not end because of
//! who polls. As soon as it answers again, only that counts.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use entity::Timestamp;
use moka::sync::Cache;
use tokio::time::timeout;

use super::{Caller, IdentityError, Proof};

/// What is remembered at once, at most.
const KNOWN: u64 = 100_000;
/// How long after the database's last word somebody is still known without it: long enough for a server
/// that changes over to another or is restarted, and the longest that somebody whose rights were taken
/// on another node keeps them on one that is cut off.
const LAST_WORD: Duration = Duration::from_mins(5);
/// How long somebody who is known waits for the database.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a database that was away is not waited for again.
const PAUSE: Duration = Duration::from_secs(2);

/// Somebody, as the database knows them.
#[derive(Clone)]
pub(super) struct Found {
    pub caller: Arc<Caller>,
    /// When what they came with ends by itself.
    pub ends_at: Option<Timestamp>,
    /// There is no row of them so far, and they are not remembered.
    pub is_unwritten: bool,
}

pub(super) struct Memory {
    fresh: Cache<Proof, Found>,
    last: Cache<Proof, Found>,
    away_since: Mutex<Option<Instant>>,
}

impl Found {
    pub fn of(caller: Caller, ends_at: Option<Timestamp>) -> Self {
        Self {
            caller: Arc::new(caller),
            ends_at,
            is_unwritten: false,
        }
    }
}

impl Memory {
    /// One that believes for `recheck` what was found out.
    pub fn new(recheck: Duration) -> Self {
        let cache = || Cache::builder().max_capacity(KNOWN);
        Self {
            fresh: cache().time_to_live(recheck).build(),
            last: cache().time_to_live(LAST_WORD).build(),
            away_since: Mutex::default(),
        }
    }

    /// Who this is, if it was found out a moment ago.
    pub fn fresh(&self, proof: &Proof) -> Option<Found> {
        self.fresh.get(proof)
    }

    /// Who this is by a look into the database, or as it said last while it cannot be asked.
    ///
    /// # Errors
    /// As `look`.
    pub async fn look(
        &self,
        proof: Proof,
        now: Timestamp,
        look: impl Future<Output = Result<Found, IdentityError>>,
    ) -> Result<Found, IdentityError> {
        let last = self.last.get(&proof);
        let Some(last) = last.filter(|last| last.ends_at.is_none_or(|end| end > now)) else {
            return self.keep(proof, look.await);
        };
        if self.is_away() {
            return Ok(last);
        }
        match timeout(PATIENCE, look).await {
            Err(_) => {}
            Ok(Err(IdentityError::Store(error))) if error.is_unavailable() => {}
            Ok(found) => return self.keep(proof, found),
        }
        tracing::warn!("the database is away: who was known just now still is");
        self.note(Some(Instant::now()));
        Ok(last)
    }

    fn keep(
        &self,
        proof: Proof,
        found: Result<Found, IdentityError>,
    ) -> Result<Found, IdentityError> {
        match &found {
            Ok(found) => {
                self.note(None);
                if !found.is_unwritten {
                    self.fresh.insert(proof.clone(), found.clone());
                    self.last.insert(proof, found.clone());
                }
            }
            Err(IdentityError::Refused(_) | IdentityError::Disabled) => {
                self.fresh.invalidate(&proof);
                self.last.invalidate(&proof);
            }
            Err(
                IdentityError::Unavailable(_)
                | IdentityError::Store(_)
                | IdentityError::Randomness(_),
            ) => {}
        }
        found
    }

    /// Forgets everybody: somebody's rights have changed.
    pub fn forget(&self) {
        self.fresh.invalidate_all();
        self.last.invalidate_all();
    }

    fn is_away(&self) -> bool {
        let since = self.away_since.lock();
        let since = *since.unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| since.elapsed() < PAUSE)
    }

    fn note(&self, away_since: Option<Instant>) {
        let noted = self.away_since.lock();
        *noted.unwrap_or_else(PoisonError::into_inner) = away_since;
    }
}

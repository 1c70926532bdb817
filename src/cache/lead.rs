//! Which of several nodes has the model answer. This saves calls and keeps nothing apart: a node
//! whose lead has run out goes on with its answer, and then two of them may have asked.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::shared::Shared;
use super::{CacheError, CacheKey};

/// Who leads.
pub enum Lead {
    Mine(LeadGuard),
    /// Another node. [`super::ResponseCache::wait`] waits for what it gets.
    Other,
}

/// How often a kept lead is renewed within the time that it is held for.
const RENEWALS: u32 = 3;

/// Held by the node that leads. Dropped, it is held until its time has run out.
pub struct LeadGuard {
    /// None in memory mode, where nobody else could lead.
    claim: Option<Claim>,
}

struct Claim {
    shared: Arc<Shared>,
    key: CacheKey,
    /// Random, so that nobody releases what has become somebody else's.
    token: String,
}

impl LeadGuard {
    pub(super) fn of_memory() -> Self {
        Self { claim: None }
    }

    pub(super) async fn take(
        shared: &Arc<Shared>,
        key: &CacheKey,
        hold: Duration,
    ) -> Result<Lead, CacheError> {
        let token = Uuid::new_v4().to_string();
        if !shared.take_lead(key, &token, hold).await? {
            return Ok(Lead::Other);
        }
        let claim = Claim {
            shared: Arc::clone(shared),
            key: key.clone(),
            token,
        };
        Ok(Lead::Mine(Self { claim: Some(claim) }))
    }

    /// Holds it for so long from now on. False: it has run out, and may be another's.
    ///
    /// # Errors
    /// If Redis does not say.
    pub async fn renew(&self, hold: Duration) -> Result<bool, CacheError> {
        match &self.claim {
            None => Ok(true),
            Some(claim) => {
                let Claim { shared, key, token } = claim;
                shared.renew_lead(key, token, hold).await
            }
        }
    }

    /// Lets the next lead, and whoever waits go on. What was answered is to be put before this.
    ///
    /// # Errors
    /// If Redis does not say. Then it runs out by itself.
    pub async fn release(self) -> Result<(), CacheError> {
        match &self.claim {
            None => Ok(()),
            Some(claim) => claim.shared.release_lead(&claim.key, &claim.token).await,
        }
    }

    /// Keeps it until what is returned is dropped, however long that takes, and then releases it. If
    /// the process dies, the others wait for `hold` at most.
    #[must_use]
    pub fn keep(self, hold: Duration) -> KeptLead {
        let stop = CancellationToken::new();
        if self.claim.is_some() {
            tokio::spawn(self.keep_until(stop.clone(), hold));
        }
        KeptLead {
            _stop: stop.drop_guard(),
        }
    }

    async fn keep_until(self, stop: CancellationToken, hold: Duration) {
        while stop
            .run_until_cancelled(sleep(hold / RENEWALS))
            .await
            .is_some()
        {
            // An error may be over by the next time; lost is lost.
            if let Ok(false) = self.renew(hold).await {
                return;
            }
        }
        // Should Redis not be told, it runs out by itself.
        if let Err(error) = self.release().await {
            tracing::debug!(%error, "the response cache is away");
        }
    }
}

/// A lead that renews itself for as long as this lives.
pub struct KeptLead {
    _stop: DropGuard,
}

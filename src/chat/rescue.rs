//! Rescue: requests that say `running` although nobody runs them any more start their next
//! attempt, or, when they have had enough of them, end as failed with the text that there is.
//! Nothing stays pending for ever.

use entity::llm_attempt::Outcome;
use entity::llm_request;

use super::Chats;
use super::answer::interrupted;
use super::end::{Cut, End};
use crate::fault;
use crate::model::failure::Failure;
use crate::store::StoreError;

/// Requests rescued in one go.
const BATCH: u64 = 100;

/// Which running requests count as abandoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abandoned {
    /// Those whose lease has run out.
    LeaseExpired,
    /// All: no process but this one can have run them, and it has just begun.
    All,
}

impl Chats {
    /// What the start of a node does before it takes any request: rescues what the process before
    /// it left running. Where other nodes may be alive, only what has no valid lease.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn recover(&self) -> Result<(), StoreError> {
        let abandoned = if self.store.is_single_process() {
            Abandoned::All
        } else {
            Abandoned::LeaseExpired
        };
        self.rescue(abandoned).await?;
        self.repair().await
    }

    /// Rescues abandoned requests. How many there were.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn rescue(&self, abandoned: Abandoned) -> Result<usize, StoreError> {
        let mut rescued = 0;
        loop {
            let requests = self
                .store
                .abandoned_requests(self.clock.now(), abandoned == Abandoned::All, BATCH)
                .await?;
            let found = requests.len() as u64;
            let mut progress = 0;
            for request in requests {
                if self.runs_here(&request) {
                    continue;
                }
                let id = request.id;
                match self.rescue_one(request).await {
                    Ok(rescued) => progress += usize::from(rescued),
                    Err(error) if error.is_unavailable() => return Err(error),
                    // One that cannot be rescued must not keep the others waiting.
                    Err(error) => tracing::error!(request = %id, %error, "not rescued"),
                }
            }
            rescued += progress;
            if progress == 0 || found < BATCH {
                break;
            }
        }
        if rescued > 0 {
            tracing::warn!(rescued, "rescued requests that nobody ran any more");
            self.announce();
        }
        Ok(rescued)
    }

    /// Whether this node is alive and at it, and only came too late to renew its lease.
    fn runs_here(&self, request: &llm_request::Model) -> bool {
        request
            .assistant_message_id
            .and_then(|message| self.ledgers.get(message))
            .is_some_and(|live| live.fence() == (request.id, request.attempt))
    }

    fn count_rescue(
        &self,
        request: &llm_request::Model,
        cut: &Cut,
        failure: &Failure,
        goes_on: bool,
    ) {
        self.counts.rescued(goes_on);
        let ending = cut.ending(End::Failed(failure.clone()));
        let outcome = if goes_on {
            Outcome::Replaced
        } else {
            Outcome::Failed
        };
        self.count_end(request, outcome, Some(&failure.code), &ending.spent);
    }

    async fn rescue_one(&self, request: llm_request::Model) -> Result<bool, StoreError> {
        let cut = &self.cut(request).await?;
        let request = &cut.request;
        let goes_on = self.has_attempts_left(request);
        let is_late = request
            .deadline_at
            .is_some_and(|deadline| deadline <= self.clock.now());
        let failure = &if is_late {
            self.too_late()
        } else {
            interrupted()
        };
        let rescued = self
            .store
            .tx(|tx| async move {
                let now = tx.lock_request(request.id).await?;
                // Its node may have come back in the last moment and renewed its lease.
                let is_same = now.is_some_and(|now| {
                    now.attempt == request.attempt
                        && now.lease_expires_at == request.lease_expires_at
                });
                if !is_same {
                    return Ok::<_, StoreError>(false);
                }
                let ending = cut.ending(End::Failed(failure.clone()));
                let is_rescued = if goes_on {
                    self.start_next_attempt(&tx, request, failure, &ending.spent)
                        .await?
                } else {
                    self.end_answer(&tx, request, ending).await?.is_some()
                };
                fault::point("rescue.before_commit");
                Ok(is_rescued)
            })
            .await?;
        fault::point("rescue.committed");
        if rescued {
            self.flusher.finished(request.id);
            self.count_rescue(request, cut, failure, goes_on);
            tracing::warn!(
                request = %request.id, attempt = request.attempt, goes_on,
                "rescued a request that nobody ran any more"
            );
        }
        Ok(rescued)
    }
}

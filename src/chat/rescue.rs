//! Rescue: requests that say `running` although nobody runs them any more are ended as failed,
//! and what their ledger holds is kept. Nothing stays pending for ever.

use entity::llm_request;

use super::Chats;
use super::finish::end_answer;
use crate::model::failure::{Failure, FailureCode};
use crate::model::position::Edition;
use crate::store::{RequestEnd, StoreError};

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
    /// What the start of a node does before it takes any request: ends what the process before it
    /// left running. Where other nodes may be alive, only what has no valid lease.
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
        self.store
            .tx(|tx| async move { tx.purge_finished_ledgers().await })
            .await
            .map(|_: u64| ())
    }

    /// Ends abandoned requests. How many there were.
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
            let mut progress = 0;
            for request in requests.iter().filter(|request| !self.runs_here(request)) {
                if self.end_abandoned(request).await? {
                    tracing::warn!(request = %request.id, "ended a request that nobody ran any more");
                    progress += 1;
                }
            }
            rescued += progress;
            if progress == 0 || (requests.len() as u64) < BATCH {
                break;
            }
        }
        if rescued > 0 {
            self.announce();
        }
        Ok(rescued)
    }

    /// Whether this node is alive and at it, and only came too late to renew its lease.
    fn runs_here(&self, request: &llm_request::Model) -> bool {
        request
            .assistant_message_id
            .and_then(|message| self.ledgers.get(message))
            .is_some_and(|live| live.ids.attempt == request.attempt)
    }

    async fn end_abandoned(&self, request: &llm_request::Model) -> Result<bool, StoreError> {
        let text = &self.store.ledger_text(request.id, request.edition).await?;
        let failure = Failure::new(
            FailureCode::Interrupted,
            "The server stopped while it was writing this answer. What it had written was kept.",
        );
        let end = &RequestEnd {
            status: llm_request::Status::Failed,
            model: request.model.clone(),
            provider: request.provider.clone(),
            finish_reason: None,
            input_tokens: None,
            output_tokens: None,
            error: Some((failure.code, failure.message)),
            first_token_at: request.first_token_at,
            now: self.clock.now(),
        };
        // The text may be shorter than what a client has seen: up to one flush interval of it
        // lived in memory alone. A new edition tells such a client to replace what it has.
        let edition = Edition::from_stored(request.edition).next();
        self.store
            .tx(|tx| async move {
                let ended = end_answer(&tx, request, end, text, edition).await?;
                if ended {
                    tx.purge_ledger(&[request.id]).await?;
                }
                Ok(ended)
            })
            .await
    }
}

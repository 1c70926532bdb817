//! Rescue: requests that say `running` although nobody runs them any more are ended as failed,
//! and what their ledger holds is kept. Nothing stays pending for ever.

use entity::{chat, chat_message, llm_request};

use super::Chats;
use crate::model::failure::{Failure, FailureCode};
use crate::model::position::Edition;
use crate::store::{Advance, Finish, RequestEnd, StoreError};

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
        let now = self.clock.now();
        let failure = Failure::new(
            FailureCode::Interrupted,
            "The server stopped while it was writing this answer. What it had written was kept.",
        );
        let error = &(failure.code, failure.message);
        // The text may be shorter than what a client has seen: up to one flush interval of it
        // lived in memory alone. A new edition tells such a client to replace what it has.
        let edition = Edition::from_stored(request.edition).next().to_stored();
        self.store
            .tx(|tx| async move {
                let end = RequestEnd {
                    status: llm_request::Status::Failed,
                    model: request.model.clone(),
                    provider: request.provider.clone(),
                    finish_reason: None,
                    input_tokens: None,
                    output_tokens: None,
                    error: Some(error.clone()),
                    first_token_at: request.first_token_at,
                    now,
                };
                if !tx.end_request(request.id, request.attempt, end).await? {
                    return Ok(false);
                }
                let advance = Advance {
                    messages: 0,
                    status: Some(chat::Status::WaitingForUser),
                    now,
                };
                let chat = tx.advance_chat(request.chat_id, advance).await?;
                let chat = chat.ok_or(StoreError::Missing { what: "chat" })?;
                if let Some(answer) = request.assistant_message_id {
                    let finish = Finish {
                        status: chat_message::Status::Failed,
                        content: text.clone(),
                        edition,
                        error: Some(error.clone()),
                        revision: chat.revision,
                        now,
                    };
                    tx.finish_message(answer, finish).await?;
                }
                tx.purge_ledger(&[request.id]).await?;
                Ok(true)
            })
            .await
    }
}

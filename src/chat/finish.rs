//! Finishing: the collected text becomes the message's, request, message and chat move on in one
//! transaction under the fence of the attempt, and the ledger's rows are free to be purged.

use std::time::Duration;

use entity::{chat, chat_message, llm_request};

use super::{Chats, Claimed};
use crate::ledger::Live;
use crate::model::failure::{Failure, FailureCode};
use crate::provider::Usage;
use crate::store::{Advance, Finish, RequestEnd, StoreError};

/// Waits between the tries to store an answer while the database is away: doubled from the first
/// to the last, about a minute in all. Then the lease runs out and a rescue keeps what was flushed.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(8);
const MAX_FINISH_TRIES: u32 = 12;

/// How an answer came to its end.
#[derive(Clone, Debug)]
pub(super) struct Finished {
    pub end: End,
    pub model: Option<String>,
    pub usage: Usage,
    pub finish_reason: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) enum End {
    Completed,
    Failed(Failure),
    Cancelled,
}

impl Finished {
    pub fn new(end: End) -> Self {
        Self {
            end,
            model: None,
            usage: Usage::default(),
            finish_reason: None,
        }
    }

    fn statuses(&self) -> (chat_message::Status, llm_request::Status) {
        match self.end {
            End::Completed => (
                chat_message::Status::Completed,
                llm_request::Status::Completed,
            ),
            End::Failed(_) => (chat_message::Status::Failed, llm_request::Status::Failed),
            End::Cancelled => (
                chat_message::Status::Cancelled,
                llm_request::Status::Cancelled,
            ),
        }
    }

    fn error(&self) -> Option<(String, String)> {
        let failure = match &self.end {
            End::Completed => return None,
            End::Failed(failure) => failure.clone(),
            End::Cancelled => Failure::new(FailureCode::Cancelled, "This answer was stopped."),
        };
        Some((failure.code, failure.message))
    }
}

impl Chats {
    /// Stores the end of an answer and forgets its ledger. While the database is away the text
    /// stays in memory and goes on being read from there.
    pub(super) async fn finish(&self, claimed: &Claimed, live: &Live, finished: Finished) {
        let mut wait = FIRST_WAIT;
        for tries_left in (0..MAX_FINISH_TRIES).rev() {
            match self.store_end(claimed, live, &finished).await {
                Ok(true) => {
                    tracing::info!(
                        end = ?finished.statuses().1,
                        output_tokens = finished.usage.output_tokens,
                        "answer finished"
                    );
                    break;
                }
                Ok(false) => {
                    tracing::warn!("fenced: this answer is no longer this task's to write");
                    break;
                }
                Err(error) if tries_left == 0 => {
                    tracing::error!(%error, "the answer could not be stored; left to a rescue");
                }
                Err(error) => {
                    live.unseal();
                    tracing::error!(%error, "the answer could not be stored; trying again");
                    tokio::select! {
                        // Going away: what was flushed is what the next start finds.
                        _ = live.stopped() => return,
                        () = tokio::time::sleep(wait) => {}
                    }
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
        self.ledgers.close(live);
        self.flusher.finished(claimed.request.id);
        self.announce();
    }

    /// Whether the request was still this attempt's to end.
    async fn store_end(
        &self,
        claimed: &Claimed,
        live: &Live,
        finished: &Finished,
    ) -> Result<bool, StoreError> {
        let (text, first_token_at) = live.seal();
        let (text, now) = (&text, self.clock.now());
        let (message_status, request_status) = finished.statuses();
        let request = &claimed.request;
        let end = &RequestEnd {
            status: request_status,
            model: finished.model.clone(),
            provider: Some(self.provider.name().to_owned()),
            finish_reason: finished.finish_reason.clone(),
            input_tokens: finished.usage.input_tokens,
            output_tokens: finished.usage.output_tokens,
            error: finished.error(),
            first_token_at,
            now,
        };
        self.store
            .tx(|tx| async move {
                if !tx
                    .end_request(request.id, request.attempt, end.clone())
                    .await?
                {
                    return Ok(false);
                }
                let advance = Advance {
                    messages: 0,
                    status: Some(chat::Status::WaitingForUser),
                    now,
                };
                let chat = tx.advance_chat(request.chat_id, advance).await?;
                let chat = chat.ok_or(StoreError::Missing { what: "chat" })?;
                let finish = Finish {
                    status: message_status,
                    content: text.clone(),
                    edition: request.edition,
                    error: end.error.clone(),
                    revision: chat.revision,
                    now,
                };
                if !tx.finish_message(claimed.answer.id, finish).await? {
                    return Err(StoreError::Missing {
                        what: "pending answer",
                    });
                }
                Ok(true)
            })
            .await
    }
}

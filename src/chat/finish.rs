//! Finishing: the collected text becomes the message's, request, message and chat move on in one
//! transaction under the fence of the attempt, and the ledger's rows are free to be purged.

use std::time::Duration;

use entity::{chat, chat_message, llm_request};

use super::{Chats, Claimed};
use crate::model::failure::{Failure, FailureCode};
use crate::model::position::Edition;
use crate::model::text::storable;
use crate::provider::Usage;
use crate::store::{Advance, Finish, RequestEnd, StoreError, Tx};

/// Waits between the tries to store an answer: doubled from the first to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(8);
/// Tries while the database is there and refuses: then the lease runs out, and a rescue keeps what
/// was flushed. While the database is away the tries are not counted.
const MAX_REFUSALS: u32 = 5;

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

    fn status(&self) -> llm_request::Status {
        match self.end {
            End::Completed => llm_request::Status::Completed,
            End::Failed(_) => llm_request::Status::Failed,
            End::Cancelled => llm_request::Status::Cancelled,
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
    pub(super) async fn finish(&self, claimed: &Claimed, finished: Finished) {
        let (mut wait, mut refusals) = (FIRST_WAIT, 0);
        loop {
            match self.store_end(claimed, &finished).await {
                Ok(true) => {
                    let end = finished.status();
                    tracing::info!(
                        ?end,
                        output_tokens = finished.usage.output_tokens,
                        "answer finished"
                    );
                    break self.flusher.finished(claimed.request.id);
                }
                Ok(false) => {
                    tracing::warn!("fenced: this answer is no longer this task's to write");
                    break self.flusher.finished(claimed.request.id);
                }
                Err(error) => {
                    claimed.live.unseal();
                    refusals += u32::from(!error.is_unavailable());
                    if refusals == MAX_REFUSALS {
                        tracing::error!(%error, "the answer could not be stored; left to a rescue");
                        break;
                    }
                    tracing::error!(%error, "the answer could not be stored; trying again");
                }
            }
            tokio::select! {
                // This node goes away: what was flushed is what the next start finds.
                () = claimed.live.abandoned() => return,
                () = tokio::time::sleep(wait) => {}
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        self.ledgers.close(&claimed.live);
        self.announce();
    }

    /// Whether the request was still this attempt's to end.
    async fn store_end(&self, claimed: &Claimed, finished: &Finished) -> Result<bool, StoreError> {
        let (text, first_token_at) = claimed.live.seal();
        let (text, request) = (&text, &claimed.request);
        let end = &RequestEnd {
            status: finished.status(),
            model: finished.model.as_deref().map(stored),
            provider: Some(self.provider.name().to_owned()),
            finish_reason: finished.finish_reason.as_deref().map(stored),
            input_tokens: finished.usage.input_tokens,
            output_tokens: finished.usage.output_tokens,
            error: finished.error(),
            first_token_at,
            now: self.clock.now(),
        };
        self.store
            .tx(|tx| async move {
                let edition = Edition::from_stored(request.edition);
                end_answer(&tx, request, end, text, edition).await
            })
            .await
    }
}

/// Ends a request, its answer and the chat's turn together, if the request is still this
/// attempt's to end. Whether it was.
pub(super) async fn end_answer(
    tx: &Tx,
    request: &llm_request::Model,
    end: &RequestEnd,
    text: &str,
    edition: Edition,
) -> Result<bool, StoreError> {
    if !tx
        .end_request(request.id, request.attempt, end.clone())
        .await?
    {
        return Ok(false);
    }
    let advance = Advance {
        messages: 0,
        status: Some(chat::Status::WaitingForUser),
        now: end.now,
    };
    let chat = tx.advance_chat(request.chat_id, advance).await?;
    let chat = chat.ok_or(StoreError::Missing { what: "chat" })?;
    let finish = Finish {
        status: match end.status {
            llm_request::Status::Completed => chat_message::Status::Completed,
            llm_request::Status::Cancelled => chat_message::Status::Cancelled,
            _ => chat_message::Status::Failed,
        },
        content: text.to_owned(),
        edition: edition.to_stored(),
        error: end.error.clone(),
        revision: chat.revision,
        now: end.now,
    };
    let is_answered = match request.assistant_message_id {
        Some(answer) => tx.finish_message(answer, finish).await?,
        None => false,
    };
    if !is_answered {
        tracing::warn!(request = %request.id, "the request had no pending answer to end");
    }
    Ok(true)
}

/// What the model's server said of itself, as it can be stored.
fn stored(text: &str) -> String {
    storable(text).into_owned()
}

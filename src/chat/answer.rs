//! Answering: the task behind one row of `llm_request`. It reads the model's stream and appends
//! to the live ledger; while it waits it holds no transaction and no connection.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use entity::chat_message::Role;
use entity::llm_request;
use futures::{FutureExt, StreamExt};
use tokio::time::{Instant, sleep, timeout_at};
use tower::retry::budget::Budget;

use super::end::End;
use super::finish::Written;
use super::{Chats, Claimed};
use crate::fault;
use crate::ledger::Stop;
use crate::model::failure::{Failure, FailureCode};
use crate::model::history::history;
use crate::model::usage::estimate_tokens;
use crate::provider::{Call, Event, ProviderError, Speaker, Turn, Verdict};
use crate::store::StoreError;

/// Waits before the retries of a call, with jitter: doubled from the first to the longest.
const FIRST_RETRY: Duration = Duration::from_millis(400);
const LONGEST_RETRY: Duration = Duration::from_secs(20);

/// How listening to one call of the model ended.
enum Heard {
    /// It has finished, and this is why.
    Finished(String),
    /// The stream is over, but the answer was not.
    BrokeOff,
    /// The answer is longer than an answer may be.
    Full(Failure),
    Failed(ProviderError),
    /// The first token did not come in time.
    Silence,
}

impl Chats {
    /// Runs a claimed request to its end, whatever that is. Nothing gets out of here but the log:
    /// a panic ends the answer as failed like any other fault.
    #[tracing::instrument(
        name = "chat::answer",
        skip_all,
        fields(request = %claimed.request.id, chat = %claimed.request.chat_id, attempt = claimed.request.attempt)
    )]
    pub async fn answer(&self, claimed: Claimed) {
        let live = &claimed.live;
        let written = AssertUnwindSafe(self.write(&claimed)).catch_unwind();
        let written = tokio::select! {
            biased;
            stop = live.stopped() => match stop {
                Stop::Ended => {
                    tracing::info!("answer dropped: it has been ended elsewhere");
                    self.ledgers.close(live);
                    return;
                }
                Stop::Abandon => {
                    tracing::info!("answer abandoned; its text so far is flushed");
                    return;
                }
                Stop::LeaseLost => {
                    tracing::warn!("the database has been away for too long; listening no more");
                    Written::Broken(interrupted())
                }
            },
            () = self.deadline(&claimed.request) => Written::failed(self.too_late()),
            written = written => written.unwrap_or_else(|_| {
                tracing::error!("the answer's task panicked");
                Written::failed(internal())
            }),
        };
        self.finish(&claimed, written).await;
    }

    /// Returns when the request is to have ended.
    async fn deadline(&self, request: &llm_request::Model) {
        let Some(deadline) = request.deadline_at else {
            return std::future::pending().await;
        };
        let left_ms = deadline.0.saturating_sub(self.clock.now().0);
        sleep(Duration::from_millis(u64::try_from(left_ms).unwrap_or(0))).await;
    }

    pub(super) fn too_late(&self) -> Failure {
        Failure::new(
            FailureCode::DeadlineExceeded,
            format!(
                "The answer was not finished within {} and was stopped. What had come was kept.",
                spelled(self.settings.attempts.deadline)
            ),
        )
    }

    /// Asks the model and writes down what it says. Until the first token has come, a call that
    /// failed and may succeed later is made again.
    async fn write(&self, claimed: &Claimed) -> Written {
        let call = match self.call(&claimed.request).await {
            Ok(call) => call,
            Err(error) => {
                tracing::error!(%error, "the history could not be read");
                return Written::Broken(internal());
            }
        };
        let model = call.model.clone();
        let model = model.unwrap_or_else(|| self.provider.default_model().to_owned());
        claimed.live.note_call(&model, input_tokens(&call));
        let first_token_by = Instant::now() + self.settings.attempts.first_token;
        let mut waits = ExponentialBuilder::new()
            .with_min_delay(FIRST_RETRY)
            .with_max_delay(LONGEST_RETRY)
            .with_max_times(self.settings.attempts.max_retries)
            .with_jitter()
            .build();
        self.retries.deposit();
        loop {
            let error = match self.listen(claimed, call.clone(), first_token_by).await {
                Heard::Finished(reason) => return finished(claimed, reason),
                Heard::Full(failure) => return Written::failed(failure),
                Heard::Silence => return Written::failed(self.silence()),
                Heard::BrokeOff => ProviderError::broke_off(self.provider.name()),
                Heard::Failed(error) => error,
            };
            let Verdict::Retry { after } = error.verdict else {
                tracing::warn!(%error, "the model failed");
                return Written::failed(error.failure);
            };
            if !claimed.live.is_empty() {
                tracing::warn!(%error, "the model failed in the middle of its answer");
                return if self.settings.attempts.replaces_broken {
                    Written::Broken(error.failure)
                } else {
                    Written::failed(error.failure)
                };
            }
            let wait = waits.next().map(|wait| wait.max(after.unwrap_or_default()));
            match wait {
                Some(wait) if Instant::now() + wait < first_token_by && self.retries.withdraw() => {
                    tracing::warn!(%error, ?wait, "the model failed; trying again");
                    sleep(wait).await;
                }
                _ => {
                    tracing::warn!(%error, "the model failed; not tried again");
                    return Written::failed(error.failure);
                }
            }
        }
    }

    /// Makes one call and appends what comes.
    async fn listen(&self, claimed: &Claimed, call: Call, first_token_by: Instant) -> Heard {
        let live = &claimed.live;
        let mut events = self.provider.answer(call);
        let mut finished = None;
        loop {
            let next = if live.is_empty() && finished.is_none() {
                match timeout_at(first_token_by, events.next()).await {
                    Ok(next) => next,
                    Err(_) => return Heard::Silence,
                }
            } else {
                // While the database is away, the text that it does not have yet has a limit.
                live.room().await;
                events.next().await
            };
            match next {
                Some(Ok(Event::Text(text))) => {
                    if let Err(full) = live.append(&text, self.clock.now()) {
                        return Heard::Full(Failure::new(
                            FailureCode::AnswerTooLong,
                            format!(
                                "The answer grew beyond the limit of {} bytes and was cut.",
                                full.limit
                            ),
                        ));
                    }
                    fault::point("answer.text");
                }
                Some(Ok(Event::Usage(usage))) => live.note_usage(usage),
                Some(Ok(Event::Finished { reason })) => finished = Some(reason),
                Some(Err(error)) => return Heard::Failed(error),
                None => return finished.map_or(Heard::BrokeOff, Heard::Finished),
            }
        }
    }

    fn silence(&self) -> Failure {
        Failure::new(
            FailureCode::FirstTokenTimeout,
            format!(
                "The model's server ({}) said nothing within {} and was given up.",
                self.provider.name(),
                spelled(self.settings.attempts.first_token)
            ),
        )
    }

    /// What the model is asked: the history from the database, never from the client.
    async fn call(&self, request: &llm_request::Model) -> Result<Call, StoreError> {
        let messages = self.store.all_messages(request.chat_id).await?;
        let asked = messages
            .iter()
            .find(|message| message.id == request.user_message_id)
            .cloned()
            .ok_or(StoreError::Missing {
                what: "user message",
            })?;
        let turns = history(messages, &asked)
            .into_iter()
            .map(|message| Turn {
                speaker: match message.role {
                    Role::System => Speaker::System,
                    Role::User => Speaker::User,
                    Role::Assistant | Role::Agent => Speaker::Assistant,
                },
                content: message.content,
            })
            .collect();
        Ok(Call {
            model: request.model.clone(),
            turns,
        })
    }

    /// About how many tokens a request sends to its model.
    pub(super) async fn estimate_input(
        &self,
        request: &llm_request::Model,
    ) -> Result<i64, StoreError> {
        match self.call(request).await {
            Ok(call) => Ok(input_tokens(&call)),
            Err(StoreError::Missing { .. }) => Ok(0),
            Err(error) => Err(error),
        }
    }
}

fn finished(claimed: &Claimed, reason: String) -> Written {
    let end = if claimed.live.is_empty() {
        End::Failed(Failure::new(
            FailureCode::EmptyAnswer,
            "The model finished without saying anything.",
        ))
    } else {
        End::Completed
    };
    Written::Ended {
        end,
        finish_reason: Some(reason),
    }
}

fn input_tokens(call: &Call) -> i64 {
    call.turns
        .iter()
        .map(|turn| estimate_tokens(&turn.content))
        .sum()
}

/// A node has died, or was cut off, while it wrote.
pub(super) fn interrupted() -> Failure {
    Failure::new(
        FailureCode::Interrupted,
        "The server stopped while it was writing this answer. What it had written was kept.",
    )
}

fn internal() -> Failure {
    Failure::new(
        FailureCode::Internal,
        "The server could not finish this answer. The reason is in its log.",
    )
}

fn spelled(limit: Duration) -> String {
    match limit.as_secs_f64() {
        whole if whole.fract() == 0.0 => format!("{whole:.0} s"),
        part => format!("{part:.1} s"),
    }
}

//! Answering: the task behind one row of `llm_request`. It reads the model's stream and appends
//! to the live ledger; while it waits it holds no transaction and no connection.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use entity::llm_request;
use entity::token_ledger::Channel;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use tokio::time::{Instant, sleep, timeout_at};
use tower::retry::budget::Budget;

use super::end::End;
use super::finish::Written;
use super::prepare::{PrepareError, Prepared};
use super::replay::{Asking, Found};
use super::{Chats, Claimed};
use crate::fault;
use crate::ledger::{LedgerFull, Stop};
use crate::model::failure::{Failure, FailureCode};
use crate::provider::{Event, ProviderError, Verdict};

/// Waits before the retries of a call, with jitter: doubled from the first to the longest.
const FIRST_RETRY: Duration = Duration::from_millis(400);
const LONGEST_RETRY: Duration = Duration::from_secs(20);

/// How listening to one call of the model ended.
pub(super) enum Heard {
    /// It has finished, and this is why.
    Finished(String),
    /// The stream is over, but the answer was not.
    BrokeOff,
    /// There will be no more, and this is what the user is told.
    Over(Failure),
    Failed(ProviderError),
    /// The first token did not come in time.
    Silence,
}

impl Heard {
    pub fn full(full: LedgerFull) -> Self {
        Self::Over(Failure::new(
            FailureCode::AnswerTooLong,
            format!(
                "The answer grew beyond the limit of {} bytes and was cut.",
                full.limit
            ),
        ))
    }
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
        let written = AssertUnwindSafe(claimed.span.around(self.write(&claimed))).catch_unwind();
        let written = tokio::select! {
            biased;
            stop = live.stopped() => match stop {
                Stop::Ended => {
                    tracing::info!("answer dropped: it has been ended elsewhere");
                    claimed.span.set("pollen.outcome", "ended elsewhere");
                    self.ledgers.close(live);
                    return;
                }
                Stop::Abandon => {
                    tracing::info!("answer abandoned; its text so far is flushed");
                    claimed.span.set("pollen.outcome", "abandoned");
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
        Box::pin(self.finish(&claimed, written)).await;
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
                spelled(self.rules().settings.attempts.deadline)
            ),
        )
    }

    /// Asks the model, or the cache, and writes down what it says.
    async fn write(&self, claimed: &Claimed) -> Written {
        // Boxed, as all that an answer does once: its room is free again while the model is listened to.
        let prepared = match Box::pin(self.prepare(claimed)).await {
            Ok(prepared) => prepared,
            Err(PrepareError::Refused(failure)) => return Written::failed(failure),
            Err(PrepareError::Store(error)) => {
                tracing::error!(%error, "the history could not be read");
                return Written::Broken(internal());
            }
        };
        let (origin, input) = (prepared.origin.clone(), prepared.input_tokens);
        let price = prepared.route.spec.price;
        claimed.live.note_call(origin, price, input);
        match Box::pin(self.look_up(claimed, &prepared)).await {
            Found::Answer(Heard::Finished(reason)) => finished(claimed, reason),
            Found::Answer(Heard::Over(failure)) => Written::failed(failure),
            Found::Answer(_) => {
                // Whoever was listened to has gone in the middle of it.
                Written::Broken(left_alone())
            }
            Found::Ask(asking) => {
                let written = self.ask(claimed, &prepared, asking.as_ref()).await;
                if let Some(asking) = asking {
                    match &written {
                        Written::Ended { end, finish_reason } => {
                            let reason = finish_reason.as_deref();
                            Box::pin(self.share(claimed, asking, end, reason)).await;
                        }
                        // The next attempt asks for all.
                        Written::Broken(_) => {}
                    }
                }
                written
            }
        }
    }

    /// Asks the model. Until the first token has come, a call that failed and may succeed later is made
    /// again.
    async fn ask(
        &self,
        claimed: &Claimed,
        prepared: &Prepared,
        asking: Option<&Asking>,
    ) -> Written {
        let first_token_by = Instant::now() + self.rules().settings.attempts.first_token;
        let name = prepared.route.provider.name();
        let mut waits = ExponentialBuilder::new()
            .with_min_delay(FIRST_RETRY)
            .with_max_delay(LONGEST_RETRY)
            .with_max_times(self.rules().settings.attempts.max_retries)
            .with_jitter()
            .build();
        self.retries.deposit();
        loop {
            let events = prepared.route.answer(prepared.call.clone());
            let heard = self.listen(claimed, events, asking, first_token_by);
            let error = match heard.await {
                Heard::Finished(reason) => return finished(claimed, reason),
                Heard::Over(failure) => return Written::failed(failure),
                Heard::Silence => return Written::failed(self.silence(name)),
                Heard::BrokeOff => ProviderError::broke_off(name),
                Heard::Failed(error) => error,
            };
            let Verdict::Retry { after } = error.verdict else {
                tracing::warn!(%error, "the model failed");
                return Written::failed(error.failure);
            };
            if !claimed.live.is_empty() {
                tracing::warn!(%error, "the model failed in the middle of its answer");
                return self.broken(error.failure);
            }
            let wait = waits.next().map(|wait| wait.max(after.unwrap_or_default()));
            match wait {
                Some(wait) if Instant::now() + wait < first_token_by && self.retries.withdraw() => {
                    tracing::warn!(%error, ?wait, "the model failed; trying again");
                    self.counts.retried();
                    sleep(wait).await;
                }
                _ => {
                    tracing::warn!(%error, "the model failed; not tried again");
                    return Written::failed(error.failure);
                }
            }
        }
    }

    /// What becomes of an answer that broke off after some of it was shown.
    fn broken(&self, failure: Failure) -> Written {
        if self.rules().settings.attempts.replaces_broken {
            Written::Broken(failure)
        } else {
            Written::failed(failure)
        }
    }

    /// Listens to one call and appends what comes.
    async fn listen(
        &self,
        claimed: &Claimed,
        mut events: BoxStream<'static, Result<Event, ProviderError>>,
        asking: Option<&Asking>,
        first_token_by: Instant,
    ) -> Heard {
        let live = &claimed.live;
        let (mut finished, mut tool) = (None, None);
        let mut is_silent = live.is_empty();
        loop {
            let next = if is_silent && finished.is_none() {
                match timeout_at(first_token_by, events.next()).await {
                    Ok(next) => next,
                    Err(_) => return Heard::Silence,
                }
            } else {
                events.next().await
            };
            let event = match next {
                Some(Ok(event)) => event,
                Some(Err(error)) => return Heard::Failed(error),
                None => break,
            };
            if let Some(asking) = asking {
                asking.publish(&event);
            }
            match event {
                Event::Finished { reason } => finished = Some(reason),
                Event::ToolCall(call) => tool = tool.or(call.name),
                event => {
                    if let Some(heard) = self.take(claimed, event).await {
                        return heard;
                    }
                    is_silent = is_silent && live.is_empty();
                }
            }
        }
        match (finished, tool) {
            (None, _) => Heard::BrokeOff,
            (Some(_), Some(tool)) if live.has_said_nothing() => Heard::Failed(tool_called(&tool)),
            (Some(reason), _) => Heard::Finished(reason),
        }
    }

    /// Takes down one event. Some if the answer is over with it.
    pub(super) async fn take(&self, claimed: &Claimed, event: Event) -> Option<Heard> {
        let live = &claimed.live;
        let (channel, text) = match event {
            Event::Text(text) => (Channel::Text, text),
            Event::Reasoning(text) => (Channel::Reasoning, text),
            Event::Usage(usage) => {
                live.note_usage(usage);
                return None;
            }
            Event::ToolCall(_) | Event::Finished { .. } => return None,
        };
        if let Err(full) = live.append(channel, &text, self.clock.now()) {
            return Some(Heard::full(full));
        }
        fault::point("answer.text");
        // While the database is away, the text that it does not have yet has a limit.
        live.room().await;
        None
    }

    fn silence(&self, provider: &str) -> Failure {
        Failure::new(
            FailureCode::FirstTokenTimeout,
            format!(
                "The model's server ({provider}) said nothing within {} and was given up.",
                spelled(self.rules().settings.attempts.first_token)
            ),
        )
    }
}

fn tool_called(tool: &str) -> ProviderError {
    ProviderError {
        failure: Failure::new(
            FailureCode::ToolCalled,
            format!(
                "The model asked for a tool ({tool:?}) instead of answering, and this server offers none."
            ),
        ),
        verdict: Verdict::Fail,
        detail: None,
        is_model_or_address: false,
    }
}

fn finished(claimed: &Claimed, reason: String) -> Written {
    let end = if claimed.live.has_said_nothing() {
        let message = if reason == "length" {
            "The model used up all its tokens before it said anything. Allow it more (`max_tokens`), or less thinking."
        } else {
            "The model finished without saying anything."
        };
        End::Failed(Failure::new(FailureCode::EmptyAnswer, message))
    } else {
        End::Completed
    };
    Written::Ended {
        end,
        finish_reason: Some(reason),
    }
}

/// A node has died, or was cut off, while it wrote.
pub(super) fn interrupted() -> Failure {
    Failure::new(
        FailureCode::Interrupted,
        "The server stopped while it was writing this answer. What it had written was kept.",
    )
}

/// Somebody else was getting the same answer, and was stopped.
fn left_alone() -> Failure {
    Failure::new(
        FailureCode::Interrupted,
        "The same question was being answered elsewhere, and that was stopped in the middle. Try again.",
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

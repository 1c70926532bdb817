//! Answering: the task behind one row of `llm_request`. It reads the model's stream and appends
//! to the live ledger; while it waits it holds no transaction and no connection.

use std::panic::AssertUnwindSafe;

use entity::chat_message::Role;
use futures::{FutureExt, StreamExt};

use super::finish::{End, Finished};
use super::{Chats, Claimed};
use crate::ledger::Stop;
use crate::model::failure::{Failure, FailureCode};
use crate::model::history::history;
use crate::provider::{Call, Event, Speaker, Turn, Usage};
use crate::store::StoreError;

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
        let finished = tokio::select! {
            biased;
            stop = live.stopped() => match stop {
                Stop::Cancel => Finished::new(End::Cancelled),
                Stop::Abandon => {
                    tracing::info!("answer abandoned; its text so far is flushed");
                    return;
                }
            },
            written = written => written.unwrap_or_else(|_| {
                tracing::error!("the answer's task panicked");
                Finished::new(End::Failed(internal()))
            }),
        };
        self.finish(&claimed, finished).await;
    }

    /// Asks the model and writes down what it says.
    async fn write(&self, claimed: &Claimed) -> Finished {
        let call = match self.call(claimed).await {
            Ok(call) => call,
            Err(error) => {
                tracing::error!(%error, "the history could not be read");
                return Finished::new(End::Failed(internal()));
            }
        };
        let mut finished = Finished::new(End::Failed(Failure::new(
            FailureCode::ProviderBrokeOff,
            format!(
                "The model's server ({}) ended its answer in the middle.",
                self.provider.name()
            ),
        )));
        finished.model = Some(
            call.model
                .clone()
                .unwrap_or_else(|| self.provider.default_model().to_owned()),
        );
        let mut events = self.provider.answer(call);
        let mut is_empty = true;
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Text(text)) => {
                    is_empty &= text.is_empty();
                    if let Err(full) = claimed.live.append(&text, self.clock.now()) {
                        finished.end = End::Failed(Failure::new(
                            FailureCode::AnswerTooLong,
                            format!(
                                "The answer grew beyond the limit of {} bytes and was cut.",
                                full.limit
                            ),
                        ));
                        return finished;
                    }
                }
                Ok(Event::Usage(usage)) => finished.usage = merge(finished.usage, usage),
                Ok(Event::Finished { reason }) => {
                    finished.end = if is_empty {
                        End::Failed(Failure::new(
                            FailureCode::EmptyAnswer,
                            "The model finished without saying anything.",
                        ))
                    } else {
                        End::Completed
                    };
                    finished.finish_reason = Some(reason);
                }
                Err(error) => {
                    tracing::warn!(%error, verdict = ?error.verdict, "the model failed");
                    finished.end = End::Failed(error.failure);
                    return finished;
                }
            }
        }
        finished
    }

    /// What the model is asked: the history from the database, never from the client.
    async fn call(&self, claimed: &Claimed) -> Result<Call, StoreError> {
        let messages = self.store.all_messages(claimed.request.chat_id).await?;
        let asked = messages
            .iter()
            .find(|message| message.id == claimed.request.user_message_id)
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
            model: claimed.request.model.clone(),
            turns,
        })
    }
}

fn internal() -> Failure {
    Failure::new(
        FailureCode::Internal,
        "The server could not finish this answer. The reason is in its log.",
    )
}

fn merge(before: Usage, now: Usage) -> Usage {
    Usage {
        input_tokens: now.input_tokens.or(before.input_tokens),
        output_tokens: now.output_tokens.or(before.output_tokens),
    }
}

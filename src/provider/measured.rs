//! What is counted of the calls of models: how long they take, until the first token and altogether, how they end,
//! and what was wrong.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use metrics::{counter, gauge, histogram};

use super::catalogue::Label;
use super::{Event, ProviderError};
use crate::model::failure::FailureCode;
use crate::model::usage::Usage;
use crate::trace::{Span, SpanKind};

type Events = BoxStream<'static, Result<Event, ProviderError>>;

/// The same events, counted under the label.
pub(super) fn measured(label: Label, events: Events) -> Events {
    let labels = [("provider", label.provider), ("model", label.model)];
    gauge!("pollen_provider_calls_running", &labels[..1]).increment(1.0);
    let span = Span::here(|| format!("chat {}", labels[1].1), SpanKind::Client);
    span.set("gen_ai.operation.name", "chat");
    span.set("gen_ai.provider.name", labels[0].1.clone());
    span.set("gen_ai.request.model", labels[1].1.clone());
    Box::pin(Measured {
        events,
        labels,
        begun: Instant::now(),
        is_silent: true,
        outcome: Outcome::Dropped,
        usage: Usage::default(),
        span,
    })
}

struct Measured {
    events: Events,
    labels: [(&'static str, String); 2],
    begun: Instant,
    is_silent: bool,
    outcome: Outcome,
    usage: Usage,
    span: Span,
}

/// How a call ended, as far as is known.
#[derive(Clone, Copy)]
enum Outcome {
    Finished,
    Failed,
    /// The stream ended before the answer did.
    BrokeOff,
    /// Whoever listened has gone: they were told to stop, or had waited for too long.
    Dropped,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::BrokeOff => "broke_off",
            Self::Dropped => "dropped",
        }
    }
}

impl Measured {
    fn note(&mut self, event: Option<&Result<Event, ProviderError>>) {
        match event {
            Some(Ok(Event::Text(_) | Event::Reasoning(_))) if self.is_silent => {
                self.is_silent = false;
                histogram!("pollen_provider_first_token_seconds", &self.labels)
                    .record(self.begun.elapsed());
                self.span.event("first token");
            }
            Some(Ok(Event::Finished { .. })) => self.outcome = Outcome::Finished,
            Some(Ok(Event::Usage(usage))) => self.usage = usage.or(self.usage),
            Some(Err(error)) => {
                self.outcome = Outcome::Failed;
                self.count_error(&error.failure.code);
            }
            None if matches!(self.outcome, Outcome::Dropped) => {
                self.outcome = Outcome::BrokeOff;
                self.count_error(FailureCode::ProviderBrokeOff.as_str());
            }
            Some(Ok(Event::Text(_) | Event::Reasoning(_) | Event::ToolCall(_))) | None => {}
        }
    }

    fn count_error(&self, code: &str) {
        let kind = FailureCode::parse(code).unwrap_or(FailureCode::Internal);
        let [provider, model] = self.labels.clone();
        let labels = [provider, model, ("kind", kind.as_str().to_owned())];
        counter!("pollen_provider_errors_total", &labels).increment(1);
        self.span.fail(kind.as_str());
    }
}

impl Stream for Measured {
    type Item = Result<Event, ProviderError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let event = ready!(self.events.poll_next_unpin(context));
        self.note(event.as_ref());
        Poll::Ready(event)
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        let [provider, model] = self.labels.clone();
        let labels = [provider, model, ("outcome", self.outcome.name().to_owned())];
        counter!("pollen_provider_calls_total", &labels).increment(1);
        histogram!("pollen_provider_call_seconds", &self.labels).record(self.begun.elapsed());
        gauge!("pollen_provider_calls_running", &self.labels[..1]).decrement(1.0);
        self.span.set("pollen.outcome", self.outcome.name());
        for (key, tokens) in [
            ("gen_ai.usage.input_tokens", self.usage.input_tokens),
            ("gen_ai.usage.output_tokens", self.usage.output_tokens),
        ] {
            if let Some(tokens) = tokens {
                self.span.set(key, tokens);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    fn ended(events: Vec<Result<Event, ProviderError>>) -> Measured {
        Measured {
            events: Box::pin(stream::iter(events)),
            labels: [("provider", String::new()), ("model", String::new())],
            begun: Instant::now(),
            is_silent: true,
            outcome: Outcome::Dropped,
            usage: Usage::default(),
            span: Span::default(),
        }
    }

    #[tokio::test]
    async fn a_call_is_counted_by_how_it_ended() {
        let text = || Ok(Event::Text("yes".to_owned()));
        let finish = || {
            Ok(Event::Finished {
                reason: "stop".to_owned(),
            })
        };
        let error = || Err(ProviderError::broke_off("p"));
        for (events, name, is_silent) in [
            (vec![text(), finish()], "finished", false),
            (vec![finish(), error()], "failed", true),
            (vec![text()], "broke_off", false),
        ] {
            let mut measured = ended(events);
            while measured.next().await.is_some() {}
            assert_eq!(measured.outcome.name(), name);
            assert_eq!(measured.is_silent, is_silent);
        }
        assert_eq!(ended(Vec::new()).outcome.name(), "dropped");
    }
}

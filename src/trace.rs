//! Traces: what is told of a message's way, from the request that brought it through the queue to the task, whichever
//! node has it, and the call of the model. Each step is a span; all of one message have one trace.
//!
//! Nothing here knows where spans go (`app/traces.rs`). Where they go nowhere, or this message is not one of those that
//! are traced, a [`Span`] is nothing and costs nothing. A span's attributes are ids, names of models, numbers and codes:
//! never a text that somebody wrote, and never a secret.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::propagation::{Extractor, TextMapPropagator};
pub use opentelemetry::trace::SpanKind;
use opentelemetry::trace::{
    FutureExt as _, Span as _, SpanBuilder, Status, TraceContextExt as _, Tracer as _,
};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracer;

/// The header, and the column, that carries a trace on (<https://www.w3.org/TR/trace-context/>).
pub const TRACEPARENT: &str = "traceparent";

/// What makes spans. Cheap to clone.
#[derive(Clone, Default)]
pub struct Tracer(Option<SdkTracer>);

impl Tracer {
    /// One that makes spans for whoever made this.
    #[must_use]
    pub fn new(tracer: SdkTracer) -> Self {
        Self(Some(tracer))
    }

    /// Whether spans go anywhere.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The span of a request, in the trace that its client has begun, if it has.
    #[must_use]
    pub fn request(&self, name: String, traceparent: Option<&str>) -> Span {
        let parent = traceparent.map_or_else(Context::new, read);
        self.begin(name.into(), SpanKind::Server, &parent, None)
    }

    /// The trace that was written down with a request for an answer, if it was.
    #[must_use]
    pub fn follow(&self, traceparent: Option<&str>) -> Trail {
        Trail {
            tracer: self.clone(),
            parent: traceparent.filter(|_| self.is_on()).map(read),
        }
    }

    fn begin(
        &self,
        name: Cow<'static, str>,
        kind: SpanKind,
        parent: &Context,
        begun: Option<SystemTime>,
    ) -> Span {
        let Some(tracer) = &self.0 else {
            return Span::default();
        };
        let mut builder = SpanBuilder::from_name(name).with_kind(kind);
        builder.start_time = begun;
        let span = tracer.build_with_context(builder, parent);
        if !span.span_context().is_sampled() {
            return Span::default();
        }
        Span(Some(
            Context::new().with_value(self.clone()).with_span(span),
        ))
    }
}

/// A trace to go on with.
pub struct Trail {
    tracer: Tracer,
    parent: Option<Context>,
}

impl Trail {
    /// The next step.
    #[must_use]
    pub fn span(&self, name: &'static str) -> Span {
        let begin = |parent| {
            self.tracer
                .begin(name.into(), SpanKind::Consumer, parent, None)
        };
        self.parent.as_ref().map(begin).unwrap_or_default()
    }

    /// A step that is over: from when to when, in milliseconds after 1970.
    pub fn past(&self, name: &'static str, from_ms: i64, to_ms: i64) {
        if let Some(parent) = &self.parent {
            let (from, to) = (moment(from_ms), moment(to_ms));
            let span = self
                .tracer
                .begin(name.into(), SpanKind::Internal, parent, Some(from));
            if let Some(context) = &span.0 {
                context.span().end_with_timestamp(to.max(from));
            }
        }
    }
}

/// A step of a message's way, from when it is made until it is dropped; or nothing.
#[derive(Default)]
pub struct Span(Option<Context>);

impl Span {
    /// A step of what is under way here.
    #[must_use]
    pub fn here(name: impl FnOnce() -> String, kind: SpanKind) -> Self {
        let context = Context::current();
        match context.get::<Tracer>() {
            Some(tracer) => tracer.begin(name().into(), kind, &context, None),
            None => Self::default(),
        }
    }

    /// A step of this one.
    #[must_use]
    pub fn child(&self, name: &'static str) -> Self {
        let begin = |context: &Context| {
            let tracer = context.get::<Tracer>()?;
            Some(tracer.begin(name.into(), SpanKind::Internal, context, None))
        };
        self.0.as_ref().and_then(begin).unwrap_or_default()
    }

    /// Whether anybody wants to know.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Says more of it.
    pub fn set(&self, key: &'static str, value: impl Into<Value>) {
        if let Some(context) = &self.0 {
            context.span().set_attribute(KeyValue::new(key, value));
        }
    }

    /// Something happens now.
    pub fn event(&self, name: &'static str) {
        if let Some(context) = &self.0 {
            context.span().add_event(name, Vec::new());
        }
    }

    /// It has failed, and this code says why.
    pub fn fail(&self, code: &str) {
        if let Some(context) = &self.0 {
            let span = context.span();
            span.set_attribute(KeyValue::new("error.type", code.to_owned()));
            span.set_status(Status::error(code.to_owned()));
        }
    }

    /// Does some work as a part of it.
    pub async fn around<F: Future>(&self, work: F) -> F::Output {
        match &self.0 {
            None => work.await,
            // Boxed: few are traced, and the others are not to have its room.
            Some(context) => Box::pin(work.with_context(context.clone())).await,
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(context) = &self.0 {
            context.span().end();
        }
    }
}

/// What is to be written down so that another node can go on with what is under way here. None: it is not traced.
#[must_use]
pub fn traceparent() -> Option<String> {
    let context = Context::current();
    if !context.span().span_context().is_sampled() {
        return None;
    }
    let mut headers = HashMap::new();
    TraceContextPropagator::new().inject_context(&context, &mut headers);
    headers.remove(TRACEPARENT)
}

/// As a part of what is under way here, wherever it is worked on.
pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    work.with_context(Context::current())
}

/// What is no trace is none: the beginning of another one.
fn read(traceparent: &str) -> Context {
    struct Header<'a>(&'a str);
    impl Extractor for Header<'_> {
        fn get(&self, key: &str) -> Option<&str> {
            (key == TRACEPARENT).then_some(self.0)
        }

        fn keys(&self) -> Vec<&str> {
            vec![TRACEPARENT]
        }
    }
    TraceContextPropagator::new().extract_with_context(&Context::new(), &Header(traceparent))
}

fn moment(ms: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const NOT_SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

    fn tracer(sampler: Sampler) -> Tracer {
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(sampler)))
            .build();
        Tracer::new(provider.tracer("test"))
    }

    async fn told(span: &Span) -> Option<String> {
        span.around(async { traceparent() }).await
    }

    #[tokio::test]
    async fn a_trace_is_carried_on_as_it_came() {
        let tracer = tracer(Sampler::AlwaysOff);
        let span = tracer.request("send".to_owned(), Some(PARENT));
        let carried = told(&span).await.unwrap();
        assert_eq!(carried[..35], PARENT[..35], "the same trace");
        assert_ne!(carried, PARENT, "and another span");
        let next = tracer.follow(Some(&carried)).span("answer");
        assert_eq!(told(&next).await.unwrap()[..35], PARENT[..35]);
        let inner = next.around(async { Span::here(|| "call".to_owned(), SpanKind::Client) });
        assert!(inner.await.is_on());
        assert!(next.child("finish").is_on());
    }

    #[tokio::test]
    async fn what_is_not_to_be_traced_is_nothing() {
        for (tracer, parent) in [
            (Tracer::default(), Some(PARENT)),
            (tracer(Sampler::AlwaysOff), None),
            (tracer(Sampler::AlwaysOff), Some("00-nonsense-01")),
            (tracer(Sampler::AlwaysOn), Some(NOT_SAMPLED)),
        ] {
            let span = tracer.request("send".to_owned(), parent);
            assert!(!span.is_on());
            assert_eq!(told(&span).await, None);
            assert!(!tracer.follow(None).span("answer").is_on());
            assert!(!span.child("finish").is_on());
        }
        assert!(!Span::here(|| "call".to_owned(), SpanKind::Client).is_on());
    }
}

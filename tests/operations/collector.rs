//! A collector of traces: an HTTP server that takes OTLP, and remembers every byte.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message as _;
use tokio::net::TcpListener;

use crate::support::app::eventually;

#[derive(Clone, Default)]
struct Taken(Arc<Mutex<Vec<(HeaderMap, Bytes)>>>);

pub struct Collector {
    pub base: String,
    taken: Taken,
}

/// A span, as it was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub name: String,
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub events: Vec<String>,
    /// Who sent it: `service.instance.id`.
    pub node: String,
    pub begun: u64,
    pub ended: u64,
    attributes: Vec<(String, String)>,
}

impl Sent {
    pub fn attribute(&self, key: &str) -> &str {
        let found = self.attributes.iter().find(|(name, _)| name == key);
        found.map_or("", |(_, value)| value)
    }
}

impl Collector {
    pub async fn start() -> Self {
        let taken = Taken::default();
        let take = async |State(taken): State<Taken>, headers: HeaderMap, body: Bytes| {
            taken.0.lock().unwrap().push((headers, body));
        };
        let router = Router::new()
            .route("/v1/traces", post(take))
            .with_state(taken.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { base, taken }
    }

    /// Every header's value and every body, one after the other.
    pub fn bytes(&self) -> Vec<u8> {
        let taken = self.taken.0.lock().unwrap();
        taken.iter().flat_map(|(_, body)| body.to_vec()).collect()
    }

    pub fn headers(&self) -> Vec<HeaderMap> {
        let taken = self.taken.0.lock().unwrap();
        taken.iter().map(|(headers, _)| headers.clone()).collect()
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Sent> {
        let taken = self.taken.0.lock().unwrap();
        let mut spans = Vec::new();
        for (_, body) in taken.iter() {
            let request = ExportTraceServiceRequest::decode(body.clone()).unwrap();
            for of_resource in request.resource_spans {
                let resource = of_resource.resource.unwrap_or_default();
                let resource = attributes(&resource.attributes);
                let node = resource
                    .iter()
                    .find(|(key, _)| key == "service.instance.id");
                let node = node.map(|(_, value)| value.clone()).unwrap_or_default();
                let sent = of_resource.scope_spans.into_iter().flat_map(|s| s.spans);
                spans.extend(sent.map(|span| Sent {
                    trace: hex(&span.trace_id),
                    id: hex(&span.span_id),
                    parent: hex(&span.parent_span_id),
                    events: span.events.iter().map(|event| event.name.clone()).collect(),
                    node: node.clone(),
                    begun: span.start_time_unix_nano,
                    ended: span.end_time_unix_nano,
                    attributes: attributes(&span.attributes),
                    name: span.name,
                }));
            }
        }
        spans
    }

    /// The spans, once all of these names are among them.
    pub async fn spans_with(&self, names: &[&str]) -> Vec<Sent> {
        eventually("the spans are sent", async || {
            let spans = self.spans();
            let has = |name: &&str| spans.iter().any(|span| span.name == *name);
            names.iter().all(has).then_some(spans)
        })
        .await
    }
}

fn attributes(pairs: &[KeyValue]) -> Vec<(String, String)> {
    let text = |pair: &KeyValue| {
        let value = pair.value.as_ref().and_then(|any| any.value.as_ref());
        match value {
            Some(Value::StringValue(text)) => text.clone(),
            Some(Value::IntValue(number)) => number.to_string(),
            other => format!("{other:?}"),
        }
    };
    pairs
        .iter()
        .map(|pair| (pair.key.clone(), text(pair)))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap();
    digits.map(digit).collect()
}

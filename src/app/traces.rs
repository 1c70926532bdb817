//! Where spans go: in batches, by OTLP over HTTP, to the collector of the configuration. They wait in a queue of limited
//! length for a thread of their own; when the collector is away, they are lost, and nothing else happens.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use metrics::counter;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider,
};
use secrecy::ExposeSecret;
use tokio::runtime::Handle;
use url::Url;

use super::StartError;
use crate::config::{Config, TracingConfig};
use crate::provider::{FetchError, Outlet};
use crate::trace::Tracer;

/// Where OTLP takes traces.
const PATH: &str = "/v1/traces";
/// Spans that wait to be sent, at most, and that are sent at once.
const QUEUE: usize = 8_192;
const BATCH: usize = 512;
/// How long a span waits for others.
const DELAY: Duration = Duration::from_secs(1);
/// The part of the time for a shutdown that the last spans may take.
const SHUTDOWN_SHARE: u32 = 5;

/// What sends spans, if anybody wants them.
pub(super) struct Traces {
    provider: Option<SdkTracerProvider>,
    shutdown_limit: Duration,
}

/// Sends what the exporter has made.
struct Post {
    outlet: Outlet,
    /// The exporter has a thread of its own, where no client of ours can work.
    runtime: Handle,
    is_down: AtomicBool,
}

impl Traces {
    /// Nothing is sent yet. `node`: the name under which this node claims requests.
    pub fn open(config: &Config, node: &str) -> Result<Self, StartError> {
        let tracing = &config.tracing;
        let shutdown_limit = Duration::from_millis(config.shutdown.limit_ms) / SHUTDOWN_SHARE;
        if tracing.otlp_endpoint.is_empty() {
            return Ok(Self {
                provider: None,
                shutdown_limit,
            });
        }
        let endpoint = endpoint(&tracing.otlp_endpoint);
        let settings = super::access::other_server(config, "tracing", &endpoint)?;
        let outlet = Outlet::open(&settings).map_err(StartError::Traces)?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint)
            .with_headers(headers(tracing))
            .with_http_client(Post {
                outlet,
                runtime: Handle::current(),
                is_down: AtomicBool::new(false),
            })
            .build()
            .map_err(|error| StartError::Exporter(error.to_string()))?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let processor = BatchSpanProcessor::builder(exporter)
            .with_batch_config(batches)
            .build();
        let fresh = Sampler::TraceIdRatioBased(tracing.sample_ratio);
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(fresh)))
            .with_resource(resource(tracing, node))
            .with_span_processor(processor)
            .build();
        Ok(Self {
            provider: Some(provider),
            shutdown_limit,
        })
    }

    pub fn tracer(&self) -> Tracer {
        let provider = self.provider.as_ref();
        provider.map_or_else(Tracer::default, |provider| {
            Tracer::new(provider.tracer("pollen"))
        })
    }

    /// Sends what waits, for a while.
    pub async fn end(mut self) {
        let (Some(provider), limit) = (self.provider.take(), self.shutdown_limit) else {
            return;
        };
        let ended = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(limit));
        if let Ok(Err(error)) = ended.await {
            tracing::warn!(%error, "the last spans were lost");
        }
    }
}

impl Drop for Traces {
    /// Where the end was cut short nobody waits for a collector.
    fn drop(&mut self) {
        if let Some(provider) = &self.provider {
            let _ = provider.shutdown_with_timeout(Duration::ZERO);
        }
    }
}

/// The address of a collector has no path, or the one where it takes traces.
fn endpoint(address: &str) -> String {
    match Url::parse(address) {
        Ok(mut url) if url.path() == "/" => {
            url.set_path(PATH);
            url.into()
        }
        _ => address.to_owned(),
    }
}

fn headers(tracing: &TracingConfig) -> HashMap<String, String> {
    let pairs = tracing.otlp_headers.expose_secret().split(',');
    let pairs = pairs.filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect()
}

fn resource(tracing: &TracingConfig, node: &str) -> Resource {
    Resource::builder()
        .with_service_name(tracing.service_name.clone())
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", node.to_owned()),
        ])
        .build()
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post").finish_non_exhaustive()
    }
}

impl HttpClient for Post {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let outlet = self.outlet.clone();
            let sent = self
                .runtime
                .spawn(async move { outlet.send(request).await });
            let sent = sent.await?;
            self.tell(&sent);
            Ok(Response::builder().status(sent?).body(Bytes::new())?)
        })
    }
}

impl Post {
    /// Once, when the collector goes away, and once when it is back.
    fn tell(&self, sent: &Result<u16, FetchError>) {
        let is_taken = sent
            .as_ref()
            .is_ok_and(|status| (200..300).contains(status));
        let result = if is_taken { "ok" } else { "failed" };
        counter!("pollen_trace_exports_total", "result" => result).increment(1);
        let was_down = self.is_down.swap(!is_taken, Ordering::Relaxed);
        match (was_down, sent) {
            (false, Err(error)) => {
                tracing::warn!(%error, "the collector of traces cannot be reached; spans are lost until it can");
            }
            (false, Ok(status)) if !is_taken => {
                tracing::warn!(
                    status,
                    "the collector of traces refuses them; spans are lost"
                );
            }
            (true, _) if is_taken => tracing::info!("the collector of traces takes them again"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_named_with_or_without_its_path() {
        for (address, expected) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
            (
                "https://otlp.example/own/path",
                "https://otlp.example/own/path",
            ),
        ] {
            assert_eq!(endpoint(address), expected);
        }
    }
}

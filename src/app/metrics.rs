//! What is counted for those who run the server. The rooms count with `metrics` where things happen; here the counts
//! are given their recorder, their explanations and the bounds of their histograms, and what has to be looked at is.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::ledger::Ledgers;
use crate::model::clock::Clock;
use crate::model::failure::FailureCode;
use crate::store::{Store, StoreError};

/// Between two looks at what does not count itself. Samples of histograms are put into their buckets as often, so that
/// they do not pile up while nobody asks.
const LOOKS: Duration = Duration::from_secs(5);
/// Between two looks at the sizes of the tables, at least.
const SIZES: Duration = Duration::from_mins(1);
/// A look at the sizes may take this part of the time at most.
const SIZES_SHARE: u32 = 100;

/// Seconds: of what is done in memory, and of what a database does.
const QUICK: [f64; 14] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0,
    5.0,
];
/// Seconds: of what a model does, and of who waits for one.
const SLOW: [f64; 13] = [
    0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 600.0,
];
const BYTES: [f64; 9] = [
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    16_777_216.0,
];

enum Kind {
    Counter,
    Gauge,
    /// With the upper bounds of its buckets.
    Histogram(&'static [f64]),
}

use Kind::{Counter, Gauge, Histogram};

/// Everything that is counted: the name, what it is, its unit, and the words of `/metrics`. The process's own are
/// described by their library. `docs/OPERATIONS.md` has all of them, with their labels.
const DESCRIBED: [(&str, Kind, Unit, &str); 52] = [
    (
        "pollen_build_info",
        Gauge,
        Unit::Count,
        "1; the version is a label.",
    ),
    (
        "pollen_ready",
        Gauge,
        Unit::Count,
        "Whether the database answered a moment ago: 1, or 0.",
    ),
    (
        "pollen_schema_version",
        Gauge,
        Unit::Count,
        "Migrations that the database has seen.",
    ),
    (
        "pollen_http_requests_total",
        Counter,
        Unit::Count,
        "Requests that were answered, by route and status.",
    ),
    (
        "pollen_http_request_duration_seconds",
        Histogram(&QUICK),
        Unit::Seconds,
        "Time from a request's headers to its answer, by route.",
    ),
    (
        "pollen_http_in_flight",
        Gauge,
        Unit::Count,
        "Requests in flight, but for polls that are answered from memory.",
    ),
    (
        "pollen_http_connections",
        Gauge,
        Unit::Count,
        "Open connections.",
    ),
    (
        "pollen_polls_total",
        Counter,
        Unit::Count,
        "Polls, by what was polled and what they found.",
    ),
    (
        "pollen_shed_total",
        Counter,
        Unit::Count,
        "Requests that were refused because too many were in flight.",
    ),
    (
        "pollen_rate_limited_total",
        Counter,
        Unit::Count,
        "Requests that were refused because there were too many of one caller's, by budget.",
    ),
    (
        "pollen_allowance_refused_total",
        Counter,
        Unit::Count,
        "Requests that were refused because of a tier's limits, by the problem's kind.",
    ),
    (
        "pollen_queue_depth",
        Gauge,
        Unit::Count,
        "Answers that wait to be begun, of all nodes.",
    ),
    (
        "pollen_queue_oldest_seconds",
        Gauge,
        Unit::Seconds,
        "How long the one that has waited longest has waited, of all nodes.",
    ),
    (
        "pollen_running_answers",
        Gauge,
        Unit::Count,
        "Answers that are being written, of all nodes.",
    ),
    (
        "pollen_live_answers",
        Gauge,
        Unit::Count,
        "Answers that this node writes.",
    ),
    (
        "pollen_answers_claimed_total",
        Counter,
        Unit::Count,
        "Attempts at an answer that this node has begun.",
    ),
    (
        "pollen_answers_ended_total",
        Counter,
        Unit::Count,
        "Attempts that have ended, by how and why.",
    ),
    (
        "pollen_answers_rescued_total",
        Counter,
        Unit::Count,
        "Answers of nodes that had gone: taken up again, or ended as failed.",
    ),
    (
        "pollen_answers_fenced_total",
        Counter,
        Unit::Count,
        "Attempts that found that they were no longer to write, by where they found out.",
    ),
    (
        "pollen_answer_queue_seconds",
        Histogram(&SLOW),
        Unit::Seconds,
        "Time that answers waited to be begun.",
    ),
    (
        "pollen_answer_first_token_seconds",
        Histogram(&SLOW),
        Unit::Seconds,
        "Time from a message to the first token of its answer.",
    ),
    (
        "pollen_answer_duration_seconds",
        Histogram(&SLOW),
        Unit::Seconds,
        "Time from a message to the end of its answer, by how it ended.",
    ),
    (
        "pollen_repaired_rows_total",
        Counter,
        Unit::Count,
        "Rows that were corrected because their states disagreed.",
    ),
    (
        "pollen_flushes_total",
        Counter,
        Unit::Count,
        "Flushes that had something to write, by result.",
    ),
    (
        "pollen_flush_seconds",
        Histogram(&QUICK),
        Unit::Seconds,
        "Time that flushes took.",
    ),
    (
        "pollen_flush_bytes",
        Histogram(&BYTES),
        Unit::Bytes,
        "Text that flushes wrote.",
    ),
    (
        "pollen_ledger_text_bytes",
        Gauge,
        Unit::Bytes,
        "Text in memory of the answers that this node writes.",
    ),
    (
        "pollen_ledger_unflushed_bytes",
        Gauge,
        Unit::Bytes,
        "What of it the database does not have yet.",
    ),
    (
        "pollen_database_connections",
        Gauge,
        Unit::Count,
        "Connections to the database, by pool and state.",
    ),
    (
        "pollen_database_connections_max",
        Gauge,
        Unit::Count,
        "Connections that a pool may have.",
    ),
    (
        "pollen_database_wait_seconds",
        Histogram(&QUICK),
        Unit::Seconds,
        "Time that transactions waited for their connection, or for the only writer.",
    ),
    (
        "pollen_database_transaction_seconds",
        Histogram(&QUICK),
        Unit::Seconds,
        "Time that transactions took, waiting included.",
    ),
    (
        "pollen_database_retries_total",
        Counter,
        Unit::Count,
        "Transactions that collided and were tried again.",
    ),
    (
        "pollen_database_unavailable_total",
        Counter,
        Unit::Count,
        "Transactions that failed because the database could not be used.",
    ),
    (
        "pollen_database_bytes",
        Gauge,
        Unit::Bytes,
        "Size of the database.",
    ),
    (
        "pollen_table_bytes",
        Gauge,
        Unit::Bytes,
        "Size of a table with its indexes.",
    ),
    (
        "pollen_provider_calls_total",
        Counter,
        Unit::Count,
        "Calls of models that have ended, by how.",
    ),
    (
        "pollen_provider_calls_running",
        Gauge,
        Unit::Count,
        "Calls of models under way.",
    ),
    (
        "pollen_provider_call_seconds",
        Histogram(&SLOW),
        Unit::Seconds,
        "Time that calls of models took.",
    ),
    (
        "pollen_provider_first_token_seconds",
        Histogram(&SLOW),
        Unit::Seconds,
        "Time from the call of a model to its first token.",
    ),
    (
        "pollen_provider_errors_total",
        Counter,
        Unit::Count,
        "Calls of models that failed, by what was wrong.",
    ),
    (
        "pollen_provider_retries_total",
        Counter,
        Unit::Count,
        "Calls of models that were made again.",
    ),
    (
        "pollen_tokens_total",
        Counter,
        Unit::Count,
        "Tokens that models read and wrote; `reasoning` is part of `output`, `cached` of `input`.",
    ),
    (
        "pollen_cost_micros_total",
        Counter,
        Unit::Count,
        "Millionths of the currency of the configured prices.",
    ),
    (
        "pollen_cache_lookups_total",
        Counter,
        Unit::Count,
        "Answers that were looked for in the response cache, by result.",
    ),
    (
        "pollen_cache_saved_tokens_total",
        Counter,
        Unit::Count,
        "Tokens, in and out, of the answers that came out of the response cache.",
    ),
    (
        "pollen_cache_faults_total",
        Counter,
        Unit::Count,
        "Commands to Redis that failed; the model was asked instead, or this node's own limits.",
    ),
    (
        "pollen_trace_exports_total",
        Counter,
        Unit::Count,
        "Batches of spans that were sent to the collector, by result.",
    ),
    (
        "pollen_process_tasks",
        Gauge,
        Unit::Count,
        "Tasks of the runtime that have not ended.",
    ),
    (
        "pollen_worker_slots",
        Gauge,
        Unit::Count,
        "Answers that this node may write at once.",
    ),
    (
        "pollen_ledger_unflushed_max_bytes",
        Gauge,
        Unit::Bytes,
        "What may wait to be written; beyond it no model is listened to.",
    ),
    (
        "pollen_http_connections_max",
        Gauge,
        Unit::Count,
        "Connections that may be open.",
    ),
];

/// The recorder of this process, from which the counts are read. There is one for all servers in it.
pub(super) fn recorder() -> PrometheusHandle {
    static RECORDER: LazyLock<PrometheusHandle> = LazyLock::new(|| {
        let recorder = with_buckets(PrometheusBuilder::new()).build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("this process has another recorder: /metrics stays empty");
        }
        describe();
        handle
    });
    RECORDER.clone()
}

/// Without bounds the recorder would keep samples and work out quantiles, which cannot be put together over nodes.
fn with_buckets(builder: PrometheusBuilder) -> PrometheusBuilder {
    DESCRIBED.iter().fold(builder, |builder, (name, kind, ..)| {
        let Histogram(bounds) = kind else {
            return builder;
        };
        let matcher = Matcher::Full((*name).to_owned());
        match builder.set_buckets_for_metric(matcher, bounds) {
            Ok(builder) => builder,
            // Only an empty list of bounds is refused.
            Err(error) => {
                tracing::error!(%error, name, "a histogram has no buckets");
                PrometheusBuilder::new()
            }
        }
    })
}

fn describe() {
    for (name, kind, unit, words) in DESCRIBED {
        match kind {
            Counter => describe_counter!(name, unit, words),
            Gauge => describe_gauge!(name, unit, words),
            Histogram(_) => describe_histogram!(name, unit, words),
        }
    }
    Collector::default().describe();
    // A count that is not there yet cannot be told from one that is gone, and its first step is not seen.
    let begin = |name: &'static str, label: &'static str, values: &[&'static str]| {
        for value in values {
            counter!(name, label => *value).absolute(0);
        }
    };
    begin("pollen_cache_lookups_total", "result", &["hit", "miss"]);
    counter!("pollen_cache_saved_tokens_total").absolute(0);
    counter!("pollen_cache_faults_total").absolute(0);
    begin(
        "pollen_rate_limited_total",
        "budget",
        &["polls", "sends", "changes", "unknown"],
    );
    begin(
        "pollen_allowance_refused_total",
        "kind",
        &["tokens-used-up", "budget-used-up", "too-many-answers"],
    );
    begin(
        "pollen_repaired_rows_total",
        "what",
        &["requests", "answers", "questions", "chats"],
    );
    begin("pollen_trace_exports_total", "result", &["ok", "failed"]);
    for outcome in ["failed", "replaced"] {
        for reason in [FailureCode::Interrupted, FailureCode::Internal] {
            counter!("pollen_answers_ended_total", "outcome" => outcome, "reason" => reason.as_str())
                .absolute(0);
        }
    }
    gauge!("pollen_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

/// Looks now and then at what does not count itself.
pub(super) struct Watcher {
    pub recorder: PrometheusHandle,
    pub store: Arc<Store>,
    pub ledgers: Arc<Ledgers>,
    pub clock: Arc<dyn Clock>,
}

impl Watcher {
    /// Looks at once, and then until told to stop. A database that is away is no more than a reading.
    pub async fn run(self, stop: CancellationToken) {
        let process = Collector::default();
        let mut ticks = tokio::time::interval(LOOKS);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sizes_at = Instant::now();
        let work = async {
            loop {
                ticks.tick().await;
                self.recorder.run_upkeep();
                process.collect();
                self.look_at_memory();
                let queue = self.look_at_queue().await;
                gauge!("pollen_ready").set(if queue.is_ok() { 1.0 } else { 0.0 });
                if queue.is_ok() && sizes_at <= Instant::now() {
                    let begun = Instant::now();
                    if let Err(error) = self.look_at_sizes().await {
                        tracing::debug!(%error, "the sizes of the tables could not be read");
                    }
                    sizes_at = Instant::now() + SIZES.max(begun.elapsed() * SIZES_SHARE);
                }
            }
        };
        stop.run_until_cancelled(work).await;
    }

    fn look_at_memory(&self) {
        gauge!("pollen_live_answers").set(number(self.ledgers.count()));
        let (text, unflushed) = self.ledgers.bytes();
        gauge!("pollen_ledger_text_bytes").set(number(text));
        gauge!("pollen_ledger_unflushed_bytes").set(number(unflushed));
        for pool in self.store.pools() {
            let states = [("in_use", pool.in_use), ("idle", pool.idle)];
            for (state, connections) in states {
                gauge!("pollen_database_connections", "pool" => pool.pool, "state" => state)
                    .set(number(connections));
            }
            gauge!("pollen_database_connections_max", "pool" => pool.pool).set(number(pool.most));
        }
        let tasks = tokio::runtime::Handle::current().metrics();
        gauge!("pollen_process_tasks").set(number(tasks.num_alive_tasks()));
    }

    async fn look_at_queue(&self) -> Result<(), StoreError> {
        let queue = self.store.queue().await?;
        let age = queue.oldest.map_or(0, |oldest| {
            let ms = self.clock.now().0.saturating_sub(oldest.0);
            u64::try_from(ms).unwrap_or(0)
        });
        gauge!("pollen_queue_depth").set(whole(queue.waiting));
        gauge!("pollen_queue_oldest_seconds").set(Duration::from_millis(age).as_secs_f64());
        gauge!("pollen_running_answers").set(whole(queue.running));
        Ok(())
    }

    async fn look_at_sizes(&self) -> Result<(), StoreError> {
        gauge!("pollen_schema_version").set(whole(self.store.schema_version().await?));
        gauge!("pollen_database_bytes").set(whole(self.store.bytes().await?));
        for size in self.store.table_sizes().await?.unwrap_or_default() {
            gauge!("pollen_table_bytes", "table" => size.table).set(whole(size.bytes));
        }
        Ok(())
    }
}

/// What is configured, beside which the readings are looked at.
pub(super) fn tell_limits(config: &Config) {
    gauge!("pollen_worker_slots").set(number(config.worker.max_running));
    let unflushed = config.ledger.max_unflushed_bytes;
    gauge!("pollen_ledger_unflushed_max_bytes").set(number(unflushed));
    gauge!("pollen_http_connections_max").set(number(config.limits.connections));
}

fn number(number: usize) -> f64 {
    whole(u64::try_from(number).unwrap_or(u64::MAX))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a reading need not be exact beyond 2^52"
)]
fn whole(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_they_are() {
        for (name, kind, unit, words) in DESCRIBED {
            assert!(name.starts_with("pollen_"), "{name}");
            assert!(words.ends_with('.'), "{name}: {words}");
            let is_total = name.ends_with("_total");
            assert_eq!(matches!(kind, Counter), is_total, "{name}");
            if matches!(unit, Unit::Seconds) {
                assert!(name.ends_with("_seconds"), "{name}");
            }
            if matches!(unit, Unit::Bytes) {
                assert!(name.ends_with("_bytes"), "{name}");
            }
            if let Histogram(bounds) = kind {
                assert!(bounds.is_sorted(), "{name}");
            }
        }
    }
}

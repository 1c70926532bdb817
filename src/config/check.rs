//! What a value must be beyond its type.

use secrecy::ExposeSecret;

use super::{Config, ModelConfig};

type Complaint = (&'static str, String);

/// A lease is renewed at a third of it, and a renewal may fail.
const FLUSHES_PER_LEASE: u64 = 6;
/// The highest price of a million tokens.
const MAX_PRICE: f64 = 1_000_000.0;

/// The first value that is out of bounds, by key, with the reason.
pub(super) fn check(config: &Config) -> Result<(), Complaint> {
    let url = config.database_url.expose_secret();
    if !["sqlite:", "postgres://", "postgresql://"]
        .iter()
        .any(|scheme| url.starts_with(scheme))
    {
        return complain(
            "database_url",
            "expected sqlite:FILE or postgres://USER:PASSWORD@HOST/DATABASE",
        );
    }
    if url.starts_with("sqlite:") && (url.contains(":memory:") || url.contains("mode=memory")) {
        return complain(
            "database_url",
            "a database in memory would be lost with its connection; name a file",
        );
    }
    check_url("openai.base_url", &config.openai.base_url, Empty::Allowed)?;
    check_url("ollama.base_url", &config.ollama.base_url, Empty::Refused)?;
    if !(config.demo.tokens_per_second.is_finite()
        && (0.1..=1_000_000.0).contains(&config.demo.tokens_per_second))
    {
        return complain(
            "demo.tokens_per_second",
            "expected a number from 0.1 to 1000000",
        );
    }
    check_prices(&config.model)?;
    for (key, value, least, most) in bounds(config) {
        if value < least || value > most {
            return complain(key, format!("expected a number from {least} to {most}"));
        }
    }
    let (flush, lease) = (config.ledger.flush_interval_ms, config.worker.lease_ms);
    if lease < flush.saturating_mul(FLUSHES_PER_LEASE) {
        return complain(
            "worker.lease_ms",
            format!(
                "leases are renewed with the flush: expected at least {FLUSHES_PER_LEASE} times \
                 ledger.flush_interval_ms, which is {flush}"
            ),
        );
    }
    if let Err(error) = tracing_subscriber::EnvFilter::try_new(&config.log.filter) {
        return complain("log.filter", error.to_string());
    }
    Ok(())
}

fn check_prices(models: &[ModelConfig]) -> Result<(), Complaint> {
    for (place, model) in models.iter().enumerate() {
        if model.id.trim().is_empty() {
            return complain("model", "a model's `id` is empty");
        }
        if models[..place].iter().any(|other| other.id == model.id) {
            return complain("model", format!("{:?} is there twice", model.id));
        }
        let prices = [
            Some(model.price_in),
            Some(model.price_out),
            model.price_cached,
        ];
        for price in prices.into_iter().flatten() {
            if !(price.is_finite() && (0.0..=MAX_PRICE).contains(&price)) {
                return complain(
                    "model",
                    format!(
                        "a price of {:?} is not a number from 0 to {MAX_PRICE}",
                        model.id
                    ),
                );
            }
        }
    }
    Ok(())
}

/// (key, value, least, most) of all whole numbers.
#[expect(clippy::too_many_lines, reason = "a table, one row for each key")]
fn bounds(config: &Config) -> Vec<(&'static str, u64, u64, u64)> {
    const HOUR_MS: u64 = 3_600_000;
    const TEN_MINUTES_MS: u64 = 600_000;
    const MONTH_MS: u64 = 2_678_400_000;
    let size = |number: usize| number as u64;
    let (upstream, ledger, worker) = (&config.upstream, &config.ledger, &config.worker);
    let (database, limits) = (&config.database, &config.limits);
    vec![
        ("demo.tokens", size(config.demo.tokens), 0, 10_000_000),
        (
            "database.max_connections",
            database.max_connections.into(),
            1,
            1_000,
        ),
        (
            "database.acquire_timeout_ms",
            database.acquire_timeout_ms,
            100,
            TEN_MINUTES_MS,
        ),
        (
            "upstream.connect_timeout_ms",
            upstream.connect_timeout_ms,
            50,
            HOUR_MS,
        ),
        (
            "upstream.first_byte_timeout_ms",
            upstream.first_byte_timeout_ms,
            50,
            HOUR_MS,
        ),
        (
            "upstream.stall_timeout_ms",
            upstream.stall_timeout_ms,
            50,
            HOUR_MS,
        ),
        (
            "ledger.flush_interval_ms",
            ledger.flush_interval_ms,
            10,
            60_000,
        ),
        (
            "ledger.max_answer_bytes",
            size(ledger.max_answer_bytes),
            1_024,
            1 << 30,
        ),
        (
            "openai.max_running",
            config.openai.max_running.into(),
            0,
            1_000_000,
        ),
        (
            "ollama.max_running",
            config.ollama.max_running.into(),
            0,
            1_000_000,
        ),
        (
            "demo.max_running",
            config.demo.max_running.into(),
            0,
            1_000_000,
        ),
        ("upstream.max_retries", size(upstream.max_retries), 0, 20),
        (
            "ledger.max_unflushed_bytes",
            size(ledger.max_unflushed_bytes),
            1_024,
            1 << 40,
        ),
        (
            "ledger.follow_interval_ms",
            ledger.follow_interval_ms,
            0,
            60_000,
        ),
        ("worker.max_attempts", worker.max_attempts.into(), 1, 100),
        ("worker.deadline_ms", worker.deadline_ms, 100, 24 * HOUR_MS),
        (
            "worker.first_token_timeout_ms",
            worker.first_token_timeout_ms,
            50,
            HOUR_MS,
        ),
        (
            "worker.repair_interval_ms",
            worker.repair_interval_ms,
            50,
            HOUR_MS,
        ),
        (
            "limits.idempotency_ttl_ms",
            limits.idempotency_ttl_ms,
            1_000,
            MONTH_MS,
        ),
        ("worker.max_running", size(worker.max_running), 1, 1_000_000),
        ("worker.lease_ms", worker.lease_ms, 300, HOUR_MS),
        (
            "worker.scan_interval_ms",
            worker.scan_interval_ms,
            50,
            TEN_MINUTES_MS,
        ),
        (
            "limits.message_bytes",
            size(limits.message_bytes),
            1,
            1 << 24,
        ),
        ("limits.body_bytes", size(limits.body_bytes), 1_024, 1 << 26),
        ("limits.connections", size(limits.connections), 1, 1_000_000),
        (
            "limits.header_timeout_ms",
            limits.header_timeout_ms,
            100,
            TEN_MINUTES_MS,
        ),
        (
            "limits.body_timeout_ms",
            limits.body_timeout_ms,
            100,
            TEN_MINUTES_MS,
        ),
        (
            "shutdown.limit_ms",
            config.shutdown.limit_ms,
            100,
            TEN_MINUTES_MS,
        ),
    ]
}

fn complain(key: &'static str, reason: impl Into<String>) -> Result<(), Complaint> {
    Err((key, reason.into()))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Empty {
    Allowed,
    Refused,
}

fn check_url(key: &'static str, text: &str, empty: Empty) -> Result<(), Complaint> {
    if text.is_empty() && empty == Empty::Allowed {
        return Ok(());
    }
    match url::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(()),
        Ok(_) => complain(key, "expected an http:// or https:// address"),
        Err(error) => complain(key, format!("not an address: {error}")),
    }
}

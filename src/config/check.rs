//! What a value must be beyond its type.

use secrecy::ExposeSecret;

use super::Config;

type Complaint = (&'static str, String);

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
    for (key, value, least, most) in bounds(config) {
        if value < least || value > most {
            return complain(key, format!("expected a number from {least} to {most}"));
        }
    }
    if let Err(error) = tracing_subscriber::EnvFilter::try_new(&config.log.filter) {
        return complain("log.filter", error.to_string());
    }
    Ok(())
}

/// (key, value, least, most) of all whole numbers.
fn bounds(config: &Config) -> Vec<(&'static str, u64, u64, u64)> {
    const HOUR_MS: u64 = 3_600_000;
    const TEN_MINUTES_MS: u64 = 600_000;
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

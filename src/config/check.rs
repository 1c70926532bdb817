//! What a value must be beyond its type.

use secrecy::ExposeSecret;

use super::{Config, access};

pub(super) type Complaint = (&'static str, String);

/// A lease is renewed at a third of it, and a renewal may fail.
const FLUSHES_PER_LEASE: u64 = 6;
const HOUR_MS: u64 = 3_600_000;
const MONTH_MS: u64 = 2_678_400_000;
const YEAR_MS: u64 = 31_622_400_000;
const TIMEOUT_BOUNDS_MS: (u64, u64) = (50, HOUR_MS);
/// 0: there is none.
const TOTAL_BOUNDS_MS: (u64, u64) = (0, 24 * HOUR_MS);
const TTL_BOUNDS_MS: (u64, u64) = (1_000, MONTH_MS);
/// The highest number of requests a minute.
const MAX_RATE: u64 = 10_000_000;
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
    // Whoever were to connect to it would say it as it is, the password too.
    if !url.starts_with("sqlite:") && url::Url::parse(url).is_err() {
        return complain(
            "database_url",
            "this is no URL; in a password, `@`, `/`, `:` and the like are written as `%40`, `%2F`, `%3A`",
        );
    }
    if url.starts_with("sqlite:") && (url.contains(":memory:") || url.contains("mode=memory")) {
        return complain(
            "database_url",
            "a database in memory would be lost with its connection; name a file",
        );
    }
    let remotes = [
        ("openai.base_url", &config.openai),
        ("anthropic.base_url", &config.anthropic),
        ("gemini.base_url", &config.gemini),
        ("xai.base_url", &config.xai),
        ("mistral.base_url", &config.mistral),
        ("deepseek.base_url", &config.deepseek),
        ("groq.base_url", &config.groq),
        ("openrouter.base_url", &config.openrouter),
        ("azure.base_url", &config.azure),
    ];
    for (key, remote) in remotes {
        if !remote.base_url.is_empty() {
            check_url(key, &remote.base_url)?;
        }
    }
    check_url("ollama.base_url", &config.ollama.base_url)?;
    if !(config.demo.tokens_per_second.is_finite()
        && (0.1..=1_000_000.0).contains(&config.demo.tokens_per_second))
    {
        return complain(
            "demo.tokens_per_second",
            "expected a number from 0.1 to 1000000",
        );
    }
    access::check(config)?;
    check_providers(config)?;
    check_models(config)?;
    check_tiers(config)?;
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
    let listen = &config.metrics.listen;
    if !listen.is_empty() && listen.parse::<std::net::SocketAddr>().is_err() {
        return complain(
            "metrics.listen",
            "expected an address and a port: 127.0.0.1:9464",
        );
    }
    check_tracing(config)?;
    if let Err(error) = tracing_subscriber::EnvFilter::try_new(&config.log.filter) {
        return complain("log.filter", error.to_string());
    }
    Ok(())
}

fn check_tracing(config: &Config) -> Result<(), Complaint> {
    let tracing = &config.tracing;
    if !tracing.otlp_endpoint.is_empty() {
        check_url("tracing.otlp_endpoint", &tracing.otlp_endpoint)?;
    }
    let headers = tracing.otlp_headers.expose_secret();
    let is_pair = |pair: &str| pair.trim().is_empty() || pair.contains('=');
    if !headers.split(',').all(is_pair) {
        return complain("tracing.otlp_headers", "expected name=value,name=value");
    }
    if !(0.0..=1.0).contains(&tracing.sample_ratio) {
        return complain("tracing.sample_ratio", "expected a number from 0 to 1");
    }
    Ok(())
}

fn check_models(config: &Config) -> Result<(), Complaint> {
    for (place, model) in config.model.iter().enumerate() {
        let complain = |reason: String| complain("model", format!("{:?}: {reason}", model.id));
        if model.id.is_empty() || model.id.contains(char::is_whitespace) {
            return complain("an `id` is a word without spaces".to_owned());
        }
        if config.model[..place]
            .iter()
            .any(|other| other.id == model.id)
        {
            return complain("it is there twice".to_owned());
        }
        let prices = [model.price_in, model.price_out, model.price_cached];
        for price in prices.into_iter().flatten() {
            if !(price.is_finite() && (0.0..=MAX_PRICE).contains(&price)) {
                return complain(format!("a price is not a number from 0 to {MAX_PRICE}"));
            }
        }
        if model.price_in.is_some() != model.price_out.is_some() {
            return complain("`price_in` and `price_out` go together".to_owned());
        }
        if model.context_window == Some(0) || model.max_output == Some(0) {
            return complain("`context_window` and `max_output` are at least 1".to_owned());
        }
        if let Some(reason) = out_of_bounds("cache_ttl_ms", model.cache_ttl_ms, TTL_BOUNDS_MS) {
            return complain(reason);
        }
        let tier = model.tier.as_deref();
        let is_known = |name: &str| config.tier.iter().any(|tier| tier.name == name);
        if let Some(tier) = tier.filter(|tier| !config.tier.is_empty() && !is_known(tier)) {
            return complain(format!("there is no tier {tier:?}"));
        }
    }
    Ok(())
}

/// The time limits of single providers have the bounds of those that hold for all.
fn check_providers(config: &Config) -> Result<(), Complaint> {
    for table in &config.provider {
        let limits = [
            ("connect_timeout_ms", table.connect_timeout_ms),
            ("first_byte_timeout_ms", table.first_byte_timeout_ms),
            ("stall_timeout_ms", table.stall_timeout_ms),
        ];
        let wrong = limits
            .into_iter()
            .find_map(|(key, value)| out_of_bounds(key, value, TIMEOUT_BOUNDS_MS))
            .or_else(|| {
                let total = table.total_timeout_ms;
                out_of_bounds("total_timeout_ms", total, TOTAL_BOUNDS_MS)
            });
        if let Some(reason) = wrong {
            return complain("provider", format!("{:?}: {reason}", table.name));
        }
    }
    Ok(())
}

/// What to say of a number that is too small or too large.
fn out_of_bounds(key: &str, value: Option<u64>, (least, most): (u64, u64)) -> Option<String> {
    let value = value?;
    (value < least || value > most)
        .then(|| format!("`{key}` = {value}: expected a number from {least} to {most}"))
}

fn check_tiers(config: &Config) -> Result<(), Complaint> {
    for (place, tier) in config.tier.iter().enumerate() {
        if tier.name.is_empty() {
            return complain("tier", "a tier's `name` is empty");
        }
        if config.tier[..place]
            .iter()
            .any(|other| other.name == tier.name)
        {
            return complain("tier", format!("{:?} is there twice", tier.name));
        }
        if u64::from(tier.requests_per_minute) > MAX_RATE {
            let reason = format!(
                "`requests_per_minute` of {:?} is more than {MAX_RATE}",
                tier.name
            );
            return complain("tier", reason);
        }
        for cost in [tier.cost_per_day, tier.cost_per_month] {
            if !(cost.is_finite() && (0.0..=MAX_PRICE).contains(&cost)) {
                let reason = format!(
                    "a cost of {:?} is not a number from 0 to {MAX_PRICE}",
                    tier.name
                );
                return complain("tier", reason);
            }
        }
    }
    let default = config.default_tier.as_str();
    if !default.is_empty() && !config.tier.iter().any(|tier| tier.name == default) {
        return complain("default_tier", "there is no such tier");
    }
    Ok(())
}

/// (key, value, least, most) of all whole numbers.
#[expect(clippy::too_many_lines, reason = "a table, one row for each key")]
fn bounds(config: &Config) -> Vec<(&'static str, u64, u64, u64)> {
    const TEN_MINUTES_MS: u64 = 600_000;
    let size = |number: usize| number as u64;
    let (upstream, ledger, worker) = (&config.upstream, &config.ledger, &config.worker);
    let (database, limits) = (&config.database, &config.limits);
    let export = &config.export;
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
            TIMEOUT_BOUNDS_MS.0,
            TIMEOUT_BOUNDS_MS.1,
        ),
        (
            "upstream.first_byte_timeout_ms",
            upstream.first_byte_timeout_ms,
            TIMEOUT_BOUNDS_MS.0,
            TIMEOUT_BOUNDS_MS.1,
        ),
        (
            "upstream.stall_timeout_ms",
            upstream.stall_timeout_ms,
            TIMEOUT_BOUNDS_MS.0,
            TIMEOUT_BOUNDS_MS.1,
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
            "demo.max_running",
            config.demo.max_running.into(),
            0,
            1_000_000,
        ),
        (
            "cache.ttl_ms",
            config.cache.ttl_ms,
            TTL_BOUNDS_MS.0,
            TTL_BOUNDS_MS.1,
        ),
        ("cache.memory_bytes", config.cache.memory_bytes, 0, 1 << 40),
        ("cache.timeout_ms", config.cache.timeout_ms, 10, 60_000),
        (
            "catalogue.refresh_ms",
            config.catalogue.refresh_ms,
            1_000,
            MONTH_MS,
        ),
        (
            "upstream.total_timeout_ms",
            upstream.total_timeout_ms,
            TOTAL_BOUNDS_MS.0,
            TOTAL_BOUNDS_MS.1,
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
        ("limits.undo_ms", limits.undo_ms, 0, MONTH_MS),
        (
            "auth.session_idle_ms",
            config.auth.session_idle_ms,
            1_000,
            YEAR_MS,
        ),
        (
            "auth.session_absolute_ms",
            config.auth.session_absolute_ms,
            1_000,
            YEAR_MS,
        ),
        ("auth.recheck_ms", config.auth.recheck_ms, 0, 60_000),
        (
            "auth.jwt.leeway_ms",
            config.auth.jwt.leeway_ms,
            0,
            TEN_MINUTES_MS,
        ),
        (
            "auth.jwt.refresh_ms",
            config.auth.jwt.refresh_ms,
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
        ("export.pdf_bytes", size(export.pdf_bytes), 1_024, 1 << 26),
        ("export.pdfs_at_once", size(export.pdfs_at_once), 1, 1_000),
        (
            "export.import_bytes",
            size(export.import_bytes),
            1_024,
            1 << 28,
        ),
        (
            "export.archive_bytes",
            export.archive_bytes,
            1 << 16,
            1 << 34,
        ),
        (
            "export.archive_ttl_ms",
            export.archive_ttl_ms,
            60_000,
            MONTH_MS,
        ),
        ("limits.connections", size(limits.connections), 1, 1_000_000),
        (
            "limits.connections_per_address",
            size(limits.connections_per_address),
            0,
            1_000_000,
        ),
        (
            "limits.max_in_flight",
            size(limits.max_in_flight),
            16,
            1_000_000,
        ),
        (
            "limits.requests_per_minute",
            limits.requests_per_minute.into(),
            0,
            MAX_RATE,
        ),
        (
            "limits.polls_per_minute",
            limits.polls_per_minute.into(),
            0,
            MAX_RATE,
        ),
        (
            "limits.changes_per_minute",
            limits.changes_per_minute.into(),
            0,
            MAX_RATE,
        ),
        (
            "limits.unknown_per_minute",
            limits.unknown_per_minute.into(),
            0,
            MAX_RATE,
        ),
        (
            "limits.request_timeout_ms",
            limits.request_timeout_ms,
            1_000,
            HOUR_MS,
        ),
        (
            "limits.longest_wait_ms",
            limits.longest_wait_ms,
            0,
            limits.request_timeout_ms,
        ),
        (
            "limits.idle_timeout_ms",
            limits.idle_timeout_ms,
            100,
            HOUR_MS,
        ),
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
            "shutdown.ready_delay_ms",
            config.shutdown.ready_delay_ms,
            0,
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

pub(super) fn complain(key: &'static str, reason: impl Into<String>) -> Result<(), Complaint> {
    Err((key, reason.into()))
}

pub(super) fn check_url(key: &'static str, text: &str) -> Result<(), Complaint> {
    match url::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(()),
        Ok(_) => complain(key, "expected an http:// or https:// address"),
        Err(error) => complain(key, format!("not an address: {error}")),
    }
}

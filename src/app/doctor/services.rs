//! The services that others run: those of the models, and Redis. Each is asked for no more than a list or a sign of life.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::timeout;

use super::Finding;
use crate::app::models::{dial, provider_settings};
use crate::app::open_cache;
use crate::config::{AUTO, Config, ResolvedProvider};
use crate::model::clock::{Clock as _, SystemClock};
use crate::model::failure::FailureCode;
use crate::provider::{ListedModel, ProviderError, date_at, is_same_model};

const CHECK: &str = "provider";
const CLOCK: &str = "clock";
const REDIS: &str = "redis";
/// How long a provider may take to list its models.
const LIST_LIMIT: Duration = Duration::from_secs(10);
/// A date in an answer is to the second, and some time old.
const SKEW_MS: u64 = 5_000;
/// Names that are shown of a list of models.
const SOME_MODELS: usize = 8;

pub(super) async fn look(config: &Config) -> Vec<Finding> {
    let looked = join_all(config.providers.iter().map(|known| provider(config, known))).await;
    let mut findings: Vec<Finding> = looked.into_iter().flatten().collect();
    let is_nobody = findings.is_empty() && config.providers.iter().all(|known| known.is_guess);
    if is_nobody && config.default_provider == AUTO {
        findings.push(Finding::warning(
            CHECK,
            "only the demo model answers",
            "Set OPENAI_API_KEY (or another service's), start Ollama, or name a server in a [[provider]] table: docs/PROVIDERS.md.",
        ));
    }
    findings.extend(redis(config).await);
    findings
}

async fn provider(config: &Config, known: &ResolvedProvider) -> Vec<Finding> {
    let name = &known.name;
    let dialed = match dial(known) {
        Ok(dialed) => dialed,
        Err(error) => {
            let advice = "Put its address, key, proxy or certificate right.";
            return vec![Finding::problem(CHECK, error.to_string(), advice)];
        }
    };
    let listed = timeout(LIST_LIMIT, dialed.models()).await;
    let listed = listed.unwrap_or_else(|_| Err(ProviderError::took_too_long(name, LIST_LIMIT)));
    let models = match listed {
        Ok(models) => models,
        // Nobody has asked for it.
        Err(_) if known.is_guess => return Vec::new(),
        Err(error) => return vec![refused(known, &error)],
    };
    let base = &known.base_url;
    let found = format!(
        "{name} at {base} answers, and lists {} models",
        models.len()
    );
    let mut findings = vec![Finding::ok(CHECK, found)];
    findings.extend(unlisted(config, known, &models));
    findings.extend(clock(known).await);
    findings
}

fn refused(known: &ResolvedProvider, error: &ProviderError) -> Finding {
    let (name, base) = (&known.name, &known.base_url);
    let is = |code: FailureCode| error.failure.code == code.as_str();
    let advice = if is(FailureCode::ProviderUnauthorized) {
        format!(
            "Set the key of {name} anew, in the environment or in its `api_key_file`, and see that it is for this service."
        )
    } else if is(FailureCode::ProviderUnreachable) || is(FailureCode::ProviderStalled) {
        format!(
            "Is {base} right and the server running? From this machine: curl -sS {base}. Behind a proxy, set `upstream.proxy`."
        )
    } else if is(FailureCode::ProviderQuota) || is(FailureCode::ProviderRateLimited) {
        "Look at the account of the service: it takes no more at the moment.".to_owned()
    } else {
        format!(
            "Are the `base_url` and the `kind` of {name} right? `pollen check` asks it for a few words."
        )
    };
    Finding::problem(CHECK, format!("{name}: {}", error.failure.message), advice)
}

/// Models that the configuration names and the provider does not list.
fn unlisted(config: &Config, known: &ResolvedProvider, models: &[ListedModel]) -> Vec<Finding> {
    if models.is_empty() {
        return Vec::new();
    }
    let is_its = |provider: Option<&str>| match provider {
        Some(provider) => provider == known.name,
        None => config.default_provider == known.name || config.providers.len() == 1,
    };
    let tables = config
        .model
        .iter()
        .filter(|model| is_its(model.provider.as_deref()));
    let names = tables.map(|model| model.upstream.as_deref().unwrap_or(&model.id));
    let wanted = names.chain(known.model.as_deref());
    let mut missing: Vec<&str> = wanted
        .filter(|wanted| !models.iter().any(|model| is_same_model(&model.id, wanted)))
        .collect();
    missing.dedup();
    let some: Vec<&str> = models
        .iter()
        .take(SOME_MODELS)
        .map(|model| model.id.as_str())
        .collect();
    let some = some.join(", ");
    let findings = missing.into_iter().map(|model| {
        Finding::warning(
            CHECK,
            format!("{} does not list the model {model:?}", known.name),
            format!("Name one that it has ({some}, …), or see by `pollen check` whether it answers all the same."),
        )
    });
    findings.collect()
}

async fn clock(known: &ResolvedProvider) -> Option<Finding> {
    let theirs = date_at(&provider_settings(known), LIST_LIMIT).await?;
    let skew = SystemClock.now().0.abs_diff(theirs.0);
    let found = format!(
        "the clock of {} and this machine's differ by {} s",
        known.name,
        skew / 1000
    );
    Some(if skew >= SKEW_MS {
        Finding::warning(
            CLOCK,
            found,
            "Set this machine's clock by NTP (systemd-timesyncd, chrony): expiries, limits by the day and signed tokens go by it.",
        )
    } else {
        Finding::ok(CLOCK, found)
    })
}

async fn redis(config: &Config) -> Option<Finding> {
    use secrecy::ExposeSecret as _;
    if config.redis_url.expose_secret().is_empty() {
        return None;
    }
    let answered = match open_cache(config) {
        Ok(cache) => cache.ping().await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    Some(match answered {
        Ok(()) => Finding::ok(REDIS, "it answers"),
        Err(reason) => Finding::problem(
            REDIS,
            reason,
            "Is it running, and is `redis_url` right, with its password? Until then each node caches and counts by itself.",
        ),
    })
}

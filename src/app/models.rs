//! The models that the configuration leads to: providers connected, the catalogue put together, and the
//! default chosen.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::time::{Instant, timeout};

use super::StartError;
use crate::config::{AUTO, Config, ModelConfig, ProviderKind, ResolvedProvider};
use crate::model::allowance::reaches;
use crate::model::parameters::Parameters;
use crate::model::spec::ModelSpec;
use crate::model::usage::Price;
use crate::provider::{
    Call, Catalogue, DEMO_MODEL, DefaultModel, Demo, DemoSettings, Entry, Event, KeyHeader,
    Provider, ProviderError, ProviderSettings, Speaker, TimeLimits, Turn, Verdict, WireFormat,
    connect,
};

/// What a server is asked for when it names no model: those that have one model do not look.
const UNNAMED_MODEL: &str = "default";
/// A server that is guessed to be there answers at once or is not asked.
const PROBE_LIMIT: Duration = Duration::from_millis(700);
/// How long a start waits for the list of a server of which no model is named.
const LIST_LIMIT: Duration = Duration::from_secs(3);
/// How long a provider may take over a few words when it is checked.
const CHECK_LIMIT: Duration = Duration::from_secs(30);
/// Tokens that a check asks for. Fewer are not enough for models that think first.
const CHECK_TOKENS: u32 = 64;
/// Names that a check shows of a list of models.
const SOME_MODELS: usize = 8;

/// A provider that is there, and what it is to be asked for if nobody names a model.
struct Connected {
    provider: Arc<dyn Provider>,
    settings: ResolvedProvider,
    /// None: the first that it lists.
    model: Option<String>,
}

/// Connects the providers and puts the catalogue together.
///
/// # Errors
/// If an HTTP client cannot be made: its certificates, its proxy.
pub(super) async fn catalogue(config: &Config) -> Result<Catalogue, StartError> {
    let mut connected = Vec::new();
    for settings in &config.providers {
        let provider = dial(settings)?;
        let model = settings.model.clone();
        if settings.is_guess {
            let listed = first_listed(&*provider, PROBE_LIMIT).await;
            let Some(first) = listed else { continue };
            let Some(first) = first else {
                tracing::warn!("an Ollama answers, but has no model: `ollama pull` one");
                continue;
            };
            connected.push(Connected {
                provider,
                settings: settings.clone(),
                model: model.or(Some(first)),
            });
        } else {
            connected.push(Connected {
                provider,
                settings: settings.clone(),
                model,
            });
        }
    }
    let Default { provider, model } = default(config, &connected).await;
    let configured: Vec<ModelSpec> = config
        .model
        .iter()
        .map(|model| spec(config, model, &provider))
        .collect();
    let mut entries: Vec<Entry> = connected
        .into_iter()
        .map(|connected| {
            let name = connected.settings.name.as_str();
            let is_named = |model: &ModelConfig| provider_of(model, &provider) == name;
            let is_listing = connected.settings.list_models;
            let is_open = is_listing.unwrap_or_else(|| !config.model.iter().any(is_named));
            Entry::new(
                connected.provider,
                is_open,
                limit(connected.settings.max_running),
            )
        })
        .collect();
    let wants_demo = |model: &ModelSpec| model.provider == DEMO_MODEL;
    if provider == DEMO_MODEL || configured.iter().any(wants_demo) {
        let demo = Arc::new(demo(config));
        entries.push(Entry::new(demo, false, limit(config.demo.max_running)));
    }
    let default = match &model {
        Chosen::Configured(id) => DefaultModel::Configured(id),
        Chosen::Upstream(name) => DefaultModel::Upstream(&provider, name),
    };
    let refresh = Duration::from_millis(config.catalogue.refresh_ms);
    Ok(Catalogue::new(entries, configured, default, refresh))
}

/// Who answers when nobody names a model, and with which one.
struct Default {
    provider: String,
    model: Chosen,
}

enum Chosen {
    /// By the id of its `[[model]]` table.
    Configured(String),
    /// By the provider's own name for it.
    Upstream(String),
}

/// The provider that runs a model of the file's.
fn provider_of<'a>(model: &'a ModelConfig, default: &'a str) -> &'a str {
    model.provider.as_deref().unwrap_or(default)
}

/// The provider and the model that answer when nobody names one.
async fn default(config: &Config, connected: &[Connected]) -> Default {
    let wanted = Some(config.default_model.as_str()).filter(|id| !id.is_empty());
    let is_auto = config.default_provider == AUTO;
    let is_there = |name: &str| {
        name == DEMO_MODEL || connected.iter().any(|known| known.settings.name == name)
    };
    // The one that a table means which names none.
    let usual = if is_auto {
        let first = connected.first();
        first.map_or(DEMO_MODEL, |connected| connected.settings.name.as_str())
    } else {
        config.default_provider.as_str()
    };
    let configured = |provider: &str, model: &ModelConfig| Default {
        provider: provider.to_owned(),
        model: Chosen::Configured(model.id.clone()),
    };
    // A model that is named brings its provider along; where none is named, the first of the file.
    let named = config.model.iter().find(|model| match wanted {
        Some(id) => model.id == id,
        None => is_auto && is_there(provider_of(model, usual)),
    });
    if let Some(model) = named {
        let provider = provider_of(model, usual);
        if is_there(provider) {
            return configured(provider, model);
        }
    }
    if let Some((name, upstream)) = wanted.and_then(|wanted| wanted.split_once('/')) {
        let is_meant = is_auto || name == usual;
        if is_meant && named.is_none() && is_there(name) && !upstream.is_empty() {
            return Default {
                provider: name.to_owned(),
                model: Chosen::Upstream(upstream.to_owned()),
            };
        }
    }
    let chosen = connected.iter().find(|known| known.settings.name == usual);
    let model = match (wanted, chosen) {
        (Some(wanted), _) => wanted.to_owned(),
        (None, None) => DEMO_MODEL.to_owned(),
        (None, Some(chosen)) => {
            let is_its = |model: &&ModelConfig| provider_of(model, usual) == usual;
            match (&chosen.model, config.model.iter().find(is_its)) {
                (Some(model), _) => model.clone(),
                (None, Some(model)) => return configured(usual, model),
                (None, None) => {
                    let listed = first_listed(&*chosen.provider, LIST_LIMIT).await.flatten();
                    listed.unwrap_or_else(|| {
                        tracing::warn!(
                            provider = usual,
                            "no model is named and none is listed: it is asked for {UNNAMED_MODEL:?} until the next start; `default_model` names one"
                        );
                        UNNAMED_MODEL.to_owned()
                    })
                }
            }
        }
    };
    Default {
        provider: chosen.map_or(DEMO_MODEL, |_| usual).to_owned(),
        model: Chosen::Upstream(model),
    }
}

/// The first model that a server lists. None: it cannot be asked. Some(None): it has none.
async fn first_listed(provider: &dyn Provider, limit: Duration) -> Option<Option<String>> {
    let listed = timeout(limit, provider.models()).await.ok()?.ok()?;
    Some(listed.into_iter().next().map(|model| model.id))
}

fn limit(max_running: u32) -> Option<u32> {
    (max_running > 0).then_some(max_running)
}

fn demo(config: &Config) -> Demo {
    Demo::new(DemoSettings {
        tokens_per_second: config.demo.tokens_per_second,
        tokens: config.demo.tokens,
        seed: config.demo.seed,
    })
}

fn spec(config: &Config, model: &ModelConfig, default_provider: &str) -> ModelSpec {
    let upstream = model.upstream.clone().unwrap_or_else(|| model.id.clone());
    let ttl_ms = model.cache_ttl_ms.unwrap_or(config.cache.ttl_ms);
    ModelSpec {
        id: model.id.clone(),
        name: model.name.clone().unwrap_or_else(|| model.id.clone()),
        provider: model
            .provider
            .clone()
            .unwrap_or_else(|| default_provider.to_owned()),
        context_window: model.context_window,
        upstream,
        max_output: model.max_output,
        price: model
            .price_in
            .zip(model.price_out)
            .map(|(input, output)| Price {
                input,
                output,
                cached: model.price_cached,
            }),
        parameters: model.parameters.clone(),
        tier: model.tier.clone(),
        cache_ttl: model.cache.then(|| Duration::from_millis(ttl_ms)),
    }
}

pub(super) fn dial(settings: &ResolvedProvider) -> Result<Arc<dyn Provider>, StartError> {
    connect(provider_settings(settings)).map_err(|source| StartError::Provider {
        provider: settings.name.clone(),
        source,
    })
}

/// What the way to a provider is made of.
pub(super) fn provider_settings(settings: &ResolvedProvider) -> ProviderSettings {
    let ms = Duration::from_millis;
    let pairs = |pairs: &std::collections::BTreeMap<String, String>| {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    ProviderSettings {
        name: settings.name.clone(),
        format: match settings.kind {
            ProviderKind::OpenAi => WireFormat::OpenAi,
            ProviderKind::OpenAiResponses => WireFormat::OpenAiResponses,
            ProviderKind::Anthropic => WireFormat::Anthropic,
            ProviderKind::Gemini => WireFormat::Gemini,
            ProviderKind::Ollama => WireFormat::Ollama,
        },
        base_url: settings.base_url.clone(),
        api_key: settings.api_key.clone(),
        key_header: settings.key_header.as_deref().map(|header| {
            if header.eq_ignore_ascii_case("bearer") {
                KeyHeader::Bearer
            } else {
                KeyHeader::Named(header.to_owned())
            }
        }),
        headers: pairs(&settings.headers),
        query: pairs(&settings.query),
        send_reasoning: settings.send_reasoning,
        limits: TimeLimits {
            connect: ms(settings.connect_timeout_ms),
            first_byte: ms(settings.first_byte_timeout_ms),
            stall: ms(settings.stall_timeout_ms),
            total: (settings.total_timeout_ms > 0).then(|| ms(settings.total_timeout_ms)),
        },
        proxy: settings.proxy.clone(),
        ca_certificate: settings.ca_certificate.clone(),
    }
}

/// The models that can be used by somebody of the default tier, the default one first: what
/// `GET /models` gives. With each whether it is the default one, which a higher tier may keep to itself.
///
/// # Errors
/// If an HTTP client cannot be made.
pub async fn known_models(config: &Config) -> Result<Vec<(Arc<ModelSpec>, bool)>, StartError> {
    let catalogue = catalogue(config).await?;
    let mut models = catalogue.models().await;
    models.retain(|spec| match spec.tier.as_deref() {
        Some(needed) if !config.default_tier.is_empty() => {
            let order = config.tier.iter().map(|tier| tier.name.as_str());
            reaches(&config.default_tier, needed, order)
        }
        _ => true,
    });
    let default = &catalogue.default_model().id;
    let marked = models.into_iter().map(|spec| {
        let is_default = spec.id == *default;
        (spec, is_default)
    });
    Ok(marked.collect())
}

/// What a check of one provider found.
#[derive(Clone, Debug)]
pub struct CheckedProvider {
    pub provider: String,
    pub model: String,
    /// Until the first token, and until the end; or what went wrong, for whoever set it up.
    pub outcome: Result<(Duration, Duration), String>,
}

/// Asks each configured provider, and each configured model, for a few words.
///
/// # Errors
/// If an HTTP client cannot be made.
pub async fn check_providers(config: &Config) -> Result<Vec<CheckedProvider>, StartError> {
    let catalogue = catalogue(config).await?;
    let mut checks = Vec::new();
    for entry in catalogue.providers() {
        let name = entry.provider.name().to_owned();
        let known = catalogue.known();
        let mut models: Vec<Arc<ModelSpec>> = known
            .into_iter()
            .filter(|spec| spec.provider == name)
            .collect();
        if models.is_empty() {
            match some_model(config, &catalogue, entry, &name).await {
                Ok(spec) => models.extend(spec),
                Err(error) => {
                    checks.push(CheckedProvider {
                        provider: name,
                        model: String::new(),
                        outcome: Err(error.failure.message),
                    });
                    continue;
                }
            }
        }
        if models.is_empty() {
            checks.push(CheckedProvider {
                provider: name,
                model: String::new(),
                outcome: Err(
                    "it lists no model that could be asked; name one with a [[model]] table"
                        .to_owned(),
                ),
            });
            continue;
        }
        for spec in models {
            let outcome = match try_out(&*entry.provider, &spec).await {
                Ok(took) => Ok(took),
                Err(error) => Err(told_apart(&*entry.provider, &spec, error).await),
            };
            checks.push(CheckedProvider {
                provider: name.clone(),
                model: spec.id.clone(),
                outcome,
            });
        }
    }
    Ok(checks)
}

/// What went wrong, in words. Where a server does not say whether it is the model or the address that
/// it does not know, its list of models tells.
async fn told_apart(provider: &dyn Provider, spec: &ModelSpec, error: ProviderError) -> String {
    if !error.is_model_or_address {
        return error.failure.message;
    }
    let (name, model) = (provider.name(), &spec.upstream);
    match provider.models().await {
        Ok(listed) if listed.iter().any(|listed| listed.id == *model) => format!(
            "The model's server ({name}) lists the model {model:?}, but does not answer at this address. Is its `kind` right?"
        ),
        Ok(listed) => {
            let some: Vec<String> = listed
                .iter()
                .take(SOME_MODELS)
                .map(|listed| format!("{:?}", listed.id))
                .collect();
            format!(
                "The model's server ({name}) does not know the model {model:?}. It lists: {}.",
                some.join(", ")
            )
        }
        Err(listing) if matches!(listing.verdict, Verdict::Fail) => format!(
            "The address (`base_url`) of the model's server ({name}) is wrong: neither the model {model:?} nor a list of models is there."
        ),
        Err(_) => error.failure.message,
    }
}

/// A model of a provider of which the file names none.
async fn some_model(
    config: &Config,
    catalogue: &Catalogue,
    entry: &Entry,
    name: &str,
) -> Result<Option<Arc<ModelSpec>>, ProviderError> {
    let settings = config
        .providers
        .iter()
        .find(|settings| settings.name == name);
    let model = if let Some(model) = settings.and_then(|settings| settings.model.clone()) {
        model
    } else {
        let listed = entry.provider.models().await?;
        let Some(first) = listed.into_iter().next() else {
            return Ok(None);
        };
        first.id
    };
    let route = catalogue.resolve(Some(&format!("{name}/{model}")));
    Ok(route.ok().map(|route| route.spec))
}

async fn try_out(
    provider: &dyn Provider,
    spec: &ModelSpec,
) -> Result<(Duration, Duration), ProviderError> {
    let begun = Instant::now();
    let call = Call {
        model: spec.upstream.clone(),
        turns: vec![Turn {
            speaker: Speaker::User,
            content: "Say OK.".to_owned(),
            reasoning: None,
        }],
        parameters: Parameters {
            max_tokens: Some(CHECK_TOKENS),
            ..Parameters::default()
        },
        context_window: spec.context_window,
        max_output: spec.max_output,
    };
    let mut events = provider.answer(call);
    let mut first = None;
    let answered = async {
        while let Some(event) = events.next().await {
            match event? {
                Event::Text(_) | Event::Reasoning(_) => {
                    first.get_or_insert_with(|| begun.elapsed());
                }
                Event::Finished { .. } => return Ok(()),
                Event::ToolCall(_) | Event::Usage(_) => {}
            }
        }
        Err(ProviderError::broke_off(provider.name()))
    };
    match timeout(CHECK_LIMIT, answered).await {
        Ok(answered) => answered?,
        Err(_) => return Err(ProviderError::took_too_long(provider.name(), CHECK_LIMIT)),
    }
    let all = begun.elapsed();
    Ok((first.unwrap_or(all), all))
}

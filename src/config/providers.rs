//! The services that run models: what the file and the environment say of them, put together with
//! what is known of the well-known ones.

use std::collections::{BTreeMap, BTreeSet};

use secrecy::{ExposeSecret, SecretString};

use super::{Config, ProviderConfig, ProviderKind, RemoteConfig, UpstreamConfig};

/// A service that runs models, with all that is needed to call it.
#[derive(Clone, Debug)]
pub struct ResolvedProvider {
    pub name: String,
    pub kind: ProviderKind,
    pub base_url: String,
    pub api_key: Option<SecretString>,
    pub key_header: Option<String>,
    pub headers: BTreeMap<String, String>,
    pub query: BTreeMap<String, String>,
    pub send_reasoning: bool,
    /// Of an answer when nobody names one; none: the first that is listed.
    pub model: Option<String>,
    pub max_running: u32,
    pub list_models: Option<bool>,
    pub proxy: Option<String>,
    /// PEM.
    pub ca_certificate: Option<Vec<u8>>,
    pub connect_timeout_ms: u64,
    pub first_byte_timeout_ms: u64,
    pub stall_timeout_ms: u64,
    pub total_timeout_ms: u64,
    /// Nobody asked for it: it counts only if it answers and has a model.
    pub is_guess: bool,
}

/// What is known of a well-known service.
struct Preset {
    name: &'static str,
    kind: ProviderKind,
    base_url: &'static str,
    /// Empty: nobody can know.
    model: &'static str,
    key_header: Option<&'static str>,
}

impl Preset {
    /// Whether an address is the service's own, and not that of a server in its place.
    fn is_at(&self, base_url: &str) -> bool {
        let host = |url: &str| url::Url::parse(url).ok()?.host_str().map(str::to_owned);
        host(self.base_url).is_some_and(|own| host(base_url).as_ref() == Some(&own))
    }
}

/// In the order in which they become the default.
const PRESETS: [Preset; 10] = [
    preset(
        "openai",
        ProviderKind::OpenAi,
        "https://api.openai.com/v1",
        "gpt-4.1-mini",
    ),
    preset(
        "anthropic",
        ProviderKind::Anthropic,
        "https://api.anthropic.com/v1",
        "claude-sonnet-4-5",
    ),
    preset(
        "gemini",
        ProviderKind::Gemini,
        "https://generativelanguage.googleapis.com/v1beta",
        "gemini-2.5-flash",
    ),
    preset(
        "xai",
        ProviderKind::OpenAi,
        "https://api.x.ai/v1",
        "grok-4-fast",
    ),
    preset(
        "mistral",
        ProviderKind::OpenAi,
        "https://api.mistral.ai/v1",
        "mistral-small-latest",
    ),
    preset(
        "deepseek",
        ProviderKind::OpenAi,
        "https://api.deepseek.com/v1",
        "deepseek-chat",
    ),
    preset(
        "groq",
        ProviderKind::OpenAi,
        "https://api.groq.com/openai/v1",
        "llama-3.3-70b-versatile",
    ),
    preset(
        "openrouter",
        ProviderKind::OpenAi,
        "https://openrouter.ai/api/v1",
        "openrouter/auto",
    ),
    Preset {
        key_header: Some("api-key"),
        ..preset(AZURE, ProviderKind::OpenAi, "", "")
    },
    preset("ollama", ProviderKind::Ollama, "http://127.0.0.1:11434", ""),
];

const fn preset(
    name: &'static str,
    kind: ProviderKind,
    base_url: &'static str,
    model: &'static str,
) -> Preset {
    Preset {
        name,
        kind,
        base_url,
        model,
        key_header: None,
    }
}

fn preset_of(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

/// Why a provider cannot be used: the key and the reason.
type Complaint = (&'static str, String);

/// The name of the built-in provider.
pub(super) const DEMO: &str = "demo";
pub(super) const OLLAMA: &str = "ollama";
const AZURE: &str = "azure";
/// The default provider when nobody has chosen one.
pub const AUTO: &str = "auto";

/// All providers that there may be, in the order in which they become the default, and what should be
/// known about them.
pub(super) fn resolve(
    config: &Config,
    variables: &BTreeMap<String, String>,
) -> Result<(Vec<ResolvedProvider>, Vec<String>), Complaint> {
    let (mut providers, mut warnings) = (Vec::new(), Vec::new());
    let mut names = BTreeSet::new();
    for table in &config.provider {
        if !names.insert(table.name.as_str()) {
            return complain(format!("{:?} is there twice", table.name));
        }
        if table.api_key.is_some() {
            let keep_out = "`api_key_env` or `api_key_file` keep it out";
            warnings.push(key_in_file(&table.name, keep_out));
        }
        providers.push(from_table(config, table, variables)?);
    }
    let is_there = |name: &str| config.provider.iter().any(|table| table.name == name);
    for preset in PRESETS.iter().filter(|preset| preset.name != OLLAMA) {
        let remote = remote(config, preset.name);
        if let Some(remote) = remote.filter(|_| !is_there(preset.name)) {
            let has_key = !remote.api_key.expose_secret().is_empty();
            let is_default = config.default_provider == preset.name;
            if has_key || !remote.base_url.is_empty() || is_default {
                providers.push(from_environment(config, preset, remote)?);
            }
        }
    }
    let mut models = config.model.iter();
    let is_named = config.default_provider == OLLAMA
        || models.any(|model| model.provider.as_deref() == Some(OLLAMA));
    if (is_named || config.default_provider == AUTO) && !is_there(OLLAMA) {
        // Whoever has written providers down has said which ones there are.
        let is_guess = !is_named;
        if !is_guess || config.provider.is_empty() {
            providers.push(ollama(config, is_guess)?);
        }
    }
    check_names(config, &providers)?;
    Ok((providers, warnings))
}

/// The warning about a key that may be read by whoever reads the file.
pub(super) fn key_in_file(name: &str, keep_out: &str) -> String {
    format!("the key of the provider {name:?} stands in the configuration file; {keep_out}")
}

fn complain<T>(reason: impl Into<String>) -> Result<T, Complaint> {
    Err(("provider", reason.into()))
}

/// The table of the environment's, by a well-known name.
fn remote<'a>(config: &'a Config, name: &str) -> Option<&'a RemoteConfig> {
    match name {
        "openai" => Some(&config.openai),
        "anthropic" => Some(&config.anthropic),
        "gemini" => Some(&config.gemini),
        "xai" => Some(&config.xai),
        "mistral" => Some(&config.mistral),
        "deepseek" => Some(&config.deepseek),
        "groq" => Some(&config.groq),
        "openrouter" => Some(&config.openrouter),
        AZURE => Some(&config.azure),
        _ => None,
    }
}

/// What the environment, or the table of its own, says of a well-known service.
#[derive(Default)]
struct Known<'a> {
    api_key: Option<&'a SecretString>,
    base_url: &'a str,
    model: &'a str,
    max_running: u32,
}

impl<'a> Known<'a> {
    fn of(config: &'a Config, name: &str) -> Self {
        if name == OLLAMA {
            return Self {
                api_key: None,
                base_url: &config.ollama.base_url,
                model: &config.ollama.model,
                max_running: config.ollama.max_running,
            };
        }
        remote(config, name).map_or_else(Self::default, |remote| Self {
            api_key: Some(&remote.api_key),
            base_url: &remote.base_url,
            model: &remote.model,
            max_running: remote.max_running,
        })
    }
}

fn from_table(
    config: &Config,
    table: &ProviderConfig,
    variables: &BTreeMap<String, String>,
) -> Result<ResolvedProvider, Complaint> {
    let name = table.name.trim();
    if name.is_empty() || name == AUTO || name == DEMO || name.contains(['/', ' ']) {
        return complain(format!(
            "{name:?} is no name for a provider: expected a word other than `{AUTO}` and `{DEMO}`"
        ));
    }
    let preset = preset_of(name);
    let known = Known::of(config, name);
    let Some(kind) = table.kind.or(preset.map(|preset| preset.kind)) else {
        return complain(format!(
            "{name:?} needs a `kind`: openai, openai-responses, anthropic, gemini or ollama"
        ));
    };
    // Whose format it is.
    let usual = PRESETS.iter().find(|preset| match kind {
        ProviderKind::OpenAiResponses => preset.kind == ProviderKind::OpenAi,
        kind => preset.kind == kind,
    });
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let base_url = table.base_url.as_deref().and_then(given);
    let base_url = base_url
        .or_else(|| given(known.base_url))
        .map(|url| match preset {
            Some(preset) if preset.name == AZURE => azure_base_url(&url),
            _ => url,
        })
        .or_else(|| preset.or(usual).map(|preset| preset.base_url.to_owned()))
        // Azure, whose key must not go elsewhere.
        .filter(|url| !url.is_empty());
    let Some(base_url) = base_url else {
        return complain(format!("{name:?} needs a `base_url`"));
    };
    super::check::check_url("provider", &base_url)
        .map_err(|(key, reason)| (key, format!("the `base_url` of {name:?}: {reason}")))?;
    let api_key = key_of(table, variables)?.or_else(|| known.api_key.cloned());
    let model = table.model.clone().or_else(|| given(known.model));
    let model = model.or_else(|| {
        preset
            .filter(|preset| preset.is_at(&base_url))
            .map(|preset| preset.model.to_owned())
    });
    let upstream = &config.upstream;
    let (proxy, ca_certificate) = route(
        upstream,
        table.proxy.as_deref(),
        table.ca_file.as_deref(),
        name,
    )?;
    let or_usual = |own: Option<u64>, usual: u64| own.unwrap_or(usual);
    Ok(ResolvedProvider {
        name: name.to_owned(),
        kind,
        base_url,
        api_key: api_key.filter(|key| !key.expose_secret().is_empty()),
        key_header: table
            .key_header
            .clone()
            .or_else(|| preset.and_then(|preset| preset.key_header.map(str::to_owned))),
        headers: table.headers.clone(),
        query: table.query.clone(),
        send_reasoning: table.send_reasoning,
        model: model.filter(|model| !model.is_empty()),
        max_running: table.max_running.unwrap_or(known.max_running),
        list_models: table.list_models,
        proxy,
        ca_certificate,
        connect_timeout_ms: or_usual(table.connect_timeout_ms, upstream.connect_timeout_ms),
        first_byte_timeout_ms: or_usual(
            table.first_byte_timeout_ms,
            upstream.first_byte_timeout_ms,
        ),
        stall_timeout_ms: or_usual(table.stall_timeout_ms, upstream.stall_timeout_ms),
        total_timeout_ms: or_usual(table.total_timeout_ms, upstream.total_timeout_ms),
        is_guess: false,
    })
}

fn key_of(
    table: &ProviderConfig,
    variables: &BTreeMap<String, String>,
) -> Result<Option<SecretString>, Complaint> {
    let name = &table.name;
    match (&table.api_key_env, &table.api_key_file, &table.api_key) {
        (None, None, key) => Ok(key.clone()),
        (Some(variable), None, None) => {
            let value = variables.get(variable).filter(|value| !value.is_empty());
            match value {
                Some(key) => Ok(Some(SecretString::from(key.trim().to_owned()))),
                None => complain(format!(
                    "the key of {name:?} is to come from the environment variable {variable}, which is not set"
                )),
            }
        }
        (None, Some(file), None) => match std::fs::read_to_string(file) {
            Ok(key) => Ok(Some(SecretString::from(key.trim().to_owned()))),
            Err(error) => complain(format!(
                "the key of {name:?} is to come from the file {}, which cannot be read: {error}",
                file.display()
            )),
        },
        _ => complain(format!(
            "{name:?} has more than one of `api_key`, `api_key_env` and `api_key_file`"
        )),
    }
}

fn from_environment(
    config: &Config,
    preset: &Preset,
    remote: &RemoteConfig,
) -> Result<ResolvedProvider, Complaint> {
    let base_url = if remote.base_url.is_empty() {
        preset.base_url.to_owned()
    } else if preset.name == AZURE {
        azure_base_url(&remote.base_url)
    } else {
        remote.base_url.clone()
    };
    if base_url.is_empty() {
        return Err((
            "azure.base_url",
            "a key for Azure needs the address of its resource: AZURE_OPENAI_ENDPOINT".to_owned(),
        ));
    }
    let model = match (remote.model.as_str(), preset.is_at(&base_url)) {
        ("", true) => Some(preset.model.to_owned()).filter(|model| !model.is_empty()),
        ("", false) => None,
        (model, _) => Some(model.to_owned()),
    };
    let plain = plain(config, preset.name, preset.kind, base_url)?;
    Ok(ResolvedProvider {
        api_key: Some(remote.api_key.clone()).filter(|key| !key.expose_secret().is_empty()),
        key_header: preset.key_header.map(str::to_owned),
        model,
        max_running: remote.max_running,
        ..plain
    })
}

/// The address of a resource alone is enough.
fn azure_base_url(endpoint: &str) -> String {
    match url::Url::parse(endpoint) {
        Ok(url) if url.path() == "/" => {
            format!("{}/openai/v1", endpoint.trim_end_matches('/'))
        }
        _ => endpoint.to_owned(),
    }
}

/// What Ollama's own variable names: a host, a port, a whole address. Where its server listens on all
/// addresses, it is asked at this machine's own.
pub(super) fn ollama_address(text: &str) -> String {
    const PORT: u16 = 11_434;
    let text = text.trim().trim_end_matches('/');
    let has_scheme = text.contains("://");
    let whole = match text {
        _ if has_scheme => text.to_owned(),
        _ if text.starts_with(':') => format!("http://127.0.0.1{text}"),
        _ => format!("http://{text}"),
    };
    // What is no address is complained of with all others.
    let Ok(mut url) = url::Url::parse(&whole) else {
        return whole;
    };
    let port = if has_scheme {
        url.port()
    } else {
        url.port().or(Some(PORT))
    };
    let is_any = matches!(url.host_str(), Some("0.0.0.0" | "[::]"));
    if is_any && url.set_host(Some("127.0.0.1")).is_err() || url.set_port(port).is_err() {
        return whole;
    }
    url.to_string()
}

fn ollama(config: &Config, is_guess: bool) -> Result<ResolvedProvider, Complaint> {
    let ollama = &config.ollama;
    let base_url = ollama.base_url.clone();
    let plain = plain(config, OLLAMA, ProviderKind::Ollama, base_url)?;
    Ok(ResolvedProvider {
        model: Some(ollama.model.clone()).filter(|model| !model.is_empty()),
        max_running: ollama.max_running,
        is_guess,
        ..plain
    })
}

/// A provider of which nothing special is said.
fn plain(
    config: &Config,
    name: &str,
    kind: ProviderKind,
    base_url: String,
) -> Result<ResolvedProvider, Complaint> {
    let upstream = &config.upstream;
    let (proxy, ca_certificate) = route(upstream, None, None, name)?;
    Ok(ResolvedProvider {
        name: name.to_owned(),
        kind,
        base_url,
        api_key: None,
        key_header: None,
        headers: BTreeMap::new(),
        query: BTreeMap::new(),
        send_reasoning: false,
        model: None,
        max_running: 0,
        list_models: None,
        proxy,
        ca_certificate,
        connect_timeout_ms: upstream.connect_timeout_ms,
        first_byte_timeout_ms: upstream.first_byte_timeout_ms,
        stall_timeout_ms: upstream.stall_timeout_ms,
        total_timeout_ms: upstream.total_timeout_ms,
        is_guess: false,
    })
}

/// The proxy on the way, and the certificates that are trusted there.
type Route = (Option<String>, Option<Vec<u8>>);

fn route(
    upstream: &UpstreamConfig,
    proxy: Option<&str>,
    ca_file: Option<&str>,
    name: &str,
) -> Result<Route, Complaint> {
    let proxy = proxy.unwrap_or(&upstream.proxy);
    let ca_file = ca_file.unwrap_or(&upstream.ca_file);
    let certificate = if ca_file.is_empty() {
        None
    } else {
        let read = std::fs::read(ca_file).map_err(|error| {
            let reason = format!("the `ca_file` {ca_file} of {name:?} cannot be read: {error}");
            ("provider", reason)
        })?;
        Some(read)
    };
    let proxy = (!proxy.is_empty()).then(|| proxy.to_owned());
    Ok((proxy, certificate))
}

/// What refers to a provider must mean one that is there.
fn check_names(config: &Config, providers: &[ResolvedProvider]) -> Result<(), Complaint> {
    let is_there = |name: &str| name == DEMO || providers.iter().any(|p| p.name == name);
    let names: Vec<&str> = providers.iter().map(|p| p.name.as_str()).collect();
    let known = || format!("known are: {}", [&names[..], &[DEMO]].concat().join(", "));
    for model in &config.model {
        if let Some(name) = model.provider.as_deref().filter(|name| !is_there(name)) {
            let reason = format!(
                "{:?} names the provider {name:?}, which is not there; {}",
                model.id,
                known()
            );
            return Err(("model", reason));
        }
    }
    let default = config.default_provider.as_str();
    if default != AUTO && !is_there(default) {
        return Err((
            "default_provider",
            format!("there is no such provider; {}", known()),
        ));
    }
    Ok(())
}

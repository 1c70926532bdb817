//! Where values come from: defaults < file < environment < flags, each value with its source.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;

use config::{FileFormat, Map, Source, Value, ValueKind};

use super::change::InForce;
use super::{Config, access, agents, check, providers};

const DEFAULTS: &str = include_str!("defaults.toml");
pub(super) const DEFAULT_SOURCE: &str = "default";

/// The services whose own tools are set up by `NAME_API_KEY`, `NAME_BASE_URL` and `NAME_MODEL`, and the
/// tables that they stand for here.
const SERVICES: [(&str, &str); 9] = [
    ("OPENAI", "openai"),
    ("ANTHROPIC", "anthropic"),
    ("GEMINI", "gemini"),
    ("XAI", "xai"),
    ("MISTRAL", "mistral"),
    ("DEEPSEEK", "deepseek"),
    ("GROQ", "groq"),
    ("OPENROUTER", "openrouter"),
    ("AZURE_OPENAI", "azure"),
];
const SERVICE_KEYS: [(&str, &str); 3] = [
    ("_API_KEY", "api_key"),
    ("_BASE_URL", "base_url"),
    ("_MODEL", "model"),
];
/// Further names for the same.
const OTHER_VARIABLES: [(&str, &str); 10] = [
    ("GOOGLE_API_KEY", "gemini.api_key"),
    ("AZURE_OPENAI_ENDPOINT", "azure.base_url"),
    ("AZURE_OPENAI_DEPLOYMENT", "azure.model"),
    (OLLAMA_HOST, "ollama.base_url"),
    // It has no key.
    ("OLLAMA_BASE_URL", "ollama.base_url"),
    ("OLLAMA_MODEL", "ollama.model"),
    (OTLP_ENDPOINT, "tracing.otlp_endpoint"),
    // Of two, the one that is for traces alone counts.
    (
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "tracing.otlp_endpoint",
    ),
    ("OTEL_EXPORTER_OTLP_HEADERS", "tracing.otlp_headers"),
    ("OTEL_SERVICE_NAME", "tracing.service_name"),
];
/// The address for all that is sent by OTLP, to which what is sent is added.
const OTLP_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// What `pollen ask`, `chat` and `tail` read: whoever sets them for good starts servers too.
const OF_CLIENTS: [&str; 2] = ["POLLEN_URL", "POLLEN_TOKEN"];
/// Ollama's own variable, which its server reads too: `0.0.0.0`, `box:11434`, `https://box`.
const OLLAMA_HOST: &str = "OLLAMA_HOST";

/// What the start found lying about, before anything is read.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// The configuration file, and whether it may be missing.
    pub file: Option<(PathBuf, FileNeed)>,
    /// The process's environment.
    pub variables: BTreeMap<String, String>,
    /// Flags: (as typed, key, value).
    pub flags: Vec<(String, String, String)>,
}

/// Whether a configuration file has to exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileNeed {
    /// A flag names it, so it must be there.
    Required,
    /// It is only looked for.
    Optional,
}

/// Why the configuration cannot be used, in words for whoever wrote it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration file {path}: {reason}")]
    File { path: String, reason: String },
    #[error("unknown key `{key}` = {value} (from {source_name}){hint}")]
    UnknownKey {
        key: String,
        value: String,
        source_name: String,
        hint: String,
    },
    #[error("bad value `{key}` = {value} (from {source_name}): {reason}")]
    BadValue {
        key: String,
        value: String,
        source_name: String,
        reason: String,
    },
}

/// One value in force, and where it comes from.
pub(super) struct Setting {
    pub key: String,
    pub value: Value,
}

impl Setting {
    pub fn source(&self) -> &str {
        self.value.origin().unwrap_or(DEFAULT_SOURCE)
    }
}

impl Layers {
    /// The same, for a later reading: a file that is there now must be there then. It may just be being exchanged.
    #[must_use]
    pub fn again(mut self) -> Self {
        if let Some((path, need)) = &mut self.file
            && path.exists()
        {
            *need = FileNeed::Required;
        }
        self
    }

    pub(super) fn load(&self) -> Result<Config, ConfigError> {
        let merged = self.merge()?;
        let settings = flatten(&merged);
        reject_unknown_keys(&settings)?;
        let mut config: Config = merged
            .try_deserialize()
            .map_err(|error| explain(&error, &settings))?;
        let complain = |(key, reason): (&str, String)| bad_value(key, reason, &settings);
        check::check(&config).map_err(complain)?;
        (config.providers, config.warnings) =
            providers::resolve(&config, &self.variables).map_err(complain)?;
        config.warnings.extend(self.keys_in_file(&settings));
        config.warnings.extend(access::warnings(&config));
        config.all_agents = agents::resolve(&config).map_err(complain)?;
        config.in_force = InForce::of(&settings);
        Ok(config)
    }

    /// Warns of keys in the tables of the well-known services.
    fn keys_in_file(&self, settings: &[Setting]) -> Vec<String> {
        let Some((path, _)) = &self.file else {
            return Vec::new();
        };
        let file = path.display().to_string();
        let warned = SERVICES.into_iter().filter_map(|(variable, table)| {
            let key = format!("{table}.api_key");
            let is_in_file = |setting: &&Setting| setting.key == key && setting.source() == file;
            settings.iter().find(is_in_file)?;
            let keep_out = format!("the environment variable {variable}_API_KEY keeps it out");
            Some(providers::key_in_file(table, &keep_out))
        });
        warned.collect()
    }

    /// All settings in force, by key.
    pub(super) fn settings(&self) -> Result<Vec<Setting>, ConfigError> {
        self.load()?;
        Ok(flatten(&self.merge()?))
    }

    fn merge(&self) -> Result<Value, ConfigError> {
        let mut builder = config::Config::builder()
            .add_source(config::File::from_str(DEFAULTS, FileFormat::Toml));
        if let Some(file) = self.read_file()? {
            builder = builder.add_source(file);
        }
        let built = builder
            .add_source(self.variables_layer())
            .add_source(self.flags_layer())
            .build()
            .map_err(|error| file_error(&error, self.file.as_ref()))?;
        Ok(built.cache)
    }

    fn read_file(&self) -> Result<Option<Pairs>, ConfigError> {
        let Some((path, need)) = &self.file else {
            return Ok(None);
        };
        let name = path.display().to_string();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound && *need == FileNeed::Optional => {
                return Ok(None);
            }
            Err(error) => {
                return Err(ConfigError::File {
                    path: name,
                    reason: error.to_string(),
                });
            }
        };
        // Parsed apart from the rest, so that each value carries the file's name.
        let parsed = config::File::from_str(&text, FileFormat::Toml)
            .collect()
            .map_err(|error| ConfigError::File {
                path: name.clone(),
                reason: without_quotation(&error.to_string()),
            })?;
        Ok(Some(Pairs(
            parsed
                .into_iter()
                .map(|(key, value)| (key, with_origin(value, &name)))
                .collect(),
        )))
    }

    fn variables_layer(&self) -> Pairs {
        let mut pairs = Vec::new();
        let others = OTHER_VARIABLES.map(|(variable, key)| (variable.to_owned(), key.to_owned()));
        let services = SERVICES.iter().flat_map(|(service, table)| {
            SERVICE_KEYS
                .map(|(ending, key)| (format!("{service}{ending}"), format!("{table}.{key}")))
        });
        for (variable, key) in others.into_iter().chain(services) {
            let set = self.variables.get(&variable);
            if let Some(text) = set.filter(|text| !text.is_empty()) {
                let address = match variable.as_str() {
                    OLLAMA_HOST => Some(providers::ollama_address(text)),
                    OTLP_ENDPOINT => Some(format!("{}/v1/traces", text.trim_end_matches('/'))),
                    _ => None,
                };
                let text = address.as_deref().unwrap_or(text);
                pairs.push((key, from_variable(&variable, text)));
            }
        }
        for (variable, text) in &self.variables {
            let is_of_clients = OF_CLIENTS.contains(&variable.as_str());
            if let Some(name) = variable.strip_prefix("POLLEN_").filter(|_| !is_of_clients) {
                let key = name.to_lowercase().replace("__", ".");
                pairs.push((key, from_variable(variable, text)));
            }
        }
        if let Some(filter) = self
            .variables
            .get("RUST_LOG")
            .filter(|text| !text.is_empty())
        {
            pairs.push(("log.filter".to_owned(), from_variable("RUST_LOG", filter)));
        }
        Pairs(pairs)
    }

    fn flags_layer(&self) -> Pairs {
        let pairs = self.flags.iter().map(|(flag, key, text)| {
            let origin = format!("flag {flag}");
            (
                key.clone(),
                Value::new(Some(&origin), ValueKind::String(text.clone())),
            )
        });
        Pairs(pairs.collect())
    }
}

fn from_variable(variable: &str, text: &str) -> Value {
    let origin = format!("environment variable {variable}");
    Value::new(Some(&origin), ValueKind::String(text.to_owned()))
}

fn with_origin(value: Value, origin: &String) -> Value {
    let kind = match value.kind {
        ValueKind::Table(table) => ValueKind::Table(
            table
                .into_iter()
                .map(|(key, value)| (key, with_origin(value, origin)))
                .collect(),
        ),
        ValueKind::Array(values) => ValueKind::Array(
            values
                .into_iter()
                .map(|value| with_origin(value, origin))
                .collect(),
        ),
        other => other,
    };
    Value::new(Some(origin), kind)
}

/// A layer of ready values, keyed by dotted path.
#[derive(Clone, Debug)]
struct Pairs(Vec<(String, Value)>);

impl Source for Pairs {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.iter().cloned().collect())
    }
}

fn flatten(root: &Value) -> Vec<Setting> {
    fn walk(prefix: &str, value: &Value, out: &mut Vec<Setting>) {
        match &value.kind {
            ValueKind::Table(table) => {
                for (key, value) in table {
                    let path = if prefix.is_empty() {
                        key.clone()
                    } else {
                        format!("{prefix}.{key}")
                    };
                    walk(&path, value, out);
                }
            }
            _ => out.push(Setting {
                key: prefix.to_owned(),
                value: value.clone(),
            }),
        }
    }
    let mut settings = Vec::new();
    walk("", root, &mut settings);
    settings.sort_by(|a, b| a.key.cmp(&b.key));
    settings
}

fn known_keys() -> Vec<String> {
    let defaults = config::Config::builder()
        .add_source(config::File::from_str(DEFAULTS, FileFormat::Toml))
        .build();
    defaults.map_or_else(
        |_| Vec::new(),
        |built| flatten(&built.cache).into_iter().map(|s| s.key).collect(),
    )
}

fn reject_unknown_keys(settings: &[Setting]) -> Result<(), ConfigError> {
    let known = known_keys();
    let Some(unknown) = settings.iter().find(|s| !known.contains(&s.key)) else {
        return Ok(());
    };
    let last_part = |key: &str| key.rsplit('.').next().map(str::to_owned);
    let hint = known
        .iter()
        .find(|key| last_part(key) == last_part(&unknown.key) || key.contains(&unknown.key))
        .map_or_else(
            || ". `pollen config` lists the keys".to_owned(),
            |key| format!(". Did you mean `{key}`?"),
        );
    Err(ConfigError::UnknownKey {
        key: unknown.key.clone(),
        // A misspelt key may be a misspelt secret: the value of an unknown key is not shown when
        // its name suggests so.
        value: super::report::shown_in_complaint(&unknown.key, &unknown.value),
        source_name: unknown.source().to_owned(),
        hint,
    })
}

fn explain(error: &config::ConfigError, settings: &[Setting]) -> ConfigError {
    use config::ConfigError as E;
    match error {
        E::Type {
            key: Some(key),
            expected,
            ..
        } => bad_value(&dotted(key), format!("expected {expected}"), settings),
        E::At {
            key: Some(key),
            error,
            ..
        } => bad_value(&dotted(key), error.to_string(), settings),
        // Of what has no default only the tables of a list can lack something.
        E::NotFound(key) => bad_value(&dotted(key), "it has to be there".to_owned(), settings),
        other => ConfigError::BadValue {
            key: "?".to_owned(),
            value: "?".to_owned(),
            source_name: "configuration".to_owned(),
            reason: other.to_string(),
        },
    }
}

/// A key as people write it: the library leaves out the dot after an index.
fn dotted(key: &str) -> String {
    key.replace(']', "].")
        .trim_end_matches('.')
        .replace("].[", "][")
}

fn bad_value(key: &str, reason: String, settings: &[Setting]) -> ConfigError {
    let (list, rest) = key.split_once('[').unwrap_or((key, ""));
    let setting = settings.iter().find(|setting| setting.key == list);
    let value = setting.and_then(|setting| value_at(&setting.value, rest));
    ConfigError::BadValue {
        key: key.to_owned(),
        value: value.map_or_else(
            || "nothing".to_owned(),
            |value| super::report::shown_in_complaint(key, value),
        ),
        source_name: setting.map_or(DEFAULT_SOURCE, Setting::source).to_owned(),
        reason,
    }
}

/// What stands in a value at the rest of a key: of `model[0].price_in` at `0].price_in`.
fn value_at<'a>(value: &'a Value, rest: &str) -> Option<&'a Value> {
    let mut parts = rest.split(['[', ']', '.']).filter(|part| !part.is_empty());
    parts.try_fold(value, |value, part| match &value.kind {
        ValueKind::Array(values) => values.get(part.parse::<usize>().ok()?),
        ValueKind::Table(table) => table.get(part),
        _ => None,
    })
}

/// A parser's complaint without the line that it complains of, which may hold a secret.
fn without_quotation(complaint: &str) -> String {
    let lines = complaint.lines().filter(|line| !line.contains('|'));
    lines.map(str::trim).collect::<Vec<_>>().join(" ")
}

fn file_error(error: &config::ConfigError, file: Option<&(PathBuf, FileNeed)>) -> ConfigError {
    ConfigError::File {
        path: file.map_or_else(
            || "(environment)".to_owned(),
            |(path, _)| path.display().to_string(),
        ),
        reason: error.to_string(),
    }
}

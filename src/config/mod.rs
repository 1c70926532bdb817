//! The configuration: read once at start, checked, and handed on to the rooms as parts.
//!
//! The keys and what they mean stand here, in the types; `defaults.toml` has their values when nobody
//! sets them. A key that is not there is a mistake, and the start ends by saying so. The tables of
//! `docs/CONFIGURATION.md` are made from these types (`reference.rs`).

mod access;
mod agents;
mod change;
mod check;
mod layers;
mod providers;
mod reference;
mod report;
mod tables;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

pub use access::{AuthConfig, AuthMode, CorsConfig, JwtConfig, List, Network, ProxyConfig};
pub use agents::{AgentConfig, AgentsConfig};
pub use change::{InForce, Reread};
pub use layers::{ConfigError, FileNeed, Layers};
pub use providers::{AUTO, ResolvedProvider};
pub use reference::reference;
pub use report::report;
pub use tables::{ModelConfig, ProviderConfig, ProviderKind, RemoteConfig};

/// Everything that can be set. Field names are the keys.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address and port to listen on; port 0 takes a free one.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// The address that people use, if it is another one: `https://chat.example.org`. With `https`, cookies
    /// are for HTTPS alone.
    pub public_url: String,
    /// Addresses and networks of the proxies in front, whose `X-Forwarded-For` and `X-Forwarded-Proto` are
    /// believed: `10.0.0.0/8,192.168.1.5`.
    #[schemars(with = "String")]
    pub trusted_proxies: List<Network>,
    /// `sqlite:FILE` or `postgres://USER:PASSWORD@HOST/DATABASE`.
    #[schemars(with = "String")]
    pub database_url: SecretString,
    /// Who answers in chats that name no model: `auto`, or a provider's name. `auto` takes the first
    /// that is there: the model of the first `[[model]]` table, a `[[provider]]` table, a provider
    /// whose key is in the environment, a local Ollama that has a model, the demo model. A `[[model]]`
    /// table without a `provider` means the first that is there after the tables of models.
    pub default_provider: String,
    /// The model that answers in chats that name none, by its id or as `provider/name`. Empty: the default
    /// provider's.
    pub default_model: String,
    /// The tier of everybody who has no other one. Empty: no limits, and all models.
    pub default_tier: String,
    /// `redis://` or `rediss://` URL of a Redis or Valkey that keeps the response cache and counts requests, for all
    /// nodes together. Empty: each node does it by itself, in memory.
    #[schemars(with = "String")]
    pub redis_url: SecretString,
    /// Services that run models: one table each.
    pub provider: Vec<ProviderConfig>,
    /// Models: one table each.
    pub model: Vec<ModelConfig>,
    /// Tiers, the lowest first: one table each.
    pub tier: Vec<TierConfig>,
    /// Agents: one table each.
    pub agent: Vec<AgentConfig>,
    pub auth: AuthConfig,
    pub cors: CorsConfig,
    pub agents: AgentsConfig,
    pub chat: ChatConfig,
    pub context: ContextConfig,
    pub cache: CacheConfig,
    pub catalogue: CatalogueConfig,
    pub database: DatabaseConfig,
    pub openai: RemoteConfig,
    pub anthropic: RemoteConfig,
    pub gemini: RemoteConfig,
    pub xai: RemoteConfig,
    pub mistral: RemoteConfig,
    pub deepseek: RemoteConfig,
    pub groq: RemoteConfig,
    pub openrouter: RemoteConfig,
    pub azure: RemoteConfig,
    pub ollama: OllamaConfig,
    pub demo: DemoConfig,
    pub upstream: UpstreamConfig,
    pub ledger: LedgerConfig,
    pub worker: WorkerConfig,
    pub export: ExportConfig,
    pub limits: LimitsConfig,
    pub log: LogConfig,
    pub metrics: MetricsConfig,
    pub tracing: TracingConfig,
    pub shutdown: ShutdownConfig,
    /// All providers, with their keys: worked out from the tables above and the environment.
    #[serde(skip)]
    pub providers: Vec<ResolvedProvider>,
    /// All agents: those that are shipped, those of the directory, those of the file.
    #[serde(skip)]
    pub all_agents: Vec<AgentConfig>,
    /// What is not a mistake but should be known, for the log.
    #[serde(skip)]
    pub warnings: Vec<String>,
    /// All values as they were read.
    #[serde(skip)]
    pub in_force: InForce,
}

/// What somebody of one tier may do, and use up.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TierConfig {
    /// The name by which a model and `default_tier` refer to it.
    pub name: String,
    /// Tokens a day, UTC, read and written together, per user. 0: no limit.
    #[serde(default)]
    pub tokens_per_day: u32,
    /// Tokens a calendar month, UTC, read and written together, per user. 0: no limit.
    #[serde(default)]
    pub tokens_per_month: u32,
    /// Cost a day, UTC, per user, in the currency of the prices. 0: no limit.
    #[serde(default)]
    pub cost_per_day: f64,
    /// Cost a calendar month, UTC, per user, in the currency of the prices. 0: no limit.
    #[serde(default)]
    pub cost_per_month: f64,
    /// The models, by their ids, as far as their own `tier` allows them. Empty: all.
    #[serde(default)]
    pub models: Vec<String>,
    /// Messages, and whatever else begins an answer, a minute, per user: all of them at once, or one after the
    /// other. 0: no limit.
    #[serde(default)]
    pub requests_per_minute: u32,
    /// Answers under way at once, per user; those that wait count. 0: no limit.
    #[serde(default)]
    pub max_running: u32,
    /// Longest user message in bytes of UTF-8, where it is shorter than `limits.message_bytes`. 0: that one.
    #[serde(default)]
    pub message_bytes: usize,
    /// Days after its last change that a chat is kept. 0: for ever.
    #[serde(default)]
    pub retention_days: u32,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatConfig {
    /// What happens to a message that is sent while an answer is under way: `enqueue`, `reject`,
    /// `interrupt` or `rollback`. A chat, and a single send, may choose otherwise.
    pub on_busy: BusyChoice,
    /// The model that gives a chat its title when its first answer is there, by its id or as `provider/name`.
    /// Empty: titles are made of the first message.
    pub title_model: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BusyChoice {
    Enqueue,
    Reject,
    Interrupt,
    Rollback,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContextConfig {
    /// What becomes of the oldest messages when the model's context window is full: `drop` leaves them
    /// out, `summarise` has the model summarise them first. The system prompt always stays.
    pub when_full: FullChoice,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FullChoice {
    Drop,
    Summarise,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CacheConfig {
    /// How long an answer of a model with `cache = true` is kept to be given again.
    pub ttl_ms: u64,
    /// Bytes of answers that a node keeps in memory.
    pub memory_bytes: u64,
    /// How long to wait for Redis before the model is asked instead.
    pub timeout_ms: u64,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CatalogueConfig {
    /// How old a provider's list of its models may become before it is asked for again.
    pub refresh_ms: u64,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatabaseConfig {
    /// Connections at most: the readers of SQLite, which has one writer besides; the pool of PostgreSQL.
    pub max_connections: u32,
    /// How long to wait for a connection or a lock.
    pub acquire_timeout_ms: u64,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OllamaConfig {
    /// Where Ollama listens. `OLLAMA_BASE_URL` and `OLLAMA_HOST` set it too.
    pub base_url: String,
    /// Empty: the first that Ollama lists.
    pub model: String,
    /// Answers at once, all nodes together. 0: as many as the nodes take.
    pub max_running: u32,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DemoConfig {
    /// How fast the demo model talks.
    pub tokens_per_second: f64,
    /// Length of its answers in words; 0: as long as its text is.
    pub tokens: usize,
    /// The same seed and words give the same answer.
    pub seed: u64,
    /// Answers at once, all nodes together. 0: as many as the nodes take.
    pub max_running: u32,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamConfig {
    /// Until the connection to a model's server stands.
    pub connect_timeout_ms: u64,
    /// From the request to the first byte of its answer.
    pub first_byte_timeout_ms: u64,
    /// Between two bytes of its answer.
    pub stall_timeout_ms: u64,
    /// From the request to the end of its answer. 0: only `worker.deadline_ms` counts.
    pub total_timeout_ms: u64,
    /// Calls beyond the first one of an attempt, as long as nothing of the answer has come; with
    /// jitter, `Retry-After` honoured, and at most a fifth of all calls when many fail.
    pub max_retries: usize,
    /// URL of a proxy on the way to the models. Empty: the environment's (`HTTPS_PROXY`, `NO_PROXY`, …).
    pub proxy: String,
    /// A file with certificates (PEM) that are trusted besides the system's.
    pub ca_file: String,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LedgerConfig {
    /// How often the text of all running answers is written to the database, in one transaction; what
    /// a crash can lose.
    pub flush_interval_ms: u64,
    /// Longest answer in bytes of UTF-8, with what the model thought. A longer one is cut there and says so.
    pub max_answer_bytes: usize,
    /// Text in memory that the database does not have yet, of all answers together; beyond it no model
    /// is listened to until some has been written.
    pub max_unflushed_bytes: usize,
    /// How old the text of an answer that another node writes may be, beyond that node's flush, and what is told of a
    /// chat that waits for one.
    pub follow_interval_ms: u64,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkerConfig {
    /// Answers that this node writes at once; further requests wait their turn.
    pub max_running: usize,
    /// How long a claim on a request holds without being renewed; at least six flush intervals.
    pub lease_ms: u64,
    /// How often to look for requests that nobody announced, and for abandoned ones.
    pub scan_interval_ms: u64,
    /// How often a request is run at most when its node dies, or its answer breaks off if so chosen.
    pub max_attempts: u32,
    /// From a request's first start to its end, whatever happens.
    pub deadline_ms: u64,
    /// From the start of an attempt to the first token, retries included.
    pub first_token_timeout_ms: u64,
    /// When a model's server breaks off after tokens were shown: `fail` keeps what has come, `replace`
    /// begins another attempt.
    pub on_broken_answer: BrokenChoice,
    /// How often to look for rows whose states disagree, and to clear away what has expired.
    pub repair_interval_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BrokenChoice {
    Fail,
    Replace,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportConfig {
    /// A folder with fonts (TrueType, OpenType) for PDFs, which go before those of the machine. Empty: only the machine's, and
    /// our own, which have Latin, Greek, Cyrillic, Hebrew and Arabic.
    pub font_dir: String,
    /// Text of a chat in bytes that a PDF is made of at most.
    pub pdf_bytes: usize,
    /// PDFs that are made at once; further ones wait for ten seconds.
    pub pdfs_at_once: usize,
    /// Longest body of an import in bytes.
    pub import_bytes: usize,
    /// Largest archive of all of somebody's chats in bytes. It is kept in the database.
    pub archive_bytes: u64,
    /// How long a finished archive is kept to be fetched.
    pub archive_ttl_ms: u64,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitsConfig {
    /// Longest user message in bytes of UTF-8.
    pub message_bytes: usize,
    /// Longest request body in bytes, where messages are taken; elsewhere 32 KiB, if that is less.
    pub body_bytes: usize,
    /// Messages, and whatever else begins an answer, a minute, for each user without a tier and for each of their tokens.
    /// All may come at once; then one more each time that a minute has room for. 0: no limit.
    pub requests_per_minute: u32,
    /// Requests a minute that only read, for each user and each token, but for the local user. 0: no limit.
    pub polls_per_minute: u32,
    /// Requests a minute that change something else, search or export, for each user and each token, but for the local
    /// user. 0: no limit.
    pub changes_per_minute: u32,
    /// Requests a minute of nobody who is known, failed attempts to sign in, browsers that are new, and what anonymous
    /// ones send and change, for each address; of IPv6 for each /64. 0: no limit.
    pub unknown_per_minute: u32,
    /// Requests in flight; further ones are answered by 503. From an eighth of them on clients are asked to poll less often.
    pub max_in_flight: usize,
    /// Open connections; further ones wait to be accepted.
    pub connections: usize,
    /// Open connections of one address, of IPv6 one /64; further ones are closed. Loopback addresses and
    /// `trusted_proxies` are not counted. 0: no limit.
    pub connections_per_address: usize,
    /// Time for a request's headers to arrive; a new connection that asks for nothing is closed after it.
    pub header_timeout_ms: u64,
    /// Time for a request's body to arrive.
    pub body_timeout_ms: u64,
    /// Time for a request's answer to be made, its body included.
    pub request_timeout_ms: u64,
    /// How long a poll with `Prefer: wait=N` is held at most. 0: none is held.
    pub longest_wait_ms: u64,
    /// Time after which a connection without a request is closed.
    pub idle_timeout_ms: u64,
    /// How long an `Idempotency-Key` is remembered.
    pub idempotency_ttl_ms: u64,
    /// How long a deleted chat can be brought back before it is erased. 0: it is erased at once.
    pub undo_ms: u64,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// What is logged, to standard error: `info`, `pollen=debug,warn`, …; `RUST_LOG` sets it too. Polls
    /// appear at `debug`; a release has nothing at `trace`.
    pub filter: String,
    /// `text` or `json`.
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricsConfig {
    /// Address and port of a listener of its own for `/metrics`, `/healthz` and `/readyz`, which asks nobody who they are:
    /// `127.0.0.1:9464`. Empty: there is none, and administrators alone read `/metrics`.
    pub listen: String,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TracingConfig {
    /// Where traces are sent by OTLP (HTTP, protobuf): the address of a collector, `http://127.0.0.1:4318`, to which
    /// `/v1/traces` is added if it has no path. `OTEL_EXPORTER_OTLP_ENDPOINT` and
    /// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` set it too. Empty: nothing is traced.
    pub otlp_endpoint: String,
    /// Headers that the collector wants to see, such as a key: `name=value,name=value`. `OTEL_EXPORTER_OTLP_HEADERS`
    /// sets them too.
    #[schemars(with = "String")]
    pub otlp_headers: SecretString,
    /// The part of all messages that is traced, from 0 to 1, unless whoever sends one says (`traceparent`).
    pub sample_ratio: f64,
    /// The name under which the collector knows this server; its nodes have each a `service.instance.id` besides.
    pub service_name: String,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShutdownConfig {
    /// After SIGTERM or Ctrl-C: how long all is served on while `/readyz` says that it is not ready any more, for
    /// balancers to notice. 0: there is none.
    pub ready_delay_ms: u64,
    /// After SIGTERM or Ctrl-C, and `shutdown.ready_delay_ms`: time to finish what is in flight.
    pub limit_ms: u64,
}

impl Config {
    /// Reads and checks the layers.
    ///
    /// # Errors
    /// Names the key, the value and the source of what is wrong.
    pub fn load(layers: &Layers) -> Result<Self, ConfigError> {
        layers.load()
    }

    /// The configuration when nobody sets anything.
    ///
    /// # Errors
    /// Never, unless `defaults.toml` itself is wrong, which a test holds.
    pub fn defaults() -> Result<Self, ConfigError> {
        Layers::default().load()
    }

    /// The database's URL as it may be shown: without a password.
    #[must_use]
    pub fn database_name(&self) -> String {
        report::without_password(self.database_url.expose_secret())
    }
}

impl LedgerConfig {
    #[must_use]
    pub fn flush_interval(&self) -> Duration {
        Duration::from_millis(self.flush_interval_ms)
    }
}

/// Where the configuration file is looked for when no flag names one.
#[must_use]
pub fn default_file() -> PathBuf {
    PathBuf::from("pollen.toml")
}

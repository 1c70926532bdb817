//! The configuration: read once at start, checked, and handed on to the rooms as parts.
//!
//! Its keys and defaults stand in `defaults.toml`, which is also what a layer may override:
//! a key that is not there is a mistake, and the start ends by saying so.

mod check;
mod layers;
mod report;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

pub use layers::{ConfigError, FileNeed, Layers};
pub use report::report;

/// Everything that can be set. Field names are the keys; each is documented in `defaults.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub listen: SocketAddr,
    pub database_url: SecretString,
    pub default_provider: ProviderChoice,
    pub model: Vec<ModelConfig>,
    pub chat: ChatConfig,
    pub database: DatabaseConfig,
    pub openai: OpenAiConfig,
    pub ollama: OllamaConfig,
    pub demo: DemoConfig,
    pub upstream: UpstreamConfig,
    pub ledger: LedgerConfig,
    pub worker: WorkerConfig,
    pub limits: LimitsConfig,
    pub log: LogConfig,
    pub shutdown: ShutdownConfig,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderChoice {
    Auto,
    OpenAi,
    Ollama,
    Demo,
}

/// One model's price, per million tokens.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    pub id: String,
    pub price_in: f64,
    pub price_out: f64,
    pub price_cached: Option<f64>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatConfig {
    pub on_busy: BusyChoice,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BusyChoice {
    Enqueue,
    Reject,
    Interrupt,
    Rollback,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseConfig {
    pub max_connections: u32,
    pub acquire_timeout_ms: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenAiConfig {
    pub api_key: SecretString,
    pub base_url: String,
    pub model: String,
    pub max_running: u32,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OllamaConfig {
    pub base_url: String,
    pub model: String,
    pub max_running: u32,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DemoConfig {
    pub tokens_per_second: f64,
    pub tokens: usize,
    pub seed: u64,
    pub max_running: u32,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamConfig {
    pub connect_timeout_ms: u64,
    pub first_byte_timeout_ms: u64,
    pub stall_timeout_ms: u64,
    pub max_retries: usize,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerConfig {
    pub flush_interval_ms: u64,
    pub max_answer_bytes: usize,
    pub max_unflushed_bytes: usize,
    pub follow_interval_ms: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerConfig {
    pub max_running: usize,
    pub lease_ms: u64,
    pub scan_interval_ms: u64,
    pub max_attempts: u32,
    pub deadline_ms: u64,
    pub first_token_timeout_ms: u64,
    pub on_broken_answer: BrokenChoice,
    pub repair_interval_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BrokenChoice {
    Fail,
    Replace,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsConfig {
    pub message_bytes: usize,
    pub body_bytes: usize,
    pub connections: usize,
    pub header_timeout_ms: u64,
    pub body_timeout_ms: u64,
    pub idempotency_ttl_ms: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    pub filter: String,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShutdownConfig {
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

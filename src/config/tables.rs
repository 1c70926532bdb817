//! The tables of the file that say which services and models there are.

use std::collections::BTreeMap;
use std::path::PathBuf;

use entity::Parameters;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;

/// The wire formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProviderKind {
    /// Chat completions, as OpenAI began them and most servers speak them.
    #[serde(rename = "openai")]
    OpenAi,
    /// OpenAI's Responses.
    #[serde(rename = "openai-responses")]
    OpenAiResponses,
    /// Anthropic's Messages.
    Anthropic,
    /// Google's Gemini API.
    Gemini,
    /// Ollama's own chat API.
    Ollama,
}

/// A service that runs models. Of the well-known ones (`openai`, `anthropic`, `gemini`, `xai`, `mistral`,
/// `deepseek`, `groq`, `openrouter`, `azure`, `ollama`) the name is enough.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderConfig {
    /// The name by which models refer to it.
    pub name: String,
    /// The wire format: `openai`, `openai-responses`, `anthropic`, `gemini` or `ollama`.
    pub kind: Option<ProviderKind>,
    /// The address, up to and with the version where the format has one: `https://api.openai.com/v1`. Of
    /// the formats `anthropic` and `gemini` the address alone is enough: `/v1` and `/v1beta` are put there
    /// where it has no path.
    pub base_url: Option<String>,
    /// The environment variable that holds the key.
    pub api_key_env: Option<String>,
    /// A file that holds the key and nothing else.
    #[schemars(with = "Option<String>")]
    pub api_key_file: Option<PathBuf>,
    /// The key itself. Better is `api_key_env` or `api_key_file`: a file with a key in it gets copied.
    #[schemars(with = "Option<String>")]
    pub api_key: Option<SecretString>,
    /// How the key is sent: `bearer`, or the name of a header (`api-key`). Without it, as the format has it.
    pub key_header: Option<String>,
    /// The model that answers when this is the default provider and nobody names one.
    pub model: Option<String>,
    /// Answers at once from this provider, all nodes together. 0: as many as the nodes take.
    pub max_running: Option<u32>,
    /// Whether the models that it lists can be used besides those of the `[[model]]` tables. Without it:
    /// only if no `[[model]]` table names this provider.
    pub list_models: Option<bool>,
    /// Headers that are added to every request.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Query parameters that are added to every request: `api-version` for an older Azure.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// Send back what the model thought before its earlier answers. Few servers want that.
    #[serde(default)]
    pub send_reasoning: bool,
    /// As `upstream.proxy`, for this provider.
    pub proxy: Option<String>,
    /// As `upstream.ca_file`, for this provider.
    pub ca_file: Option<String>,
    /// As `upstream.connect_timeout_ms`, for this provider.
    pub connect_timeout_ms: Option<u64>,
    /// As `upstream.first_byte_timeout_ms`, for this provider.
    pub first_byte_timeout_ms: Option<u64>,
    /// As `upstream.stall_timeout_ms`, for this provider.
    pub stall_timeout_ms: Option<u64>,
    /// As `upstream.total_timeout_ms`, for this provider.
    pub total_timeout_ms: Option<u64>,
}

/// A well-known service, as the environment sets it up.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoteConfig {
    /// The key. The service's usual environment variable sets it too; with it the service is there.
    #[schemars(with = "String")]
    pub api_key: SecretString,
    /// Empty: the service itself; else a server that speaks the same format, as `base_url` of a
    /// `[[provider]]`. Azure always needs it: it is the address of one's own resource.
    pub base_url: String,
    /// The model that answers when nobody names one. Empty: a good one of the service's, or the first that
    /// another server, or Azure, lists.
    pub model: String,
    /// Answers at once from this provider, all nodes together. 0: as many as the nodes take.
    pub max_running: u32,
}

/// A model of the catalogue.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Its name here: what chats, the page and `/usage` call it.
    pub id: String,
    /// The provider that runs it. Without it, the default one.
    pub provider: Option<String>,
    /// The provider's own name for it. Without it, the `id`.
    pub upstream: Option<String>,
    /// Its name for people. Without it, the `id`.
    pub name: Option<String>,
    /// Tokens that it reads and writes together. Without it: as the provider lists it, or as is known of its
    /// family; where nothing is known, nothing is left out.
    pub context_window: Option<u32>,
    /// Longest answer in tokens. Without it: as the provider lists it.
    pub max_output: Option<u32>,
    /// Price of a million tokens that it reads, in whatever currency you count.
    pub price_in: Option<f64>,
    /// Price of a million tokens that it writes.
    pub price_out: Option<f64>,
    /// Price of a million tokens that it reads out of the provider's cache. Without it, `price_in`.
    pub price_cached: Option<f64>,
    /// How it is asked when nobody says otherwise: `temperature`, `top_p`, `max_tokens`, `stop`, `seed`,
    /// `reasoning_effort`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub parameters: Parameters,
    /// The lowest tier that may use it. Without it, everybody may.
    pub tier: Option<String>,
    /// Whether its answers are kept and given again to the same question in the same conversation.
    #[serde(default)]
    pub cache: bool,
    /// As `cache.ttl_ms`, for this model.
    pub cache_ttl_ms: Option<u64>,
}

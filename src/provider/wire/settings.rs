//! What has to be known of a server to talk to it, and why that may not be enough.

use std::fmt;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

/// The wire formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireFormat {
    /// OpenAI's chat completions, which most servers speak.
    OpenAi,
    OpenAiResponses,
    Anthropic,
    Gemini,
    /// Ollama's own, which can set the context window.
    Ollama,
}

/// How a key is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyHeader {
    /// `authorization: Bearer …`
    Bearer,
    /// By itself in a header of this name: `x-api-key`, Azure's `api-key`, `x-goog-api-key`.
    Named(String),
}

/// Time limits on the way to a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLimits {
    /// Until the connection stands.
    pub connect: Duration,
    /// From the request to the first byte of the answer's body.
    pub first_byte: Duration,
    /// Between two bytes.
    pub stall: Duration,
    /// From the request to the end of the answer.
    pub total: Option<Duration>,
}

/// How to reach a server.
#[derive(Clone)]
pub struct ProviderSettings {
    /// A short name for people.
    pub name: String,
    pub format: WireFormat,
    /// Up to and with the version where the format has one: `https://api.openai.com/v1`,
    /// `https://generativelanguage.googleapis.com/v1beta`, `http://127.0.0.1:11434`.
    pub base_url: String,
    pub api_key: Option<SecretString>,
    /// None: as the format does it.
    pub key_header: Option<KeyHeader>,
    /// Added to every request; they take precedence over the format's own.
    pub headers: Vec<(String, String)>,
    /// Added to the address of every request, as Azure's `api-version` is.
    pub query: Vec<(String, String)>,
    /// Chat completions only: what the model thought before earlier answers is sent back, as
    /// `reasoning_content`.
    pub send_reasoning: bool,
    pub limits: TimeLimits,
    /// The address of a proxy. None: the environment's, but never on the way to this machine.
    pub proxy: Option<String>,
    /// PEM, one certificate or several, trusted besides the system's.
    pub ca_certificate: Option<Vec<u8>>,
}

impl fmt::Debug for ProviderSettings {
    /// Without what may be a secret: the key, the values of headers and query, passwords in addresses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |pairs: &[(String, String)]| -> Vec<String> {
            pairs.iter().map(|(name, _)| name.clone()).collect()
        };
        f.debug_struct("ProviderSettings")
            .field("name", &self.name)
            .field("format", &self.format)
            .field("base_url", &without_secrets(&self.base_url))
            .field("api_key", &self.api_key)
            .field("key_header", &self.key_header)
            .field("headers", &names(&self.headers))
            .field("query", &names(&self.query))
            .field("send_reasoning", &self.send_reasoning)
            .field("limits", &self.limits)
            .field("proxy", &self.proxy.as_deref().map(without_secrets))
            .field(
                "ca_certificate_bytes",
                &self.ca_certificate.as_ref().map(Vec::len),
            )
            .finish()
    }
}

/// An address without its user, password and query.
pub(super) fn without_secrets(address: &str) -> String {
    match Url::parse(address) {
        Ok(url) if url.has_host() => {
            format!("{}{}", url.origin().ascii_serialization(), url.path())
        }
        // What is no address may be a key in the wrong place.
        Ok(_) | Err(_) => "(not an address)".to_owned(),
    }
}

/// Why there is no client for a provider.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    #[error(
        "the address of the provider {name:?} is not one: it has to look like https://api.openai.com/v1"
    )]
    BaseUrl { name: String },
    #[error(
        "the key of the provider {name:?} holds characters that cannot be sent: is there a line break in it?"
    )]
    Key { name: String },
    #[error("the provider {name:?} has a header {header:?} that cannot be sent")]
    Header { name: String, header: String },
    #[error(
        "the proxy of the provider {name:?} is not an address: it has to look like http://proxy.example:3128"
    )]
    Proxy { name: String },
    #[error(
        "the CA certificate of the provider {name:?} cannot be read: it has to be PEM, with at least one `BEGIN CERTIFICATE`"
    )]
    CaCertificate { name: String },
    #[error("the HTTP client for the provider {name:?} cannot be made: {reason}")]
    Client { name: String, reason: String },
}

//! What went wrong on the way to the model, in the user's words. What a server says of itself is
//! passed on without the key, should it be quoted; the rest goes to the log.

use std::io;
use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use reqwest::{Response, StatusCode};
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::time::timeout;
use tokio_util::codec::LinesCodecError;

use super::{MAX_LINE_BYTES, OpenAi, Stalled, read_body};
use crate::model::failure::FailureCode;
use crate::model::text::head;
use crate::provider::{Call, ProviderError};

/// A server that asks for more patience than a week's is not waited for anyhow.
const MAX_RETRY_AFTER_S: u64 = 604_800;
/// Characters of a server's own explanation that are passed on.
const MAX_REASON_CHARS: usize = 300;

impl OpenAi {
    pub(super) fn unreachable(&self, error: &reqwest::Error) -> ProviderError {
        let name = &self.settings.name;
        ProviderError::retry(
            FailureCode::ProviderUnreachable,
            format!(
                "The model's server ({name}) could not be reached. Is it running, and is its address right?"
            ),
        )
        .with_detail(error_chain(error))
    }

    pub(super) fn stalled(&self, limit: Duration) -> ProviderError {
        ProviderError::retry(
            FailureCode::ProviderStalled,
            format!(
                "The model's server ({}) sent nothing for {} and was given up.",
                self.settings.name,
                seconds(limit)
            ),
        )
    }

    pub(super) fn broke_off(&self) -> ProviderError {
        ProviderError::retry(
            FailureCode::ProviderBrokeOff,
            format!(
                "The connection to the model's server ({}) ended before the answer was finished.",
                self.settings.name
            ),
        )
    }

    pub(super) fn malformed(&self, detail: impl std::fmt::Display) -> ProviderError {
        ProviderError::fail(
            FailureCode::ProviderMalformed,
            format!(
                "The model's server ({}) sent something that is not a chat completion.",
                self.settings.name
            ),
        )
        .with_detail(detail)
    }

    /// Explains an answer that is not a success.
    pub(super) async fn refused(&self, call: &Call, response: Response) -> ProviderError {
        let name = &self.settings.name;
        let status = response.status();
        let after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| retry_after(value.to_str().ok()?));
        let body = match timeout(self.settings.limits.stall, read_body(response)).await {
            Ok(Ok(body)) => body,
            Ok(Err(_)) | Err(_) => Vec::new(),
        };
        let reason = serde_json::from_slice::<Value>(&body)
            .ok()
            .and_then(|body| self.reason(body.get("error").unwrap_or(&body)));
        let because = reason
            .as_deref()
            .map(|reason| format!(" It says: {reason}"))
            .unwrap_or_default();
        let error = match status {
            // What it says may quote the key, so it is not passed on.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ProviderError::fail(
                FailureCode::ProviderUnauthorized,
                format!(
                    "The model's server ({name}) refused the key. Check that it is set and still valid."
                ),
            ),
            StatusCode::NOT_FOUND => ProviderError::fail(
                FailureCode::ModelNotFound,
                format!(
                    "The model's server ({name}) does not know the model {:?}, or its address is wrong.{because}",
                    self.model_of(call)
                ),
            ),
            StatusCode::TOO_MANY_REQUESTS => ProviderError::retry(
                FailureCode::ProviderRateLimited,
                format!(
                    "The model's server ({name}) is asked too often at the moment. Try again later.{because}"
                ),
            ),
            status if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => {
                ProviderError::retry(
                    FailureCode::ProviderError,
                    format!(
                        "The model's server ({name}) failed with status {}.{because}",
                        status.as_u16()
                    ),
                )
            }
            status => ProviderError::fail(
                FailureCode::ProviderRefused,
                format!(
                    "The model's server ({name}) refused the request with status {}.{because}",
                    status.as_u16()
                ),
            ),
        };
        error
            .no_sooner_than(after)
            .with_detail(format!("status {status}"))
    }

    /// What a server says in an `error`, without the key should it be quoted.
    pub(super) fn reason(&self, error: &Value) -> Option<String> {
        let text = match error {
            Value::String(text) => text,
            other => other.get("message")?.as_str()?,
        };
        let mut text = text.trim().to_owned();
        // Before it is cut: half a key is a secret too.
        if let Some(key) = &self.settings.api_key
            && !key.expose_secret().is_empty()
        {
            text = text.replace(key.expose_secret(), "[key]");
        }
        (!text.is_empty()).then(|| head(&text, MAX_REASON_CHARS).into_owned())
    }

    pub(super) fn upstream_error(&self, error: &Value) -> ProviderError {
        let because = self
            .reason(error)
            .map(|reason| format!(" It says: {reason}"))
            .unwrap_or_default();
        ProviderError::retry(
            FailureCode::ProviderError,
            format!(
                "The model's server ({}) reported an error.{because}",
                self.settings.name
            ),
        )
    }

    pub(super) fn line_error(&self, error: LinesCodecError) -> ProviderError {
        match error {
            LinesCodecError::MaxLineLengthExceeded => {
                self.malformed(format!("a line of more than {MAX_LINE_BYTES} bytes"))
            }
            LinesCodecError::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
                let stalled = error.get_ref().and_then(|e| e.downcast_ref::<Stalled>());
                self.stalled(stalled.map_or(self.settings.limits.stall, |stalled| stalled.0))
            }
            LinesCodecError::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.malformed(error)
            }
            LinesCodecError::Io(error) => self.broke_off().with_detail(error),
        }
    }
}

/// `Retry-After`: seconds, or a date (RFC 9110, 10.2.3).
fn retry_after(value: &str) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(u64::min(seconds, MAX_RETRY_AFTER_S)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let wait = date.duration_since(now()).unwrap_or_default();
    Some(wait.min(Duration::from_secs(MAX_RETRY_AFTER_S)))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a date of the model's server is compared with the machine's own time"
)]
fn now() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

fn seconds(limit: Duration) -> String {
    match limit.as_secs_f64() {
        whole if whole.fract() == 0.0 => format!("{whole:.0} s"),
        part => format!("{part:.1} s"),
    }
}

/// An error with its causes, without the address, which may hold a password.
fn error_chain(error: &reqwest::Error) -> String {
    let mut parts = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        parts.push(error.to_string());
        cause = error.source();
    }
    parts.join(": ")
}

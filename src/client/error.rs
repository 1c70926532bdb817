//! What can go wrong between a client and its server, in words for whoever uses it. No error has a token in it.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

/// Why something did not work out. Everything that may pass by itself has been tried for as long as the
/// [`Patience`](super::Patience) lasts.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is no `http://` or `https://` URL, or has a user or password in it.
    #[error("{address:?} is no address of a server: {reason}")]
    Address {
        address: String,
        reason: &'static str,
    },
    /// Everybody on the way would read the token.
    #[error(
        "the token would go over plain http to {host}, readable for everybody on the way: use https"
    )]
    PlainHttp { host: String },
    #[error("the token has characters that cannot be sent")]
    Token,
    #[error("no HTTP client can be made: {0}")]
    Setup(String),
    /// No answer came, or only a part of it.
    #[error("{address} cannot be reached: {reason}")]
    Unreachable { address: String, reason: String },
    /// The server said no, or did not get better.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// Something answered that is no Pollen server.
    #[error("{address} does not answer as a Pollen server does: {reason}")]
    NotPollen { address: String, reason: String },
}

impl Error {
    /// The problem that the server told, if it did.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            _ => None,
        }
    }
}

/// A problem as the server tells it (RFC 9457), or as much of one as its status says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Problem {
    /// The HTTP status.
    #[serde(default)]
    pub status: u16,
    /// The kind: `/problems/chat-not-found`. Empty where something else than Pollen answered.
    #[serde(default, rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub title: String,
    #[serde(default)]
    pub detail: Option<String>,
    /// Under what the server's log has it.
    #[serde(default)]
    pub request_id: Option<String>,
    /// How long the server asked to wait.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

impl Problem {
    /// The last part of the kind: `chat-not-found`.
    #[must_use]
    pub fn slug(&self) -> &str {
        self.kind.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = if self.title.is_empty() {
            "the server refused"
        } else {
            &self.title
        };
        write!(f, "{title}")?;
        if let Some(detail) = self.detail.as_ref().filter(|detail| !detail.is_empty()) {
            write!(f, ": {detail}")?;
        }
        write!(f, " (status {}", self.status)?;
        if let Some(id) = &self.request_id {
            write!(f, ", request {id}")?;
        }
        write!(f, ")")?;
        if let Some(wait) = self.retry_after {
            write!(f, "; try again in {} s", wait.as_secs())?;
        }
        Ok(())
    }
}

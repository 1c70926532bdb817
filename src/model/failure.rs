//! Why an answer failed: a stable code for programs and a sentence for people.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::text::storable;

/// The reason on a failed or cancelled message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    pub code: String,
    pub message: String,
}

impl Failure {
    #[must_use]
    pub fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Self {
            code: code.as_str().to_owned(),
            message: storable(&message.into()).into_owned(),
        }
    }

    /// The reason that a row holds, if it holds one.
    #[must_use]
    pub fn from_stored(code: Option<&str>, message: Option<&str>) -> Option<Self> {
        Some(Self {
            code: code?.to_owned(),
            message: message.unwrap_or_default().to_owned(),
        })
    }
}

/// The codes that clients may rely on. Documented in `docs/POLLING.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureCode {
    /// No connection to the model's server.
    ProviderUnreachable,
    /// The model's server refused the key.
    ProviderUnauthorized,
    /// The model's server does not know the model.
    ModelNotFound,
    /// The account at the model's server has nothing left.
    ProviderQuota,
    /// What the model would have to read is longer than its context window.
    ContextTooLong,
    /// The model asked for a tool, and none was offered.
    ToolCalled,
    /// The model's server limits how often it is asked.
    ProviderRateLimited,
    /// The model's server refused the request.
    ProviderRefused,
    /// The model's server failed.
    ProviderError,
    /// The first token did not come in time.
    FirstTokenTimeout,
    /// The answer took longer than a request may.
    DeadlineExceeded,
    /// No byte came for too long.
    ProviderStalled,
    /// The answer ended before the model had finished it.
    ProviderBrokeOff,
    /// What came is not the format that was asked for.
    ProviderMalformed,
    /// The model finished without a word.
    EmptyAnswer,
    /// The provider withheld the answer.
    ContentFilter,
    /// The answer passed the limit on its length.
    AnswerTooLong,
    /// The server that wrote the answer stopped in its middle.
    Interrupted,
    /// Somebody took it back.
    Cancelled,
    /// A fault of this server.
    Internal,
}

impl FailureCode {
    pub const ALL: [Self; 20] = [
        Self::ProviderUnreachable,
        Self::ProviderUnauthorized,
        Self::ModelNotFound,
        Self::ProviderQuota,
        Self::ContextTooLong,
        Self::ToolCalled,
        Self::ProviderRateLimited,
        Self::ProviderRefused,
        Self::ProviderError,
        Self::FirstTokenTimeout,
        Self::DeadlineExceeded,
        Self::ProviderStalled,
        Self::ProviderBrokeOff,
        Self::ProviderMalformed,
        Self::EmptyAnswer,
        Self::ContentFilter,
        Self::AnswerTooLong,
        Self::Interrupted,
        Self::Cancelled,
        Self::Internal,
    ];

    /// The code of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == name)
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ProviderUnreachable => "provider_unreachable",
            Self::ProviderUnauthorized => "provider_unauthorized",
            Self::ModelNotFound => "model_not_found",
            Self::ProviderQuota => "provider_quota",
            Self::ContextTooLong => "context_too_long",
            Self::ToolCalled => "tool_called",
            Self::ProviderRateLimited => "provider_rate_limited",
            Self::ProviderRefused => "provider_refused",
            Self::ProviderError => "provider_error",
            Self::FirstTokenTimeout => "first_token_timeout",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::ProviderStalled => "provider_stalled",
            Self::ProviderBrokeOff => "provider_broke_off",
            Self::ProviderMalformed => "provider_malformed",
            Self::EmptyAnswer => "empty_answer",
            Self::ContentFilter => "content_filter",
            Self::AnswerTooLong => "answer_too_long",
            Self::Interrupted => "interrupted",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
        }
    }
}

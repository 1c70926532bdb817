//! A failed call of a model: why, in the user's words, and whether another try makes sense.

use std::time::Duration;

use crate::model::failure::{Failure, FailureCode};

/// Whether to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The same call may succeed later, no sooner than the server asked for.
    Retry { after: Option<Duration> },
    /// It will not.
    Fail,
}

#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: {}{}", failure.code, failure.message, detail.as_deref().map(|d| format!(" ({d})")).unwrap_or_default())]
pub struct ProviderError {
    /// What the user reads.
    pub failure: Failure,
    pub verdict: Verdict,
    /// What only the log says.
    pub detail: Option<String>,
    /// The server does not say whether it is the model or the address that it does not know.
    pub is_model_or_address: bool,
}

impl ProviderError {
    /// The answer was over before the model had finished it.
    #[must_use]
    pub fn broke_off(provider: &str) -> Self {
        Self::retry(
            FailureCode::ProviderBrokeOff,
            format!("The model's server ({provider}) ended its answer in the middle."),
        )
    }

    /// The answer was not there in time.
    #[must_use]
    pub fn took_too_long(provider: &str, limit: Duration) -> Self {
        Self::retry(
            FailureCode::ProviderStalled,
            format!(
                "The model's server ({provider}) did not answer within {} s.",
                limit.as_secs()
            ),
        )
    }

    pub(super) fn fail(code: FailureCode, message: impl Into<String>) -> Self {
        Self {
            failure: Failure::new(code, message),
            verdict: Verdict::Fail,
            detail: None,
            is_model_or_address: false,
        }
    }

    pub(super) fn retry(code: FailureCode, message: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Retry { after: None },
            ..Self::fail(code, message)
        }
    }

    pub(super) fn no_sooner_than(mut self, after: Option<Duration>) -> Self {
        if let Verdict::Retry { .. } = self.verdict {
            self.verdict = Verdict::Retry { after };
        }
        self
    }

    pub(super) fn with_detail(mut self, detail: impl std::fmt::Display) -> Self {
        self.detail = Some(detail.to_string());
        self
    }
}

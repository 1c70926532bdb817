//! What went wrong on the way to the model, in the user's words. What a server says of itself is
//! passed on without the key, should it be quoted; the rest goes to the log.

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde_json::Value;
use tokio::time::timeout;

use super::format::{Asked, Trouble};
use super::framing::{LineError, read_body};
use super::remote::{Server, has_type};
use crate::model::failure::FailureCode;
use crate::model::text::head;
use crate::provider::ProviderError;

/// A server that asks for more patience than a week's is not waited for anyhow.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(7 * 24);
/// Characters of a server's own explanation that are passed on.
const MAX_REASON_CHARS: usize = 300;
/// A value of a header's or of the query that is shorter than this is no secret, and may be part of any word.
const MIN_SECRET_BYTES: usize = 8;

/// What servers call it when there is no money left.
const QUOTA_CODES: [&str; 7] = [
    "insufficient_quota",
    "insufficient_balance",
    "insufficient_credits",
    "billing_error",
    "billing_not_active",
    "billing_hard_limit_reached",
    "exceeded_current_quota_error",
];
const QUOTA_WORDS: [&str; 2] = ["credit balance is too low", "insufficient balance"];
/// What servers call it when a conversation is too long for the model.
const CONTEXT_CODES: [&str; 3] = [
    "context_length_exceeded",
    "exceed_context_size_error",
    "request_too_large",
];
const CONTEXT_WORDS: [&str; 9] = [
    "prompt is too long",
    "input is too long",
    "input length exceeds",
    "maximum context length",
    "context length",
    "context window",
    "context size",
    "exceeds the maximum number of tokens",
    "maximum prompt length",
];
const KEY_CODES: [&str; 4] = [
    "API_KEY_INVALID",
    "invalid_api_key",
    "authentication_error",
    "permission_error",
];
const FILTER_CODES: [&str; 3] = [
    "content_filter",
    "content_policy_violation",
    "ResponsibleAIPolicyViolation",
];
const MODEL_CODES: [&str; 1] = ["model_not_found"];
/// What Anthropic calls both a model and an address that it does not know.
const NOT_FOUND_CODE: &str = "not_found_error";
const RATE_CODES: [&str; 4] = [
    "rate_limit_error",
    "rate_limit_exceeded",
    "too_many_requests",
    "RESOURCE_EXHAUSTED",
];
const REFUSED_CODES: [&str; 3] = [
    "invalid_request_error",
    "invalid_prompt",
    "INVALID_ARGUMENT",
];

/// The error that a piece of an answer holds, if it does.
pub(super) fn error_in(piece: &Value) -> Option<&Value> {
    if piece["object"] == "error" {
        return Some(piece);
    }
    let error = piece.get("error")?;
    let is_one = match error {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        _ => true,
    };
    is_one.then_some(error)
}

/// What a server says of its error.
#[derive(Debug, Default)]
struct Complaint {
    message: Option<String>,
    /// Its `code`, `type`, `status` and the like: servers put the telling one anywhere.
    codes: Vec<String>,
    /// An HTTP status in an error that came after a 200.
    status: Option<u16>,
    retry_after: Option<Duration>,
}

impl Complaint {
    fn of(error: &Value) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let details = error["details"].as_array().into_iter().flatten();
        let mut codes: Vec<String> = [&error["code"], &error["type"], &error["status"]]
            .into_iter()
            .chain([&error["innererror"]["code"]])
            .chain(details.clone().map(|detail| &detail["reason"]))
            .filter_map(text)
            .collect();
        // A gateway's way to say that its moderation has refused.
        if error["metadata"]["flagged_input"].is_string() {
            codes.push("content_filter".to_owned());
        }
        Self {
            message: text(error)
                .or_else(|| text(&error["message"]))
                .or_else(|| text(&error["detail"])),
            codes,
            status: error["code"]
                .as_u64()
                .and_then(|code| u16::try_from(code).ok())
                .filter(|code| (400..600).contains(code)),
            retry_after: details
                .filter_map(|detail| {
                    detail["retryDelay"]
                        .as_str()?
                        .strip_suffix('s')?
                        .parse()
                        .ok()
                })
                .find_map(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        }
    }

    fn has_code(&self, codes: &[&str]) -> bool {
        self.codes.iter().any(|code| codes.contains(&code.as_str()))
    }

    fn says(&self, words: &[&str]) -> bool {
        let message = self.message.as_deref().unwrap_or_default().to_lowercase();
        words.iter().any(|words| message.contains(words))
    }

    /// Whether it names the model. Who does not find an address does not know what was asked of it.
    fn names(&self, asked: Asked<'_>) -> bool {
        match asked {
            Asked::AnswerOf(model) => self
                .message
                .as_deref()
                .is_some_and(|message| message.contains(model)),
            Asked::Models => false,
        }
    }

    fn kind(&self, asked: Asked<'_>, status: Option<StatusCode>) -> Kind {
        let is_about_size = matches!(
            status,
            Some(StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE)
        );
        if self.has_code(&QUOTA_CODES) || status.is_some() && self.says(&QUOTA_WORDS) {
            return Kind::Quota;
        }
        if self.has_code(&FILTER_CODES) {
            return Kind::Blocked;
        }
        if self.has_code(&CONTEXT_CODES) || is_about_size && self.says(&CONTEXT_WORDS) {
            return Kind::ContextTooLong;
        }
        if self.has_code(&KEY_CODES) {
            return Kind::Unauthorized;
        }
        if self.has_code(&MODEL_CODES) {
            return Kind::ModelUnknown;
        }
        let told = || StatusCode::from_u16(self.status?).ok();
        match status.or_else(told) {
            Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Kind::Unauthorized,
            Some(StatusCode::PAYMENT_REQUIRED) => Kind::Quota,
            Some(StatusCode::NOT_FOUND) if self.names(asked) => Kind::ModelUnknown,
            Some(StatusCode::NOT_FOUND) => Kind::NotFound,
            // There is something, but not what takes a conversation.
            Some(StatusCode::METHOD_NOT_ALLOWED) => Kind::Elsewhere,
            Some(StatusCode::TOO_MANY_REQUESTS) => Kind::RateLimited,
            Some(StatusCode::REQUEST_TIMEOUT) => Kind::Failed,
            Some(status) if status.is_server_error() => Kind::Failed,
            Some(_) => Kind::Refused,
            None if self.has_code(&[NOT_FOUND_CODE]) => Kind::NotFound,
            None if self.has_code(&RATE_CODES) => Kind::RateLimited,
            None if self.has_code(&REFUSED_CODES) => Kind::Refused,
            None => Kind::Failed,
        }
    }
}

/// What an error comes down to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unauthorized,
    Quota,
    ModelUnknown,
    /// The model or the address: it does not say which.
    NotFound,
    /// The address is not that of a model's server.
    Elsewhere,
    RateLimited,
    ContextTooLong,
    Blocked,
    Refused,
    Failed,
}

impl Server {
    pub(super) fn unreachable(&self, error: &reqwest::Error) -> ProviderError {
        let name = &self.settings.name;
        let causes = self.clean(&chain(error));
        let error = if causes.contains("certificate") {
            ProviderError::fail(
                FailureCode::ProviderUnreachable,
                format!(
                    "The model's server ({name}) shows a certificate that is not trusted here. If it is one of your own, set its CA certificate (`ca_file`)."
                ),
            )
        } else {
            ProviderError::retry(
                FailureCode::ProviderUnreachable,
                format!(
                    "The model's server ({name}) could not be reached. Is it running, and is its address (`base_url`) right?"
                ),
            )
        };
        error.with_detail(causes)
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

    pub(super) fn too_slow(&self, limit: Duration) -> ProviderError {
        ProviderError::fail(
            FailureCode::DeadlineExceeded,
            format!(
                "The model's server ({}) had not finished its answer within {} and was stopped.",
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
        self.is_no("an answer", detail)
    }

    pub(super) fn not_a_listing(&self, detail: impl std::fmt::Display) -> ProviderError {
        self.is_no("a list of models", detail)
    }

    fn is_no(&self, thing: &str, detail: impl std::fmt::Display) -> ProviderError {
        ProviderError::fail(
            FailureCode::ProviderMalformed,
            format!(
                "The model's server ({}) sent something that is not {thing}.",
                self.settings.name
            ),
        )
        .with_detail(self.clean(&detail.to_string()))
    }

    pub(super) fn line_error(&self, error: LineError) -> ProviderError {
        match error {
            LineError::TooLong | LineError::NotText(_) => self.malformed(error),
            LineError::Stalled(limit) => self.stalled(limit),
            LineError::Network(error) => self.broke_off().with_detail(chain(&error)),
        }
    }

    pub(super) fn troubled(&self, asked: Asked<'_>, trouble: Trouble) -> ProviderError {
        let name = &self.settings.name;
        match trouble {
            Trouble::Reported(error) => self.reported(asked, &error),
            Trouble::Filtered => ProviderError::fail(
                FailureCode::ContentFilter,
                format!(
                    "The model's server ({name}) withheld the rest of the answer (content filter)."
                ),
            ),
            Trouble::Blocked => self.explained(asked, &Complaint::default(), Kind::Blocked, None),
        }
    }

    /// Explains an error that came after a 200.
    pub(super) fn reported(&self, asked: Asked<'_>, error: &Value) -> ProviderError {
        let complaint = Complaint::of(error);
        let kind = complaint.kind(asked, None);
        self.explained(asked, &complaint, kind, None)
            .no_sooner_than(complaint.retry_after.map(bounded))
    }

    /// Explains an answer that is not a success.
    pub(super) async fn refused(&self, asked: Asked<'_>, response: Response) -> ProviderError {
        let status = response.status();
        let after = retry_after(response.headers());
        let is_page = has_type(&response, "text/html");
        let body = match timeout(self.settings.limits.stall, read_body(response)).await {
            Ok(Ok(body)) => body,
            Ok(Err(_)) | Err(_) => Vec::new(),
        };
        let mut body: Value = serde_json::from_slice(&body).unwrap_or_default();
        if let Some(first) = body.get_mut(0) {
            // A stream of JSON values, as Gemini sends it: a list with one error in it.
            body = first.take();
        }
        let complaint = Complaint::of(error_in(&body).unwrap_or(&body));
        let kind = match complaint.kind(asked, Some(status)) {
            _ if status.is_redirection() => Kind::Elsewhere,
            // A gateway in trouble, or one that lets nobody in, shows pages too.
            Kind::NotFound | Kind::Refused if is_page => Kind::Elsewhere,
            kind => kind,
        };
        self.explained(asked, &complaint, kind, Some(status))
            .no_sooner_than(after.or(complaint.retry_after).map(bounded))
            .with_detail(format!("status {status}"))
    }

    fn explained(
        &self,
        asked: Asked<'_>,
        complaint: &Complaint,
        kind: Kind,
        status: Option<StatusCode>,
    ) -> ProviderError {
        let name = &self.settings.name;
        let because = self.because(complaint);
        match kind {
            // What it says may quote the key, so it is not passed on.
            Kind::Unauthorized => ProviderError::fail(
                FailureCode::ProviderUnauthorized,
                format!(
                    "The model's server ({name}) refused the key. Check that it is set and still valid."
                ),
            ),
            Kind::Quota => ProviderError::fail(
                FailureCode::ProviderQuota,
                format!(
                    "The account at the model's server ({name}) has no credit left, so it does not answer.{because}"
                ),
            ),
            Kind::ModelUnknown | Kind::NotFound => self.not_found(asked, &because, kind),
            Kind::Elsewhere => ProviderError::fail(
                FailureCode::ProviderRefused,
                format!(
                    "What answers for the model's server ({name}) is something else{}. Its address (`base_url`) is probably wrong.{because}",
                    with_status(status)
                ),
            ),
            Kind::RateLimited => ProviderError::retry(
                FailureCode::ProviderRateLimited,
                format!(
                    "The model's server ({name}) is asked too often at the moment. Try again later.{because}"
                ),
            ),
            Kind::ContextTooLong => ProviderError::fail(
                FailureCode::ContextTooLong,
                format!(
                    "The conversation is longer than the model can read. Shorten it, or begin a new chat.{because}"
                ),
            ),
            Kind::Blocked => ProviderError::fail(
                FailureCode::ContentFilter,
                format!(
                    "The model's server ({name}) does not answer this conversation (content filter).{because}"
                ),
            ),
            Kind::Refused => ProviderError::fail(
                FailureCode::ProviderRefused,
                format!(
                    "The model's server ({name}) refused the request{}.{because}",
                    with_status(status)
                ),
            ),
            Kind::Failed => ProviderError::retry(
                FailureCode::ProviderError,
                match status {
                    Some(_) => format!(
                        "The model's server ({name}) failed{}.{because}",
                        with_status(status)
                    ),
                    None => format!("The model's server ({name}) reported an error.{because}"),
                },
            ),
        }
    }

    fn not_found(&self, asked: Asked<'_>, because: &str, kind: Kind) -> ProviderError {
        let name = &self.settings.name;
        let is_unclear = kind == Kind::NotFound;
        let or_address = if is_unclear {
            ", or its address (`base_url`) is wrong"
        } else {
            ""
        };
        let (code, what) = match asked {
            Asked::AnswerOf(model) => (
                FailureCode::ModelNotFound,
                format!("does not know the model {model:?}"),
            ),
            Asked::Models => (
                FailureCode::ProviderRefused,
                "does not list its models".to_owned(),
            ),
        };
        let message = format!("The model's server ({name}) {what}{or_address}.{because}");
        ProviderError {
            is_model_or_address: is_unclear,
            ..ProviderError::fail(code, message)
        }
    }

    /// A web page where an answer was asked for.
    pub(super) fn web_page(&self) -> ProviderError {
        ProviderError::fail(
            FailureCode::ProviderMalformed,
            format!(
                "The model's server ({}) sent a web page, which is not an answer. Is its address (`base_url`) right?",
                self.settings.name
            ),
        )
    }

    fn because(&self, complaint: &Complaint) -> String {
        let reason = complaint.message.as_deref().unwrap_or_default().trim();
        if reason.is_empty() {
            return String::new();
        }
        // Before it is cut: half a key is a secret too.
        format!(" It says: {}", head(&self.clean(reason), MAX_REASON_CHARS))
    }

    /// A text of the server's without our secrets, should it quote them.
    fn clean(&self, text: &str) -> String {
        let settings = &self.settings;
        // Whatever a header or a query parameter is called, it may be what lets us in. A version is
        // what a complaint is about.
        let added = settings.headers.iter().chain(&settings.query);
        let added = added.filter(|(name, _)| !name.ends_with("version"));
        let added = added.map(|(_, value)| value.as_str());
        settings
            .key()
            .into_iter()
            .chain(added.filter(|value| value.len() >= MIN_SECRET_BYTES))
            .fold(text.to_owned(), |text, secret| {
                text.replace(secret, "[key]")
            })
    }
}

fn with_status(status: Option<StatusCode>) -> String {
    status
        .map(|status| format!(" with status {}", status.as_u16()))
        .unwrap_or_default()
}

/// `Retry-After`: seconds, or a date (RFC 9110, 10.2.3). OpenAI says it in milliseconds too.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = |name: &str| Some(headers.get(name)?.to_str().ok()?.trim());
    if let Some(ms) = value("retry-after-ms").and_then(|ms| ms.parse().ok()) {
        return Some(Duration::from_millis(ms));
    }
    let value = value(RETRY_AFTER.as_str())?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now()).unwrap_or_default())
}

fn bounded(wait: Duration) -> Duration {
    wait.min(MAX_RETRY_AFTER)
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

/// The causes of an error, without its own words, which may hold an address with a password.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut parts = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        parts.push(error.to_string());
        cause = error.source();
    }
    parts.join(": ")
}

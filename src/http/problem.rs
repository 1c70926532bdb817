//! Problems: what went wrong, for programs (RFC 9457) and for people.
//!
//! A handler returns a [`Problem`]; it travels in the response's extensions to the outermost
//! layer, which knows the request (its id, its path, which form of answer it wants) and writes
//! the body there. So every error of every layer has the same shape.

use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::v1::ApiError;

/// The kinds of problem that there are. A kind's slug is part of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    SignInNeeded,
    UserDisabled,
    ScopeNeeded,
    AdminNeeded,
    ChatsPrivate,
    CrossSite,
    WrongHost,
    NoSuchPage,
    MethodNotAllowed,
    MalformedRequest,
    MalformedUuid,
    MalformedPosition,
    InvalidField,
    ChatNotFound,
    MessageNotFound,
    AgentNotFound,
    TokenNotFound,
    SessionNotFound,
    UserNotFound,
    RunningLimit,
    CursorNotFound,
    TierNeeded,
    TokensUsedUp,
    BudgetUsedUp,
    UuidTaken,
    StillWritten,
    WrongState,
    VersionNotFound,
    ChatBusy,
    MalformedKey,
    IdempotencyKeyReused,
    RequestRunning,
    BodyTooLarge,
    BodyTooSlow,
    UnsupportedMediaType,
    RateLimited,
    Overloaded,
    UserGone,
    ExportRunning,
    ChatTooLong,
    ArchiveNotFound,
    ArchiveNotReady,
    ShareNotFound,
    TooManyShares,
    AnswerUnderWay,
    AnswerFailed,
    AnswerStopped,
    Unavailable,
    Internal,
}

impl Kind {
    pub const ALL: [Self; 49] = [
        Self::SignInNeeded,
        Self::UserDisabled,
        Self::ScopeNeeded,
        Self::AdminNeeded,
        Self::ChatsPrivate,
        Self::CrossSite,
        Self::WrongHost,
        Self::NoSuchPage,
        Self::MethodNotAllowed,
        Self::MalformedRequest,
        Self::MalformedUuid,
        Self::MalformedPosition,
        Self::InvalidField,
        Self::ChatNotFound,
        Self::MessageNotFound,
        Self::AgentNotFound,
        Self::TokenNotFound,
        Self::SessionNotFound,
        Self::UserNotFound,
        Self::RunningLimit,
        Self::CursorNotFound,
        Self::TierNeeded,
        Self::TokensUsedUp,
        Self::BudgetUsedUp,
        Self::UuidTaken,
        Self::StillWritten,
        Self::WrongState,
        Self::VersionNotFound,
        Self::ChatBusy,
        Self::MalformedKey,
        Self::IdempotencyKeyReused,
        Self::RequestRunning,
        Self::BodyTooLarge,
        Self::BodyTooSlow,
        Self::UnsupportedMediaType,
        Self::RateLimited,
        Self::Overloaded,
        Self::UserGone,
        Self::ExportRunning,
        Self::ChatTooLong,
        Self::ArchiveNotFound,
        Self::ArchiveNotReady,
        Self::ShareNotFound,
        Self::TooManyShares,
        Self::AnswerUnderWay,
        Self::AnswerFailed,
        Self::AnswerStopped,
        Self::Unavailable,
        Self::Internal,
    ];

    /// The last part of the problem's `type`.
    pub fn slug(self) -> &'static str {
        self.describe().0
    }

    pub fn title(self) -> &'static str {
        self.describe().1
    }

    pub fn status(self) -> StatusCode {
        self.describe().2
    }

    /// What to do about it.
    pub fn advice(self) -> &'static str {
        self.describe().3
    }

    #[expect(clippy::too_many_lines, reason = "a table, one row for each kind")]
    fn describe(self) -> (&'static str, &'static str, StatusCode, &'static str) {
        match self {
            Self::SignInNeeded => (
                "sign-in-needed",
                "The server does not know who you are",
                StatusCode::UNAUTHORIZED,
                "Send an API token (`Authorization: Bearer pln_…`), or sign in.",
            ),
            Self::UserDisabled => (
                "user-disabled",
                "You may not come in any more",
                StatusCode::FORBIDDEN,
                "Ask the server's administrator.",
            ),
            Self::ScopeNeeded => (
                "scope-needed",
                "Your token is not for this",
                StatusCode::FORBIDDEN,
                "It only reads. What changes something needs a token of the scope write.",
            ),
            Self::AdminNeeded => (
                "admin-needed",
                "Only administrators may do this",
                StatusCode::FORBIDDEN,
                "Come as an administrator, with a token of the scope admin if with one.",
            ),
            Self::ChatsPrivate => (
                "chats-are-private",
                "Administrators of this server do not read other people's chats",
                StatusCode::FORBIDDEN,
                "With auth.admins_read_chats they do, and each look is in the audit log.",
            ),
            Self::CrossSite => (
                "cross-site-request",
                "Another site's page asked for this",
                StatusCode::FORBIDDEN,
                "Pages of other sites cannot change anything here. If it is the server's own page, a proxy gives the server another name: public_url has to be the address that people use.",
            ),
            Self::WrongHost => (
                "wrong-host",
                "The server does not go by this name",
                StatusCode::MISDIRECTED_REQUEST,
                "Use http://127.0.0.1 or http://localhost. A server that others reach needs another `auth.modes` than local.",
            ),
            Self::TokenNotFound => (
                "token-not-found",
                "There is no such token",
                StatusCode::NOT_FOUND,
                "It was revoked, or it never was.",
            ),
            Self::SessionNotFound => (
                "session-not-found",
                "There is no such session",
                StatusCode::NOT_FOUND,
                "It has ended, or it never was.",
            ),
            Self::UserNotFound => (
                "user-not-found",
                "There is no such user",
                StatusCode::NOT_FOUND,
                "They were erased, or never were.",
            ),
            Self::RunningLimit => (
                "too-many-answers",
                "You have as many answers under way as your tier allows",
                StatusCode::TOO_MANY_REQUESTS,
                "Wait until one of them has ended, or cancel one.",
            ),
            Self::NoSuchPage => (
                "no-such-page",
                "There is nothing at this address",
                StatusCode::NOT_FOUND,
                "Check the path: docs/POLLING.md lists the routes.",
            ),
            Self::MethodNotAllowed => (
                "method-not-allowed",
                "This address does not take this method",
                StatusCode::METHOD_NOT_ALLOWED,
                "The Allow header says which methods it takes.",
            ),
            Self::MalformedRequest => (
                "malformed-request",
                "The request cannot be read",
                StatusCode::BAD_REQUEST,
                "The detail says where it stops making sense.",
            ),
            Self::MalformedUuid => (
                "malformed-uuid",
                "This is not a UUID",
                StatusCode::BAD_REQUEST,
                "A UUID looks like 01990f5e-7c1a-7b6e-9f0a-3c5d8e2b4a61. Send back the ones that the server gave out.",
            ),
            Self::MalformedPosition => (
                "malformed-position",
                "This is not a position",
                StatusCode::BAD_REQUEST,
                "Start at 0 and send back the last position that the server gave out; never compute one.",
            ),
            Self::InvalidField => (
                "invalid-field",
                "This cannot be taken as it is",
                StatusCode::UNPROCESSABLE_ENTITY,
                "The detail names the field and the rule.",
            ),
            Self::ChatNotFound => (
                "chat-not-found",
                "There is no such chat",
                StatusCode::NOT_FOUND,
                "It was deleted, or it never was.",
            ),
            Self::MessageNotFound => (
                "message-not-found",
                "There is no such message",
                StatusCode::NOT_FOUND,
                "It was deleted, or it never was.",
            ),
            Self::AgentNotFound => (
                "agent-not-found",
                "There is no such agent",
                StatusCode::NOT_FOUND,
                "GET /agents lists the ones that there are.",
            ),
            Self::TierNeeded => (
                "tier-needed",
                "This model is for a higher tier",
                StatusCode::FORBIDDEN,
                "GET /models lists the models that you may use.",
            ),
            Self::TokensUsedUp => (
                "tokens-used-up",
                "Your tokens are used up for now",
                StatusCode::TOO_MANY_REQUESTS,
                "Try again after the time in the Retry-After header. GET /usage shows the limits.",
            ),
            Self::BudgetUsedUp => (
                "budget-used-up",
                "Your budget is used up for now",
                StatusCode::PAYMENT_REQUIRED,
                "Try again after the time in the Retry-After header. GET /usage shows the limits.",
            ),
            Self::CursorNotFound => (
                "cursor-not-found",
                "The cursor is not a message of this chat",
                StatusCode::NOT_FOUND,
                "Poll again without a cursor to begin from the first message.",
            ),
            Self::UuidTaken => (
                "uuid-taken",
                "This UUID is taken",
                StatusCode::CONFLICT,
                "Choose another UUID, or none.",
            ),
            Self::StillWritten => (
                "still-written",
                "The answer is still being written",
                StatusCode::CONFLICT,
                "Wait until its status is no longer pending, or cancel it.",
            ),
            Self::WrongState => (
                "wrong-state",
                "This cannot be done with this message as it is",
                StatusCode::CONFLICT,
                "The detail says what is in the way, and what can be done instead.",
            ),
            Self::VersionNotFound => (
                "version-not-found",
                "There is no such version",
                StatusCode::NOT_FOUND,
                "GET /chat/message/{uuid}/versions lists the ones that there are.",
            ),
            Self::ChatBusy => (
                "chat-busy",
                "An answer is under way in this chat",
                StatusCode::CONFLICT,
                "Wait until it has ended, or send with another `on_busy`: enqueue, interrupt or rollback.",
            ),
            Self::MalformedKey => (
                "malformed-idempotency-key",
                "This is not an idempotency key",
                StatusCode::BAD_REQUEST,
                "An Idempotency-Key has 1 to 255 visible ASCII characters; a fresh UUID is a good one.",
            ),
            Self::IdempotencyKeyReused => (
                "idempotency-key-reused",
                "This key came with another body before",
                StatusCode::UNPROCESSABLE_ENTITY,
                "Repeat a request to the letter, or take a new key (or UUID) for a new one.",
            ),
            Self::RequestRunning => (
                "request-running",
                "The first request with this key is still being worked on",
                StatusCode::CONFLICT,
                "Send the same again after the time in the Retry-After header: it gets the first one's answer.",
            ),
            Self::BodyTooLarge => (
                "body-too-large",
                "The request's body is too large",
                StatusCode::PAYLOAD_TOO_LARGE,
                "Send less at once.",
            ),
            Self::BodyTooSlow => (
                "body-too-slow",
                "The request's body took too long to arrive",
                StatusCode::REQUEST_TIMEOUT,
                "Send it again.",
            ),
            Self::UnsupportedMediaType => (
                "unsupported-media-type",
                "This content type is not taken",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Send application/json or application/x-www-form-urlencoded.",
            ),
            Self::RateLimited => (
                "rate-limited",
                "These are too many requests",
                StatusCode::TOO_MANY_REQUESTS,
                "Try again after the time in the Retry-After header.",
            ),
            Self::Overloaded => (
                "overloaded",
                "The server has too much to do",
                StatusCode::SERVICE_UNAVAILABLE,
                "Try again after the time in the Retry-After header.",
            ),
            Self::UserGone => (
                "user-gone",
                "This user is being deleted",
                StatusCode::FORBIDDEN,
                "All that is theirs is erased, and nothing new is taken meanwhile.",
            ),
            Self::ExportRunning => (
                "export-running",
                "An export of your data is being made",
                StatusCode::CONFLICT,
                "Ask again when you have it: there is one at a time.",
            ),
            Self::ChatTooLong => (
                "chat-too-long",
                "The chat is too long for this format",
                StatusCode::UNPROCESSABLE_ENTITY,
                "Export it as html, markdown or json, which have no such limit.",
            ),
            Self::ArchiveNotFound => (
                "archive-not-found",
                "There is no such archive",
                StatusCode::NOT_FOUND,
                "It was fetched too late, or another one has taken its place: POST /chats/export begins one.",
            ),
            Self::ArchiveNotReady => (
                "archive-not-ready",
                "The archive is still being made",
                StatusCode::CONFLICT,
                "Ask GET /chats/export/{uuid} how far it is, at the pace that it names, until its status is completed.",
            ),
            Self::ShareNotFound => (
                "share-not-found",
                "There is no such link",
                StatusCode::NOT_FOUND,
                "GET /chat/{uuid}/shares lists the ones that there are.",
            ),
            Self::TooManyShares => (
                "too-many-shares",
                "This chat has too many links",
                StatusCode::CONFLICT,
                "Revoke one that is not needed: DELETE /share/{uuid}.",
            ),
            Self::AnswerUnderWay => (
                "answer-under-way",
                "The answer is still being written",
                StatusCode::GATEWAY_TIMEOUT,
                "It was not there within the server's longest wait. The error names the response to poll.",
            ),
            Self::AnswerFailed => (
                "answer-failed",
                "The model has not answered",
                StatusCode::BAD_GATEWAY,
                "The detail says why. What was said is kept: the error names the response.",
            ),
            Self::AnswerStopped => (
                "answer-stopped",
                "The answer was stopped",
                StatusCode::CONFLICT,
                "Somebody cancelled it while it was waited for. The error names the response, which has the text so far.",
            ),
            Self::Unavailable => (
                "unavailable",
                "The server cannot do this at the moment",
                StatusCode::SERVICE_UNAVAILABLE,
                "Try again after the time in the Retry-After header.",
            ),
            Self::Internal => (
                "internal",
                "Internal Server Error",
                StatusCode::INTERNAL_SERVER_ERROR,
                "The fault is the server's. Its log has the reason under the request id.",
            ),
        }
    }
}

/// How to come in (RFC 6750, 3).
const BEARER: HeaderValue = HeaderValue::from_static("Bearer realm=\"pollen\"");
/// Seconds after which to try again what cannot be done at the moment.
const RETRY_AFTER_S: u64 = 1;

/// One occurrence of a kind of problem.
#[derive(Clone, Debug)]
pub struct Problem {
    pub kind: Kind,
    /// What is special about this occurrence, for people. A 5xx has none.
    pub detail: Option<String>,
    /// Seconds after which another try makes sense, where the kind does not say it.
    pub retry_after_s: Option<u64>,
    /// Why it came to a 5xx, for the log alone.
    pub cause: Option<Arc<str>>,
    /// What programs under `/v1` are told beside.
    pub api: Option<Box<ApiError>>,
}

/// The body of a problem in JSON, in the order of RFC 9457.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    #[serde(rename = "type")]
    pub type_uri: String,
    pub title: &'a str,
    pub status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<&'a str>,
    pub instance: &'a str,
    pub request_id: &'a str,
}

impl Problem {
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: Some(detail.into()),
            retry_after_s: None,
            cause: None,
            api: None,
        }
    }

    /// A problem that its kind says all about.
    pub fn bare(kind: Kind) -> Self {
        Self {
            kind,
            detail: None,
            retry_after_s: None,
            cause: None,
            api: None,
        }
    }

    pub fn no_such_page() -> Self {
        Self::bare(Kind::NoSuchPage)
    }

    pub fn method_not_allowed() -> Self {
        Self::bare(Kind::MethodNotAllowed)
    }

    /// A fault of the server's, whose reason goes to the log alone.
    pub fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::caused(Kind::Internal, error)
    }

    /// The database cannot be used at the moment.
    pub fn unavailable(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::caused(Kind::Unavailable, error)
    }

    fn caused(kind: Kind, error: &(dyn std::error::Error + 'static)) -> Self {
        Self {
            cause: Some(chain(error).into()),
            ..Self::bare(kind)
        }
    }

    pub fn body<'a>(&'a self, instance: &'a str, request_id: &'a str) -> ProblemBody<'a> {
        // A client's mistake is always explained; a fault of the server's never.
        let is_clients = self.kind.status().is_client_error();
        let advice = is_clients.then(|| self.kind.advice());
        ProblemBody {
            type_uri: format!("/problems/{}", self.kind.slug()),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: self.detail.as_deref().or(advice),
            instance,
            request_id,
        }
    }
}

impl IntoResponse for Problem {
    /// An empty answer that carries the problem to the layer that writes it out.
    fn into_response(self) -> Response {
        let mut response = self.kind.status().into_response();
        let passes = [
            Kind::Unavailable,
            Kind::ChatBusy,
            Kind::RequestRunning,
            Kind::RunningLimit,
            Kind::ExportRunning,
            Kind::ArchiveNotReady,
        ];
        let usual = passes.contains(&self.kind).then_some(RETRY_AFTER_S);
        if self.kind == Kind::SignInNeeded {
            let headers = response.headers_mut();
            headers.insert(header::WWW_AUTHENTICATE, BEARER);
        }
        if let Some(seconds) = self.retry_after_s.or(usual) {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// What a handler that panicked answers. The panic itself has been written to the log by its hook.
pub(super) fn after_panic() -> axum::http::Response<axum::body::Body> {
    tracing::error!("a handler panicked");
    Problem::bare(Kind::Internal).into_response()
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

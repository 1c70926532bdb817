//! Problems in the shape that OpenAI's clients read: `{"error": {"message", "type", "param", "code"}}`.
//!
//! Those clients ask again by themselves after a 408, a 409, a 429 and any 5xx. Where that could not help, or would ask
//! a model a second time, `x-should-retry` says so.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::http::problem::{Kind, Problem};
use crate::http::reply;

/// Whether a client is to ask again: `false`, whatever the status.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
/// Milliseconds after which another try makes sense.
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
const FALSE: HeaderValue = HeaderValue::from_static("false");

/// What a problem says to such a program beside what it says to everybody.
#[derive(Clone, Debug, Default)]
pub struct ApiError {
    /// The parameter that is wrong, as the program wrote it: `input[0].role`.
    pub param: Option<String>,
    /// Where there is a better word than the kind's own.
    pub code: Option<&'static str>,
    pub status: Option<StatusCode>,
    /// It has been asked already: to ask again would ask a model a second time.
    pub is_asked: bool,
    /// What the program needs to go on, within the error: its libraries keep nothing else of the answer.
    pub more: Map<String, Value>,
}

/// The body of every problem under `/v1`.
#[derive(Serialize, ToSchema)]
#[schema(as = ApiError)]
pub struct ErrorBody<'a> {
    error: ErrorObject<'a>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ApiErrorObject)]
struct ErrorObject<'a> {
    /// What is wrong, and what to do about it.
    message: &'a str,
    #[serde(rename = "type")]
    #[schema(example = "invalid_request_error")]
    kind: &'static str,
    /// The parameter that is wrong, if it is one.
    #[schema(example = "model")]
    param: Option<&'a str>,
    /// The reason, for programs.
    #[schema(example = "model_not_found")]
    code: String,
    #[serde(flatten)]
    #[schema(ignore)]
    more: &'a Map<String, Value>,
}

impl Problem {
    /// A parameter of `/v1` that is wrong. `param`: as the program wrote it.
    pub fn param(param: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(Kind::MalformedRequest, detail).of_param(param, code)
    }

    /// The same of any problem.
    pub fn of_param(self, param: impl Into<String>, code: &'static str) -> Self {
        let api = ApiError {
            param: Some(param.into()),
            code: Some(code),
            ..ApiError::default()
        };
        Self {
            api: Some(Box::new(api)),
            ..self
        }
    }
}

/// What went wrong behind a question that is stored, under this response.
pub fn once_asked(problem: Problem, response: &str) -> Problem {
    let mut api = problem.api.clone().unwrap_or_default();
    api.is_asked = true;
    api.more
        .insert("response_id".to_owned(), Value::from(response));
    Problem {
        api: Some(api),
        ..problem
    }
}

/// The problem as such a program reads it. `path`: what it asked for.
pub fn write_out(problem: &Problem, path: &str, request_id: &str) -> Result<Response, Problem> {
    let none = ApiError::default();
    let api = problem.api.as_deref().unwrap_or(&none);
    let status = api.status.unwrap_or_else(|| status_of(problem.kind));
    let body = problem.body(path, request_id);
    let message = match body.detail {
        Some(detail) if api.param.is_some() => detail.to_owned(),
        Some(detail) => format!("{}: {detail}", body.title),
        None => body.title.to_owned(),
    };
    let body = ErrorBody {
        error: ErrorObject {
            message: &message,
            kind: type_of(problem.kind, status),
            param: api.param.as_deref(),
            code: api
                .code
                .map_or_else(|| code_of(problem.kind), str::to_owned),
            more: &api.more,
        },
    };
    let mut response = reply::json(status, &body)?;
    if is_final(problem.kind) || api.is_asked {
        response.headers_mut().insert(SHOULD_RETRY, FALSE);
    }
    Ok(response)
}

/// Says in milliseconds too when another try makes sense.
pub fn tell_when(headers: &mut HeaderMap) {
    let seconds = headers.get(header::RETRY_AFTER);
    let seconds = seconds.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if let Some(seconds) = seconds {
        let ms = HeaderValue::from(seconds.saturating_mul(1000));
        headers.insert(RETRY_AFTER_MS, ms);
    }
}

fn status_of(kind: Kind) -> StatusCode {
    match kind {
        // What this interface calls a bad request.
        Kind::InvalidField => StatusCode::BAD_REQUEST,
        kind => kind.status(),
    }
}

fn type_of(kind: Kind, status: StatusCode) -> &'static str {
    match kind {
        Kind::TokensUsedUp | Kind::BudgetUsedUp => "insufficient_quota",
        _ if status == StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        _ if status == StatusCode::FORBIDDEN => "permission_error",
        _ if status.is_server_error() => "server_error",
        _ => "invalid_request_error",
    }
}

fn code_of(kind: Kind) -> String {
    match kind {
        Kind::SignInNeeded => "invalid_api_key".to_owned(),
        Kind::TokensUsedUp | Kind::BudgetUsedUp => "insufficient_quota".to_owned(),
        Kind::RateLimited | Kind::RunningLimit => "rate_limit_exceeded".to_owned(),
        Kind::Internal => "server_error".to_owned(),
        Kind::NoSuchPage => "unknown_url".to_owned(),
        kind => kind.slug().replace('-', "_"),
    }
}

/// Whether the same request can only come to the same end, though its status says otherwise to such a program. What
/// waits for the first request of its key is told the answer of that one when it asks again.
fn is_final(kind: Kind) -> bool {
    match kind {
        Kind::RequestRunning => false,
        Kind::TokensUsedUp | Kind::BudgetUsedUp => true,
        kind => kind.status() == StatusCode::CONFLICT,
    }
}

//! Bodies: read within their limits, decoded by what they say that they are, and the key under which what they ask for has its
//! effect once.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Request};
use axum::http::{HeaderMap, header};
use percent_encoding::percent_decode;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::AppState;
use super::cost;
use super::extract::Caller;
use super::problem::{Kind, Problem};
use super::v1;
use super::visitor::Visitor;
use crate::chat::Once;
use crate::store::KeyScope;

pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Bytes of an idempotency key.
pub(super) const MAX_KEY_BYTES: usize = 255;

/// A body as JSON or as a form, by its content type. No body at all is an empty one.
#[derive(Clone, Copy, Debug)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<AppState> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Problem> {
        let content_type = content_type(request.headers());
        let body = read_body(request, state).await?;
        decode(content_type.as_deref(), &body).map(Self)
    }
}

/// The body of a POST, and the key under which it has its effect once, if it came with one.
#[derive(Clone, Debug)]
pub struct Posted<T> {
    pub body: T,
    pub once: Option<Once>,
}

impl<T: DeserializeOwned> FromRequest<AppState> for Posted<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Problem> {
        let uploaded = Uploaded::from_request(request, state).await?;
        let body = decode(uploaded.content_type.as_deref(), &uploaded.body)?;
        let once = uploaded.once;
        Ok(Self { body, once })
    }
}

/// The same, as it came.
#[derive(Clone, Debug)]
pub struct Uploaded {
    pub content_type: Option<String>,
    pub body: Bytes,
    pub once: Option<Once>,
}

impl FromRequest<AppState> for Uploaded {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let Caller(owner) = Caller::from_request_parts(&mut parts, state).await?;
        let mut key = idempotency_key(&parts.headers)?;
        let route = format!("{} {}", parts.method, parts.uri.path());
        let content_type = content_type(&parts.headers);
        let is_program = v1::is_here(parts.uri.path());
        let body = read_body(Request::from_parts(parts, body), state).await?;
        if is_program && key.is_none() {
            key = v1::key_in(&body)?.map(checked_key).transpose()?;
        }
        let once = key.map(|key| Once {
            scope: KeyScope { owner, route, key },
            body_hash: format!("{:x}", HexDigest(&Sha256::digest(&body))),
        });
        Ok(Self {
            content_type,
            body,
            once,
        })
    }
}

/// JSON whose mistakes are named by their paths. `name`: what the whole is called.
pub(super) fn at_path<T: DeserializeOwned>(name: &str, body: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { String::new() } else { path };
        let error = error.into_inner();
        if !error.is_data() {
            return Problem::new(Kind::MalformedRequest, error.to_string());
        }
        let path = match (name, path.as_str()) {
            ("", "") => return Problem::new(Kind::InvalidField, error.to_string()),
            (name, path) => format!("{name}{path}"),
        };
        let detail = format!("`{path}`: {error}");
        Problem::new(Kind::InvalidField, detail).of_param(path, "invalid_type")
    })?;
    json.end()
        .map_err(|error| Problem::new(Kind::MalformedRequest, error.to_string()))?;
    Ok(read)
}

/// The bytes of a digest, to be written as hexadecimal.
struct HexDigest<'a>(&'a [u8]);

impl std::fmt::LowerHex for HexDigest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let key = value.to_str().unwrap_or_default();
    checked_key(key.to_owned()).map(Some)
}

fn checked_key(key: String) -> Result<String, Problem> {
    let is_one =
        (1..=MAX_KEY_BYTES).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    if is_one {
        Ok(key)
    } else {
        Err(Problem::bare(Kind::MalformedKey))
    }
}

pub(super) fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?;
    Some(value.to_str().unwrap_or_default().to_owned())
}

async fn read_body(mut request: Request, state: &AppState) -> Result<Bytes, Problem> {
    let limits = state.controls.limits();
    let route = cost::route_of(request.extensions());
    let most = cost::body_bytes(
        request.method(),
        route,
        (limits.body_bytes, limits.import_bytes),
    );
    DefaultBodyLimit::max(most).apply(&mut request);
    let identified = Visitor::identified(request.extensions()).cloned();
    let (headers, uri) = (request.headers().clone(), request.uri().clone());
    let waiting = state.load.wait();
    let body = tokio::time::timeout(limits.body_timeout, Bytes::from_request(request, state)).await;
    drop(waiting);
    if let Some(identified) = identified {
        identified.still(&headers, &uri).await?;
    }
    body.map_err(|_| Problem::bare(Kind::BodyTooSlow))?
        .map_err(|error| match error {
            BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
                Problem::new(
                    Kind::BodyTooLarge,
                    format!("at most {most} bytes are taken here"),
                )
            }
            error => Problem::new(Kind::MalformedRequest, error.body_text()),
        })
}

pub(super) fn decode<T: DeserializeOwned>(
    content_type: Option<&str>,
    body: &[u8],
) -> Result<T, Problem> {
    let malformed =
        |error: &dyn std::fmt::Display| Problem::new(Kind::MalformedRequest, error.to_string());
    let essence = content_type.map(str::parse::<mime::Mime>);
    match essence {
        None if body.is_empty() => serde_json::from_str("{}").map_err(|e| malformed(&e)),
        Some(Ok(kind)) if kind.essence_str() == "application/json" => {
            let body = if body.is_empty() { b"{}" } else { body };
            serde_json::from_slice(body).map_err(|error| {
                // Well-formed JSON whose fields are wrong is a matter of the fields.
                if error.is_data() {
                    Problem::new(Kind::InvalidField, error.to_string())
                } else {
                    malformed(&error)
                }
            })
        }
        Some(Ok(kind)) if kind.essence_str() == "application/x-www-form-urlencoded" => {
            // The form's own decoder would put U+FFFD for what is not UTF-8.
            percent_decode(body)
                .decode_utf8()
                .map_err(|error| malformed(&error))?;
            serde_urlencoded::from_bytes(body)
                .map_err(|error| Problem::new(Kind::InvalidField, error.to_string()))
        }
        None | Some(_) => Err(Problem::bare(Kind::UnsupportedMediaType)),
    }
}

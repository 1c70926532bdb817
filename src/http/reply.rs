//! Answers: complete, never stored by a cache, as JSON or as HTML.

use askama::Template;
use axum::BoxError;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use serde::Serialize;
use tokio_util::io::ReaderStream;

use super::problem::Problem;
use super::tag::POLL_AFTER_MS;

/// Where HTMX takes the browser's address bar.
pub const HX_PUSH_URL: HeaderName = HeaderName::from_static("hx-push-url");
/// Where HTMX puts an answer, and how, whatever the element said that asked.
pub const HX_RETARGET: HeaderName = HeaderName::from_static("hx-retarget");
pub const HX_RESWAP: HeaderName = HeaderName::from_static("hx-reswap");
/// An event that HTMX triggers on the page.
pub const HX_TRIGGER: HeaderName = HeaderName::from_static("hx-trigger");

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// <https://json-schema.org/draft/2020-12/json-schema-core#section-14>
const SCHEMA: HeaderValue = HeaderValue::from_static("application/schema+json");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// <https://prometheus.io/docs/instrumenting/exposition_formats/>
const PROMETHEUS: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// Headers of an answer, those included that are added on its way out.
const HEADERS: usize = 12;

/// A value as JSON.
pub fn json(status: StatusCode, value: &impl Serialize) -> Result<Response, Problem> {
    let body = serde_json::to_vec(value).map_err(|error| Problem::internal(&error))?;
    Ok(whole(status, JSON, body))
}

/// JSON that has been written already.
pub fn json_bytes(status: StatusCode, body: Vec<u8>) -> Response {
    whole(status, JSON, body)
}

/// The client has it already. `hint`: milliseconds until the next poll is worth while.
pub fn not_modified(hint: Option<u64>) -> Response {
    let mut headers = HeaderMap::with_capacity(HEADERS);
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    if let Some(hint) = hint {
        headers.insert(POLL_AFTER_MS, HeaderValue::from(hint));
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    *response.headers_mut() = headers;
    response
}

/// A JSON schema.
pub fn schema(value: &serde_json::Value) -> Result<Response, Problem> {
    let body = serde_json::to_vec(value).map_err(|error| Problem::internal(&error))?;
    Ok(whole(StatusCode::OK, SCHEMA, body))
}

/// An answer that is all there, with room for the headers that every answer has.
fn whole(status: StatusCode, media_type: HeaderValue, body: impl Into<Body>) -> Response {
    let mut headers = HeaderMap::with_capacity(HEADERS);
    headers.insert(header::CONTENT_TYPE, media_type);
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// A template as HTML. Rendering may have Markdown to do, so it leaves this thread.
pub async fn html<T>(status: StatusCode, template: T) -> Result<Response, Problem>
where
    T: Template + Send + 'static,
{
    html_of(status, move || template.render()).await
}

/// HTML that takes some work to make, which is done on another thread.
pub async fn html_of(
    status: StatusCode,
    render: impl FnOnce() -> Result<String, askama::Error> + Send + 'static,
) -> Result<Response, Problem> {
    let body = rendered(render).await?;
    Ok(whole(status, HTML, body))
}

/// The text itself of what takes some work to make.
pub async fn rendered(
    render: impl FnOnce() -> Result<String, askama::Error> + Send + 'static,
) -> Result<String, Problem> {
    tokio::task::spawn_blocking(render)
        .await
        .map_err(|error| Problem::internal(&error))?
        .map_err(|error| Problem::internal(&error))
}

/// A small template as HTML, rendered right here.
pub fn html_now(status: StatusCode, template: &impl Template) -> Result<Response, Problem> {
    html_text(status, template.render())
}

fn html_text(
    status: StatusCode,
    rendered: Result<String, askama::Error>,
) -> Result<Response, Problem> {
    let body = rendered.map_err(|error| Problem::internal(&error))?;
    Ok(whole(status, HTML, body))
}

/// A file to be kept.
pub fn file(name: &str, media_type: &'static str, body: Vec<u8>) -> Result<Response, Problem> {
    let disposition = HeaderValue::from_str(&format!("attachment; filename=\"{name}\""))
        .map_err(|error| Problem::internal(&error))?;
    Ok((
        [
            (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
            (header::CONTENT_DISPOSITION, disposition),
            (header::CACHE_CONTROL, NO_STORE),
        ],
        body,
    )
        .into_response())
}

/// A file on disk to be kept, sent piece by piece and with its whole length told (P8).
pub fn big_file(
    name: &str,
    media_type: &'static str,
    file: std::fs::File,
    bytes: u64,
) -> Result<Response, Problem> {
    let pieces = ReaderStream::new(tokio::fs::File::from_std(file));
    streamed_file(name, media_type, pieces, bytes)
}

/// The same, of which the pieces come from elsewhere.
pub fn streamed_file<P, E>(
    name: &str,
    media_type: &'static str,
    pieces: impl Stream<Item = Result<P, E>> + Send + 'static,
    bytes: u64,
) -> Result<Response, Problem>
where
    P: Into<Bytes> + Send + 'static,
    E: Into<BoxError> + 'static,
{
    let disposition = HeaderValue::from_str(&format!("attachment; filename=\"{name}\""))
        .map_err(|error| Problem::internal(&error))?;
    Ok((
        [
            (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
            (header::CONTENT_DISPOSITION, disposition),
            (header::CONTENT_LENGTH, HeaderValue::from(bytes)),
            (header::CACHE_CONTROL, NO_STORE),
        ],
        Body::from_stream(pieces),
    )
        .into_response())
}

/// Metrics in Prometheus' text format.
pub fn metrics(body: String) -> Response {
    (
        [
            (header::CONTENT_TYPE, PROMETHEUS),
            (header::CACHE_CONTROL, NO_STORE),
        ],
        body,
    )
        .into_response()
}

/// Done, and an empty piece of HTML to take the place of what was there.
pub fn empty() -> Response {
    (
        StatusCode::OK,
        [
            (header::CONTENT_TYPE, HTML),
            (header::CACHE_CONTROL, NO_STORE),
        ],
    )
        .into_response()
}

/// Done, and nothing to say; to a poll in HTML: nothing new.
pub fn no_content() -> Response {
    (StatusCode::NO_CONTENT, [(header::CACHE_CONTROL, NO_STORE)]).into_response()
}

/// Has the browser forget what the page kept there: messages that were not sent are nobody else's business.
pub fn clear_browser(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(
        HeaderName::from_static("clear-site-data"),
        HeaderValue::from_static("\"storage\""),
    );
}

/// Go and look there: what a form that was posted without script gets.
pub fn see_other(path: &str) -> Result<Response, Problem> {
    let location = HeaderValue::from_str(path).map_err(|error| Problem::internal(&error))?;
    Ok((
        StatusCode::SEE_OTHER,
        [
            (header::LOCATION, location),
            (header::CACHE_CONTROL, NO_STORE),
        ],
    )
        .into_response())
}

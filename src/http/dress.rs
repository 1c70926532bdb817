//! The outermost layer: gives each request its id and its span, writes out problems, sets the
//! headers that every answer has.

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument;
use uuid::Uuid;

use super::extract::{Form, frame_of};
use super::identify::SignInAt;
use super::link;
use super::peer::ClientAddress;
use super::problem::Problem;
use super::rate::{RATE_LIMIT, RATE_LIMIT_POLICY};
use super::reply;
use super::view::frame::Frame;
use super::view::problem::{ProblemFragment, ProblemPage};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A client's own request id is taken if it is a short, visible word.
const MAX_REQUEST_ID_CHARS: usize = 128;

/// Nothing inline, nothing from elsewhere, and nobody frames it.
const CONTENT_SECURITY_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
/// A page that shows texts needs none of a browser's powers but the clipboard of its own copy buttons.
const NO_PERMISSIONS: HeaderValue = HeaderValue::from_static(
    "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), \
     microphone=(), midi=(), payment=(), usb=(), clipboard-write=(self)",
);
const CROSS_ORIGIN_OPENER_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-opener-policy");
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");
const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("same-origin");
/// RFC 6797.
const A_YEAR_OF_HTTPS: HeaderValue = HeaderValue::from_static("max-age=31536000");
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

pub(super) async fn dress(request: Request, next: Next) -> Response {
    let id = request_id(&request);
    let form = Form::of(request.headers());
    let frame = frame_of(request.headers());
    let client = request.extensions().get::<ClientAddress>();
    let is_https = client.is_some_and(|client| client.is_https);
    let method = request.method().clone();
    let path = link::masked(request.uri().path());
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("", |matched| matched.as_str())
        .to_owned();
    let span = tracing::info_span!("http", %method, route, request_id = id);
    async move {
        let response = next.run(request).await;
        let mut response = match response.extensions().get::<Problem>().cloned() {
            Some(problem) => write_out(&problem, &response, (form, frame), &path, &id),
            None => response,
        };
        let status = response.status();
        // Polls come several times a second from each client: they are news to nobody.
        if method.is_safe() && !status.is_server_error() {
            tracing::debug!(status = status.as_u16(), path, "answered");
        } else {
            tracing::info!(%method, status = status.as_u16(), path, request_id = id, "answered");
        }
        let headers = response.headers_mut();
        if is_html(headers) {
            headers.insert(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
            headers.insert(header::REFERRER_POLICY, SAME_ORIGIN);
            headers.insert(PERMISSIONS_POLICY, NO_PERMISSIONS);
            headers.insert(CROSS_ORIGIN_OPENER_POLICY, SAME_ORIGIN);
            headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        }
        if link::is_link(&path) {
            link::keep_to_itself(headers);
        }
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        headers.insert(
            header::VARY,
            HeaderValue::from_static("Accept, Accept-Encoding, HX-Request"),
        );
        headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, SAME_ORIGIN);
        if is_https {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, A_YEAR_OF_HTTPS);
        }
        if let Ok(id) = HeaderValue::from_str(&id) {
            headers.insert(X_REQUEST_ID, id);
        }
        response
    }
    .instrument(span)
    .await
}

fn is_html(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}

pub(super) fn request_id(request: &Request) -> String {
    request
        .headers()
        .get(X_REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|text| (1..=MAX_REQUEST_ID_CHARS).contains(&text.len()))
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic()))
        .map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

/// The problem in the form that the client wants, with the headers that came with it.
fn write_out(
    problem: &Problem,
    bare: &Response,
    (form, frame): (Form, Frame),
    path: &str,
    id: &str,
) -> Response {
    let status = problem.kind.status();
    let body = problem.body(path, id);
    let written = match form {
        Form::Json => reply::json(status, &body).map(|mut response| {
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, PROBLEM_JSON);
            response
        }),
        Form::Fragment => {
            let mut fragment = ProblemFragment::new(problem, &body);
            let sign_in = bare.extensions().get::<SignInAt>();
            fragment.sign_in = sign_in.map(|SignInAt(url)| url.as_str());
            reply::html_now(status, &fragment)
        }
        Form::Page => reply::html_now(status, &ProblemPage::new(problem, &body, frame)),
    };
    let mut written = written.unwrap_or_else(|_| {
        (
            StatusCode::INTERNAL_SERVER_ERROR,
            [(header::CACHE_CONTROL, NO_STORE)],
        )
            .into_response()
    });
    for name in [
        header::RETRY_AFTER,
        header::ALLOW,
        header::WWW_AUTHENTICATE,
        header::SET_COOKIE,
        RATE_LIMIT,
        RATE_LIMIT_POLICY,
    ] {
        if let Some(value) = bare.headers().get(&name) {
            written.headers_mut().insert(name, value.clone());
        }
    }
    written
}

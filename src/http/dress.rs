//! Gives each request its id and its span, writes out problems, sets the headers that every answer has.

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use tracing::Span;
use uuid::Uuid;

use super::cost;
use super::extract::{Form, frame_of};
use super::identify::SignInAt;
use super::link;
use super::peer::ClientAddress;
use super::problem::Problem;
use super::rate::{RATE_LIMIT, RATE_LIMIT_POLICY};
use super::reply;
use super::v1;
use super::view::frame::Frame;
use super::view::problem::{ProblemFragment, ProblemPage};
use crate::trace::{self, Tracer};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A client's own request id is taken if it is a short, visible word.
const MAX_REQUEST_ID_CHARS: usize = 128;
/// Headers that are added to every answer, for which room is made at once.
const USUAL_HEADERS: usize = 8;

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
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const VARIES: HeaderValue = HeaderValue::from_static("Accept, Accept-Encoding, HX-Request");
/// RFC 6797.
const A_YEAR_OF_HTTPS: HeaderValue = HeaderValue::from_static("max-age=31536000");
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// What is needed of a request to dress its answer.
pub(super) struct Dress {
    id: RequestId,
    form: Form,
    /// How the page looks that a problem may be written on.
    frame: Option<Frame>,
    method: Method,
    uri: Uri,
    /// Empty where there is none.
    route: Option<MatchedPath>,
    is_https: bool,
}

impl Dress {
    pub fn of(request: &Request, (client, form): (ClientAddress, Form)) -> Self {
        let headers = request.headers();
        Self {
            id: request_id(headers),
            form,
            frame: (form == Form::Page).then(|| frame_of(headers)),
            method: request.method().clone(),
            uri: request.uri().clone(),
            route: request.extensions().get().cloned(),
            is_https: client.is_https,
        }
    }

    /// The method and the route; that is empty where there is none.
    pub fn asked(&self) -> (&Method, &str) {
        (&self.method, self.route())
    }

    fn route(&self) -> &str {
        self.route.as_ref().map_or("", MatchedPath::as_str)
    }

    /// What the log says beside whatever happens meanwhile. Polls come several times a second from each client, and
    /// have theirs only where the log is to say everything: what fails in one is told with its id by
    /// [`Dress::put_on`].
    pub fn span(&self) -> Span {
        let (method, route, request_id) = (&self.method, self.route(), self.id.as_str());
        if cost::is_poll(route) {
            tracing::debug_span!("http", %method, route, request_id)
        } else {
            tracing::info_span!("http", %method, route, request_id)
        }
    }

    /// What is traced of it, in the trace that its client has begun, if it has. Polls are not: there are too many.
    pub fn traced(&self, tracer: &Tracer, request: &Request) -> trace::Span {
        let route = self.route();
        if !tracer.is_on() || !cost::is_traced(route) {
            return trace::Span::default();
        }
        let parent = request.headers().get(trace::TRACEPARENT);
        let parent = parent.and_then(|parent| parent.to_str().ok());
        let span = tracer.request(format!("{} {route}", self.method), parent);
        span.set("http.request.method", self.method.as_str().to_owned());
        span.set("http.route", route.to_owned());
        span.set("pollen.http_request_id", self.id.as_str().to_owned());
        span
    }

    /// Writes out the problem that a response carries, and sets the headers that every answer has.
    pub fn put_on(&self, response: Response) -> Response {
        let problem = response.extensions().get::<Problem>();
        let written = problem.map(|problem| self.write_out(problem, &response));
        let cause = problem.and_then(|problem| problem.cause.clone());
        let mut response = written.unwrap_or(response);
        self.log(response.status(), cause.as_deref());
        let headers = response.headers_mut();
        headers.reserve(USUAL_HEADERS);
        dress(headers, &self.id, self.is_https);
        if link::is_link(self.uri.path()) {
            link::keep_to_itself(headers);
        }
        response
    }

    /// Polls come several times a second from each client: they are news to nobody, unless they fail.
    fn log(&self, status: StatusCode, cause: Option<&str>) {
        let is_read = cost::only_reads(&self.method, self.route());
        let is_news = !is_read || status.is_server_error();
        if !is_news && !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let (path, status) = (link::masked(self.uri.path()), status.as_u16());
        let (method, request_id) = (&self.method, self.id.as_str());
        if let Some(error) = cause {
            tracing::error!(%method, status, path, request_id, error, "answered");
        } else if is_news {
            tracing::info!(%method, status, path, request_id, "answered");
        } else {
            tracing::debug!(status, path, "answered");
        }
    }

    /// The problem in the form that the client wants, with the headers that came with it.
    fn write_out(&self, problem: &Problem, bare: &Response) -> Response {
        let status = problem.kind.status();
        let path = link::masked(self.uri.path());
        let body = problem.body(&path, self.id.as_str());
        let is_api = v1::is_here(self.uri.path());
        let written = match self.form {
            _ if is_api => v1::write_out(problem, &path, self.id.as_str()),
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
            Form::Page => {
                let frame = self.frame.unwrap_or_default();
                reply::html_now(status, &ProblemPage::new(problem, &body, frame))
            }
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
        if is_api {
            v1::tell_when(written.headers_mut());
        }
        written
    }
}

/// The headers that every answer has, whatever it is.
pub(super) fn dress(headers: &mut HeaderMap, id: &RequestId, is_https: bool) {
    if is_html(headers) {
        headers.insert(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
        headers.insert(header::REFERRER_POLICY, SAME_ORIGIN);
        headers.insert(PERMISSIONS_POLICY, NO_PERMISSIONS);
        headers.insert(CROSS_ORIGIN_OPENER_POLICY, SAME_ORIGIN);
        headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    headers.insert(header::VARY, VARIES);
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, SAME_ORIGIN);
    if is_https {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, A_YEAR_OF_HTTPS);
    }
    headers.insert(X_REQUEST_ID, id.0.clone());
}

/// A short, visible word, of the client's or our own.
pub(super) struct RequestId(HeaderValue);

impl RequestId {
    pub fn as_str(&self) -> &str {
        // What made it checked it.
        self.0.to_str().unwrap_or_default()
    }
}

pub(super) fn request_id(headers: &HeaderMap) -> RequestId {
    let said = headers.get(X_REQUEST_ID).filter(|value| {
        (1..=MAX_REQUEST_ID_CHARS).contains(&value.len())
            && value.as_bytes().iter().all(u8::is_ascii_graphic)
    });
    RequestId(said.cloned().unwrap_or_else(|| {
        let mut text = Uuid::encode_buffer();
        let text = Uuid::now_v7().hyphenated().encode_lower(&mut text);
        HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("-"))
    }))
}

fn is_html(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}

//! The server of a front end: it has files of its own, and passes on to Pollen what the document says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::support::{TestApp, http_client};

/// What the document says that the pages work under.
const POLICY: &str =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'";
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// The server. It ends with this value.
pub struct FrontEnd {
    pub base: String,
    inner: Arc<Inner>,
    task: JoinHandle<()>,
}

struct Inner {
    files: BTreeMap<&'static str, String>,
    pollen: String,
    client: reqwest::Client,
    /// The paths that were passed on, in order.
    passed: Mutex<Vec<String>>,
}

impl FrontEnd {
    /// `files`: by path.
    pub async fn start(app: &TestApp, files: BTreeMap<&'static str, String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let inner = Arc::new(Inner {
            files,
            pollen: app.base.clone(),
            client: http_client(),
            passed: Mutex::default(),
        });
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&inner));
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self { base, inner, task }
    }

    /// How many requests were passed on of which the path has this in it.
    pub fn passed(&self, part: &str) -> usize {
        let passed = self.inner.passed.lock().unwrap();
        passed.iter().filter(|path| path.contains(part)).count()
    }
}

impl Drop for FrontEnd {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let path = request.uri().path();
    if let Some(text) = inner.files.get(path) {
        let kind = match path.rsplit('.').next() {
            Some("js") => "text/javascript",
            Some("css") => "text/css",
            _ => "text/html; charset=utf-8",
        };
        let headers = [
            (header::CONTENT_TYPE, kind),
            (header::CONTENT_SECURITY_POLICY, POLICY),
        ];
        return (headers, text.clone()).into_response();
    }
    if path.starts_with("/chat/") || path == "/assets/icons.svg" {
        return pass_on(&inner, request).await;
    }
    // Browsers ask for it by themselves, and complain.
    if path == "/favicon.ico" {
        return StatusCode::NO_CONTENT.into_response();
    }
    StatusCode::NOT_FOUND.into_response()
}

async fn pass_on(inner: &Inner, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.to_string();
    inner.passed.lock().unwrap().push(path.clone());
    let body = to_bytes(body, MAX_BODY_BYTES).await.unwrap();
    let mut headers = parts.headers;
    for name in [
        header::HOST,
        header::CONTENT_LENGTH,
        header::ACCEPT_ENCODING,
    ] {
        headers.remove(name);
    }
    let passed = inner
        .client
        .request(parts.method, format!("{}{path}", inner.pollen))
        .headers(headers)
        .body(body)
        .send()
        .await;
    let Ok(answer) = passed else {
        return (StatusCode::BAD_GATEWAY, "Pollen is away").into_response();
    };
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        response = response.header(name, value);
    }
    match answer.bytes().await {
        Ok(body) => response.body(Body::from(body)).unwrap(),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

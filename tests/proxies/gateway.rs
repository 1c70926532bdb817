//! A gateway that nobody would wish for. It knows no header younger than 2000 or so and takes all others away, in both
//! directions; cuts every connection after two seconds, whatever goes over it; does not give one answer in twenty, though
//! the server has given it; asks some questions twice; holds some answers back until others have overtaken them.
//!
//! What it does to the n-th request is the same in every run. Streams are only cut: that is enough.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, HeaderName, Method, Request, Response, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::intermediary::Way;
use crate::support::http_client;

/// The life of a connection.
const LIFE: Duration = Duration::from_secs(2);
/// How long an answer waits to be overtaken.
const HELD: Duration = Duration::from_millis(900);
const DELAY: Duration = Duration::from_millis(500);
/// Of so many requests one is dropped: 5 %.
const ROUND: usize = 20;
const DROPPED: [usize; 1] = [7];
const DELAYED: [usize; 3] = [3, 10, 16];
const TWICE: [usize; 4] = [2, 8, 13, 18];
const OVERTAKEN: [usize; 4] = [1, 5, 12, 17];
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// What it lets through. Of what clients say: not `HX-Request`, `Idempotency-Key`, `Sec-Fetch-Site`, `X-Request-Id`; of what
/// servers say: not `HX-Push-Url`, `HX-Trigger`, `RateLimit`.
const KNOWN: [HeaderName; 20] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::DATE,
    header::HOST,
    header::IF_MODIFIED_SINCE,
    header::LAST_MODIFIED,
    header::LOCATION,
    header::ORIGIN,
    header::REFERER,
    header::RETRY_AFTER,
    header::SET_COOKIE,
    header::USER_AGENT,
    header::VARY,
];

/// The gateway. It ends with this value.
pub struct Gateway {
    pub way: Way,
    inner: Arc<Inner>,
    task: JoinHandle<()>,
}

struct Inner {
    pollen: u16,
    streams: u16,
    client: reqwest::Client,
    requests: AtomicUsize,
    deeds: Deeds,
    /// An answer goes out.
    answered: Notify,
}

/// How often it did what.
#[derive(Debug, Default)]
pub struct Deeds {
    pub cut: AtomicUsize,
    pub dropped: AtomicUsize,
    pub delayed: AtomicUsize,
    pub asked_twice: AtomicUsize,
    pub overtaken: AtomicUsize,
}

impl Gateway {
    pub async fn start(pollen: u16, streams: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let way = Way::through(listener.local_addr().unwrap().port());
        let inner = Arc::new(Inner {
            pollen,
            streams,
            client: http_client(),
            requests: AtomicUsize::default(),
            deeds: Deeds::default(),
            answered: Notify::new(),
        });
        let shared = Arc::clone(&inner);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(Arc::clone(&shared), stream));
            }
        });
        Self { way, inner, task }
    }

    pub fn deeds(&self) -> &Deeds {
        &self.inner.deeds
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(inner: Arc<Inner>, stream: TcpStream) {
    let answer = service_fn(|request| {
        let inner = Arc::clone(&inner);
        async move { inner.answer(request).await }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
    if tokio::time::timeout(LIFE, connection).await.is_err() {
        inner.deeds.cut.fetch_add(1, Ordering::Relaxed);
    }
}

impl Inner {
    async fn answer(&self, request: Request<Incoming>) -> io::Result<Response<Body>> {
        let (parts, body) = request.into_parts();
        let body = to_bytes(Body::new(body), MAX_BODY_BYTES).await;
        let body = body.map_err(io::Error::other)?;
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let is_stream = path == "/sse";
        let port = if is_stream { self.streams } else { self.pollen };
        let headers = known(&parts.headers);
        let ask = async || {
            let url = format!("http://127.0.0.1:{port}{path}");
            let request = self.client.request(parts.method.clone(), url);
            let request = request.headers(headers.clone()).body(body.clone());
            request.send().await.map_err(io::Error::other)
        };
        if is_stream {
            let answer = ask().await?;
            let mut response = Response::new(());
            *response.status_mut() = answer.status();
            *response.headers_mut() = known(answer.headers());
            return Ok(response.map(|()| Body::from_stream(answer.bytes_stream())));
        }
        let place = self.requests.fetch_add(1, Ordering::Relaxed) % ROUND;
        let deeds = &self.deeds;
        let is_one_of = |places: &[usize], count: &AtomicUsize| {
            let is_one = places.contains(&place);
            count.fetch_add(usize::from(is_one), Ordering::Relaxed);
            is_one
        };
        if parts.method == Method::GET && is_one_of(&TWICE, &deeds.asked_twice) {
            ask().await?.bytes().await.map_err(io::Error::other)?;
        }
        let answer = ask().await?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = answer.status();
        *response.headers_mut() = known(answer.headers());
        let length = answer.headers().get(header::CONTENT_LENGTH).cloned();
        *response.body_mut() = answer.bytes().await.map_err(io::Error::other)?.into();
        if let Some(length) = length.filter(|_| parts.method == Method::HEAD) {
            response
                .headers_mut()
                .insert(header::CONTENT_LENGTH, length);
        }
        if is_one_of(&DROPPED, &deeds.dropped) {
            return Err(io::Error::other("dropped"));
        }
        if is_one_of(&DELAYED, &deeds.delayed) {
            tokio::time::sleep(DELAY).await;
        }
        if OVERTAKEN.contains(&place) {
            let overtaken = tokio::time::timeout(HELD, self.answered.notified()).await;
            let count = usize::from(overtaken.is_ok());
            deeds.overtaken.fetch_add(count, Ordering::Relaxed);
            // After the other one.
            tokio::task::yield_now().await;
        } else {
            self.answered.notify_waiters();
        }
        Ok(response)
    }
}

fn known(headers: &HeaderMap) -> HeaderMap {
    let all = headers.iter();
    all.filter(|(name, _)| KNOWN.contains(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

//! One connection from its beginning to its end, and the limits on its client's patience with us: whoever sends the
//! headers of a request too slowly, asks for nothing, or does not read what was answered is let go of.
//!
//! Hyper could limit the headers of HTTP/1 alone, with a timer for each request, and not who reads slowly.

use std::fmt::Display;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, Version, header};
use futures::StreamExt as _;
use futures::future::Either;
use futures::stream::FuturesUnordered;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulConnection;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Site;
use super::peer::Front;
use super::visitor::Visitor;

/// Looks at a connection within the time that it has for headers. So much later is noticed what is too late.
const LOOKS: u32 = 4;
/// What a client has to read of what is left for it, in bytes a second, once it has asked for nothing for a while.
const MIN_READ_RATE: u64 = 1_024;

/// How long a connection may do nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// From the first byte of a request to the end of its headers.
    pub headers: Duration,
    /// Without a request.
    pub idle: Duration,
}

/// When connections are to end.
#[derive(Clone, Default)]
pub(super) struct Ending {
    /// With the answers that are being given.
    pub soft: CancellationToken,
    /// At once.
    pub hard: CancellationToken,
}

/// Serves it until it ends, or is ended.
pub(super) async fn run(
    builders: &Builders,
    (stream, peer): (TcpStream, IpAddr),
    front: Arc<Front>,
    site: Site,
    patience: Patience,
    ending: Ending,
) {
    let pulse = Arc::new(Pulse::new());
    let greeted = tokio::select! {
        biased;
        () = ending.soft.cancelled() => return,
        greeted = tokio::time::timeout(patience.headers, greeting(&stream)) => greeted,
    };
    let Ok(Ok(greeting)) = greeted else {
        tracing::debug!("a client said nothing");
        return;
    };
    let stream = Watched {
        stream,
        pulse: Arc::clone(&pulse),
    };
    let service = counted(site, (peer, front), Arc::clone(&pulse));
    let stream = TokioIo::new(stream);
    match greeting {
        Greeting::Http1 => {
            let connection = builders.http1.serve_connection(stream, service);
            drive(connection, &pulse, patience, ending).await;
        }
        // Few are, and it takes more room.
        Greeting::Unclear => {
            let connection = builders.any.serve_connection(stream, service);
            Box::pin(drive(connection, &pulse, patience, ending)).await;
        }
    }
}

/// What serves a connection that speaks HTTP/1 for sure, and one that may speak either version.
pub(super) struct Builders {
    pub http1: http1::Builder,
    pub any: Builder<TokioExecutor>,
}

/// The first bytes of a connection.
enum Greeting {
    Http1,
    /// The preface of HTTP/2, or so much as there is of it.
    Unclear,
}

/// <https://www.rfc-editor.org/rfc/rfc9113#section-3.4>
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Looks at what comes first, and leaves it there.
async fn greeting(stream: &TcpStream) -> io::Result<Greeting> {
    let mut first = [0; HTTP2_PREFACE.len()];
    let bytes = stream.peek(&mut first).await?;
    Ok(if HTTP2_PREFACE.starts_with(&first[..bytes]) {
        Greeting::Unclear
    } else {
        Greeting::Http1
    })
}

async fn drive<C>(connection: C, pulse: &Pulse, patience: Patience, ending: Ending)
where
    C: GracefulConnection<Error: Display>,
{
    let mut connection = pin!(connection);
    let mut is_ending = false;
    let mut watch = Watch::new(patience);
    // Each is looked at only when it has something to tell, and not whenever a request comes.
    let look = || after(tokio::time::sleep(patience.headers / LOOKS), Event::Look);
    let mut events = FuturesUnordered::from_iter([
        after(ending.hard.cancelled_owned(), Event::EndNow),
        after(ending.soft.cancelled_owned(), Event::End),
        look(),
    ]);
    loop {
        let event = tokio::select! {
            biased;
            ended = connection.as_mut() => {
                // A client that goes away, or is too slow, is nothing to report.
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended");
                }
                return;
            }
            Some(event) = events.next() => event,
        };
        let found = match event {
            Event::EndNow => return,
            Event::End => Found::Idle,
            Event::Look => {
                events.push(look());
                watch.look(pulse)
            }
        };
        match found {
            Found::Idle if !is_ending => {
                is_ending = true;
                connection.as_mut().graceful_shutdown();
            }
            Found::Alive | Found::Idle => {}
            Found::TooSlow => {
                tracing::debug!("a client was too slow");
                return;
            }
        }
    }
}

/// What a connection has to be told of.
enum Event {
    EndNow,
    /// With the answers that are being given.
    End,
    Look,
}

fn after(
    wait: impl Future<Output = ()> + Send + 'static,
    event: Event,
) -> Pin<Box<dyn Future<Output = Event> + Send>> {
    Box::pin(async move {
        wait.await;
        event
    })
}

/// The site, told where requests come from.
fn counted(
    site: Site,
    (peer, front): (IpAddr, Arc<Front>),
    pulse: Arc<Pulse>,
) -> impl Service<
    Request<Incoming>,
    Response = Response<Body>,
    Error = std::convert::Infallible,
    Future: Send + 'static,
> + Clone
+ Send
+ 'static {
    let Site {
        quick,
        router,
        controls,
    } = site;
    let router = TowerToHyperService::new(router);
    service_fn(move |mut request: Request<Incoming>| {
        let is_http2 = request.version() == Version::HTTP_2;
        pulse.is_http2.store(is_http2, Ordering::Relaxed);
        // If it told its length in another way besides, hyper has kept it from us: whoever is in front may take
        // something else for the next request than we do (RFC 9112, 6.1).
        let is_last = request.headers().contains_key(header::TRANSFER_ENCODING)
            || (controls.is_leaving() && !is_http2);
        let asked = Asked::new(&pulse);
        let client = front.client(peer, request.headers());
        let answer = if let Some(answer) = quick
            .as_ref()
            .and_then(|quick| quick.answer(&request, client))
        {
            Either::Left(std::future::ready(Ok(answer)))
        } else {
            let visitor = Visitor::new(client, request.headers());
            request.extensions_mut().insert(visitor);
            Either::Right(router.call(request))
        };
        async move {
            let _asked = asked;
            let mut answer = answer.await?;
            if is_last {
                let headers = answer.headers_mut();
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(answer)
        }
    })
}

/// What has happened on a connection. Times are milliseconds after its beginning.
struct Pulse {
    begun: Instant,
    /// Requests that are being answered.
    asked: AtomicUsize,
    /// When the last one of them was.
    answered_at: AtomicU64,
    /// When the first byte came after that.
    first_byte_at: AtomicU64,
    written: AtomicU64,
    is_http2: AtomicBool,
}

/// No time at all.
const NEVER: u64 = u64::MAX;

impl Pulse {
    /// A new connection is to bring a request as if its first byte had come.
    fn new() -> Self {
        Self {
            begun: Instant::now(),
            asked: AtomicUsize::new(0),
            answered_at: AtomicU64::new(0),
            first_byte_at: AtomicU64::new(0),
            written: AtomicU64::new(0),
            is_http2: AtomicBool::new(false),
        }
    }

    fn now(&self) -> u64 {
        millis(self.begun.elapsed())
    }

    /// What comes between the requests of HTTP/2 need not be the beginning of one: there only the whole time without
    /// one counts.
    fn note_read(&self) {
        let is_between = self.asked.load(Ordering::Relaxed) == 0
            && self.first_byte_at.load(Ordering::Relaxed) == NEVER;
        if is_between && !self.is_http2.load(Ordering::Relaxed) {
            self.first_byte_at.store(self.now(), Ordering::Relaxed);
        }
    }
}

/// A request that is being answered.
struct Asked(Arc<Pulse>);

impl Asked {
    fn new(pulse: &Arc<Pulse>) -> Self {
        pulse.asked.fetch_add(1, Ordering::Relaxed);
        pulse.first_byte_at.store(NEVER, Ordering::Relaxed);
        Self(Arc::clone(pulse))
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.answered_at.store(self.0.now(), Ordering::Relaxed);
        self.0.asked.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Alive,
    /// Nothing is asked for.
    Idle,
    /// Something is expected of the client that does not come.
    TooSlow,
}

/// What was seen at the last look that found it idle.
struct Watch {
    patience: Patience,
    written: Option<(u64, u64)>,
}

impl Watch {
    fn new(patience: Patience) -> Self {
        Self {
            patience,
            written: None,
        }
    }

    fn look(&mut self, pulse: &Pulse) -> Found {
        let now = pulse.now();
        if pulse.asked.load(Ordering::Relaxed) > 0 {
            self.written = None;
            return Found::Alive;
        }
        let first_byte_at = pulse.first_byte_at.load(Ordering::Relaxed);
        if first_byte_at != NEVER {
            let waited = now.saturating_sub(first_byte_at);
            return if waited >= millis(self.patience.headers) {
                Found::TooSlow
            } else {
                Found::Alive
            };
        }
        let idle = now.saturating_sub(pulse.answered_at.load(Ordering::Relaxed));
        if idle < millis(self.patience.idle) {
            self.written = None;
            return Found::Alive;
        }
        self.look_at_reader(now, pulse.written.load(Ordering::Relaxed))
    }

    /// It has been asked to end and is still there: something is left to be read.
    fn look_at_reader(&mut self, now: u64, written: u64) -> Found {
        let Some((since, before)) = self.written else {
            self.written = Some((now, written));
            return Found::Idle;
        };
        let waited = now.saturating_sub(since);
        if waited < millis(self.patience.headers) {
            return Found::Idle;
        }
        self.written = Some((now, written));
        let read = written.saturating_sub(before);
        if read.saturating_mul(1_000) < MIN_READ_RATE.saturating_mul(waited) {
            Found::TooSlow
        } else {
            Found::Idle
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(NEVER)
}

/// The stream, with a note of what goes in and out.
struct Watched {
    stream: TcpStream,
    pulse: Arc<Pulse>,
}

impl Watched {
    fn note_written(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = written {
            self.pulse
                .written
                .fetch_add(*bytes as u64, Ordering::Relaxed);
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        if into.filled().len() > before {
            self.pulse.note_read();
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note_written(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note_written(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        headers: Duration::from_secs(10),
        idle: Duration::from_mins(1),
    };

    async fn after(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn headers_have_their_time_from_the_first_byte_on() {
        let (pulse, mut watch) = (Arc::new(Pulse::new()), Watch::new(PATIENCE));
        after(9).await;
        assert_eq!(
            watch.look(&pulse),
            Found::Alive,
            "a new connection may be slow"
        );
        drop(Asked::new(&pulse));
        after(40).await;
        assert_eq!(
            watch.look(&pulse),
            Found::Alive,
            "it is kept for the next request"
        );
        for _ in 0..9 {
            pulse.note_read();
            assert_eq!(watch.look(&pulse), Found::Alive);
            after(1).await;
        }
        after(1).await;
        assert_eq!(
            watch.look(&pulse),
            Found::TooSlow,
            "further bytes buy no time"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_connection_that_asks_for_nothing_is_too_slow() {
        let (pulse, mut watch) = (Pulse::new(), Watch::new(PATIENCE));
        after(10).await;
        assert_eq!(watch.look(&pulse), Found::TooSlow);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_may_take_its_time_and_an_idle_connection_may_not() {
        let (pulse, mut watch) = (Arc::new(Pulse::new()), Watch::new(PATIENCE));
        let asked = Asked::new(&pulse);
        after(300).await;
        pulse.note_read();
        assert_eq!(watch.look(&pulse), Found::Alive);
        drop(asked);
        after(59).await;
        assert_eq!(watch.look(&pulse), Found::Alive);
        after(1).await;
        assert_eq!(watch.look(&pulse), Found::Idle);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_does_not_read_is_let_go_of_and_whoever_reads_slowly_is_not() {
        let (pulse, mut watch) = (Arc::new(Pulse::new()), Watch::new(PATIENCE));
        drop(Asked::new(&pulse));
        after(60).await;
        assert_eq!(watch.look(&pulse), Found::Idle);
        for _ in 0..20 {
            after(10).await;
            pulse
                .written
                .fetch_add(10 * MIN_READ_RATE, Ordering::Relaxed);
            assert_eq!(watch.look(&pulse), Found::Idle);
        }
        after(10).await;
        pulse.written.fetch_add(MIN_READ_RATE, Ordering::Relaxed);
        assert_eq!(watch.look(&pulse), Found::TooSlow);
    }
}

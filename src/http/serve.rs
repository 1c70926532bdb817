//! The accept loop. `axum::serve` sets no timer, so hyper's time limit on headers would do
//! nothing; here connections are limited in number, their headers in time, and all of them are
//! asked to end at shutdown.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::peer::Peer;

/// Pause after `accept` failed, for lack of file descriptors for instance.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An HTTP/2 connection without traffic is asked for a sign of life this often.
const HTTP2_PING: Duration = Duration::from_secs(20);

/// How connections are treated.
#[derive(Clone, Copy, Debug)]
pub struct ServeSettings {
    /// Open connections at most; further ones wait in the listener's queue.
    pub connections: usize,
    /// Time for a request's headers to arrive.
    pub header_timeout: Duration,
    /// After the call to stop: time for requests in flight to be answered.
    pub drain_limit: Duration,
}

/// Accepts and serves until told to stop, then lets the requests in flight finish.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    settings: ServeSettings,
    stop: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(settings.connections));
    let graceful = GracefulShutdown::new();
    let (connections, cut) = (TaskTracker::new(), CancellationToken::new());
    let builder = builder(settings);
    while let Some((stream, peer, slot)) = next(&listener, &slots, &stop).await {
        let asked = Arc::new(AtomicBool::new(false));
        let service = watched(router.clone(), Peer(peer), Arc::clone(&asked));
        let connection = builder
            .serve_connection(TokioIo::new(stream), service)
            .into_owned();
        let connection = graceful.watch(connection);
        let cut = cut.clone();
        connections.spawn(async move {
            tokio::select! {
                // A client that goes away, or is too slow, is nothing to report.
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended");
                },
                () = silent(&asked, settings.header_timeout) => {}
                () = cut.cancelled() => {}
            }
            drop(slot);
        });
    }
    drop(listener);
    connections.close();
    if timeout(settings.drain_limit, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("some requests were still in flight and are dropped");
        cut.cancel();
    }
    connections.wait().await;
}

fn builder(settings: ServeSettings) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HTTP2_PING);
    builder
}

/// The router, told where requests come from, noting that a first one has come.
fn watched(
    router: Router,
    peer: Peer,
    asked: Arc<AtomicBool>,
) -> impl Service<
    Request<Incoming>,
    Response = Response<Body>,
    Error = Infallible,
    Future: Send + 'static,
> + Clone
+ Send
+ 'static {
    let router = TowerToHyperService::new(router);
    service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        asked.store(true, Ordering::Relaxed);
        router.call(request)
    })
}

/// Returns when a connection has not brought a request in time. Hyper's own limit on headers only
/// begins once it knows which version of HTTP the client speaks.
async fn silent(asked: &AtomicBool, limit: Duration) {
    tokio::time::sleep(limit).await;
    if asked.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

/// The next connection, once there is room for it. None when it is time to stop.
async fn next(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    loop {
        let slot = tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            slot = Arc::clone(slots).acquire_owned() => slot.ok()?,
        };
        let accepted: io::Result<_> = tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Answers are small and complete: nothing is gained by holding them back.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "no TCP_NODELAY");
                }
                return Some((stream, peer, slot));
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

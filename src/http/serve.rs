//! The accept loop: connections are limited in number, their clients in time (`connection.rs`), and all of
//! them are asked to end at shutdown.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use metrics::{Gauge, gauge};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Site;
use super::connection::{self, Builders, Ending, Patience};
use super::doors::Doors;
use super::peer::Front;

/// Pause after `accept` failed, for lack of file descriptors for instance.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An HTTP/2 connection without traffic is asked for a sign of life this often.
const HTTP2_PING: Duration = Duration::from_secs(20);

/// How connections are treated.
#[derive(Clone, Copy, Debug)]
pub struct ServeSettings {
    /// Open connections at most; further ones wait in the listener's queue.
    pub connections: usize,
    /// Open connections of one address; further ones are closed. 0: as many as there may be.
    pub connections_per_address: usize,
    /// Time for a request's headers to arrive.
    pub header_timeout: Duration,
    /// Time without a request.
    pub idle_timeout: Duration,
    /// After the call to stop: time for requests in flight to be answered.
    pub drain_limit: Duration,
}

/// Accepts and serves until told to stop, then lets the requests in flight finish.
pub async fn serve(
    listener: TcpListener,
    site: Site,
    front: Front,
    settings: ServeSettings,
    stop: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(settings.connections));
    let open = gauge!("pollen_http_connections");
    let doors = Doors::new(settings.connections_per_address, front.clone());
    let front = Arc::new(front);
    let (connections, ending) = (TaskTracker::new(), Ending::default());
    let builders = Arc::new(builders());
    let patience = Patience {
        headers: settings.header_timeout,
        idle: settings.idle_timeout,
    };
    while let Some((stream, peer, slot)) = next(&listener, &slots, &stop).await {
        let Some(place) = doors.admit(peer.ip()) else {
            tracing::debug!(%peer, "it has as many connections as one address may");
            continue;
        };
        let (builders, front) = (Arc::clone(&builders), Arc::clone(&front));
        let (site, ending) = (site.clone(), ending.clone());
        let open = Open::one(&open);
        connections.spawn(async move {
            let stream = (stream, peer.ip());
            connection::run(&builders, stream, front, site, patience, ending).await;
            drop((slot, place, open));
        });
    }
    drop(listener);
    connections.close();
    ending.soft.cancel();
    if timeout(settings.drain_limit, connections.wait())
        .await
        .is_err()
    {
        tracing::warn!("some requests were still in flight and are dropped");
        ending.hard.cancel();
    }
    connections.wait().await;
}

/// A connection, for as long as it is open.
struct Open(Gauge);

impl Open {
    fn one(open: &Gauge) -> Self {
        open.increment(1.0);
        Self(open.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// Of clients' time hyper limits nothing: it would set a timer for every request, and `connection.rs` has one for all
/// of a connection's.
fn builders() -> Builders {
    let mut http1 = http1::Builder::new();
    http1.header_read_timeout(None);
    let mut any = Builder::new(TokioExecutor::new());
    any.http1().header_read_timeout(None);
    any.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HTTP2_PING);
    Builders { http1, any }
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

//! How busy this node is: for the hint that polls carry, and for whom it turns away before it drowns.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::cost;
use super::problem::{Kind, Problem};
use crate::model::hint::{Activity, poll_after_ms};

/// Seconds until those who are turned away come back: not all at once.
const COME_BACK_S: std::ops::RangeInclusive<u64> = 1..=3;

/// Requests in flight.
#[derive(Debug)]
pub(super) struct Load {
    in_flight: AtomicUsize,
    most: usize,
}

/// A request that is in flight.
struct Counted(Arc<Load>);

/// A request that for a while is not.
pub(super) struct Uncounted(Arc<Load>);

impl Load {
    /// With so many in flight further ones are turned away.
    pub fn new(most: usize) -> Self {
        Self {
            in_flight: AtomicUsize::new(0),
            most,
        }
    }

    /// Milliseconds until the next poll is worth while.
    pub fn poll_after_ms(&self, activity: Activity) -> u64 {
        poll_after_ms(activity, self.in_flight.load(Ordering::Relaxed), self.most)
    }

    /// A request that only waits for its client costs nothing: however many are slow to send their bodies, the others
    /// are not turned away for them. It counts again when what this returns is dropped.
    pub fn wait_for_client(self: &Arc<Self>) -> Uncounted {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        Uncounted(Arc::clone(self))
    }

    fn count(self: &Arc<Self>) -> Counted {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Counted(Arc::clone(self))
    }

    /// The request that asks is one of them.
    fn is_too_much(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > self.most
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Uncounted {
    fn drop(&mut self) {
        self.0.in_flight.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts a request for as long as it is worked on, also when its client goes away.
pub(super) async fn count(State(load): State<Arc<Load>>, request: Request, next: Next) -> Response {
    let _counted = load.count();
    next.run(request).await
}

/// Turns a request away, before anything is done for it, when there are too many.
pub(super) async fn shed(State(load): State<Arc<Load>>, request: Request, next: Next) -> Response {
    let is_vital = cost::is_vital(cost::route_of(request.extensions()));
    if is_vital || !load.is_too_much() {
        return next.run(request).await;
    }
    metrics::counter!("pollen_shed_total").increment(1);
    Problem {
        retry_after_s: Some(fastrand::u64(COME_BACK_S)),
        ..Problem::bare(Kind::Overloaded)
    }
    .into_response()
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::http::header;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use tower::Service as _;

    use super::*;
    use crate::model::hint::FLOWING_MS;

    async fn ask(router: &mut Router, path: &str) -> Response {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = path.parse().unwrap();
        router.call(request).await.unwrap()
    }

    #[tokio::test]
    async fn a_node_asks_for_patience_before_it_turns_anybody_away() {
        let load = Arc::new(Load::new(100));
        let mut router = Router::new()
            .route("/chat/list", get(|| async {}))
            .route("/healthz", get(|| async {}))
            .layer(from_fn_with_state(Arc::clone(&load), shed))
            .layer(from_fn_with_state(Arc::clone(&load), count));
        let mut held: Vec<Counted> = Vec::new();
        let mut longest = 0;
        while held.len() < 100 {
            let hint = load.poll_after_ms(Activity::Flowing);
            assert!(hint >= longest);
            longest = hint;
            assert_eq!(ask(&mut router, "/chat/list").await.status(), 200);
            held.push(load.count());
        }
        assert!(longest >= 5 * FLOWING_MS, "{longest}");
        let refused = ask(&mut router, "/chat/list").await;
        assert_eq!(refused.status(), 503);
        let wait = refused.headers()[header::RETRY_AFTER].to_str().unwrap();
        assert!(COME_BACK_S.contains(&wait.parse().unwrap()), "{wait}");
        assert_eq!(ask(&mut router, "/healthz").await.status(), 200);
        let waiting = load.wait_for_client();
        assert_eq!(ask(&mut router, "/chat/list").await.status(), 200);
        drop(waiting);
        assert_eq!(ask(&mut router, "/chat/list").await.status(), 503);
        drop(held);
        assert_eq!(load.poll_after_ms(Activity::Flowing), FLOWING_MS);
    }
}

//! How busy this node is: for the hint that polls carry, and for whom it turns away before it drowns.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use metrics::{Counter, Gauge, counter, gauge};

use super::cost;
use super::problem::{Kind, Problem};
use crate::model::hint::{Activity, FLOWING_MS, poll_after_ms};

/// Seconds until those who are turned away come back: not all at once.
const COME_BACK_S: std::ops::RangeInclusive<u64> = 1..=3;

/// Requests in flight.
pub(super) struct Load {
    in_flight: AtomicUsize,
    most: AtomicUsize,
    /// The same as `in_flight`, for whoever watches.
    shown: Gauge,
    shed: Counter,
}

/// A request that is in flight.
pub(super) struct Counted(Arc<Load>);

/// A request that for a while is not.
pub(super) struct Uncounted(Arc<Load>);

impl Load {
    /// With so many in flight further ones are turned away.
    pub fn new(most: usize) -> Self {
        Self {
            in_flight: AtomicUsize::new(0),
            most: AtomicUsize::new(most),
            shown: gauge!("pollen_http_in_flight"),
            shed: counter!("pollen_shed_total"),
        }
    }

    /// Turns away from another number of requests on.
    pub fn change_most(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    /// Milliseconds until the next poll is worth while.
    pub fn poll_after_ms(&self, activity: Activity) -> u64 {
        poll_after_ms(
            activity,
            self.in_flight.load(Ordering::Relaxed),
            self.most(),
        )
    }

    /// A request that only waits, for its client or for news, costs nothing: however many do, the others are not
    /// turned away for them. It counts again when what this returns is dropped.
    pub fn wait(self: &Arc<Self>) -> Uncounted {
        self.less();
        Uncounted(Arc::clone(self))
    }

    /// Counts a request for as long as it is worked on, also when its client goes away.
    pub fn count(self: &Arc<Self>) -> Counted {
        self.more();
        Counted(Arc::clone(self))
    }

    /// Whether nobody is asked for patience.
    pub fn is_calm(&self) -> bool {
        self.poll_after_ms(Activity::Flowing) == FLOWING_MS
    }

    fn more(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.shown.increment(1.0);
    }

    fn less(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.shown.decrement(1.0);
    }

    /// Whether further requests are turned away.
    pub fn is_full(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) >= self.most()
    }

    /// Turns a request that has been counted away, before anything is done for it, when there are too many.
    pub fn shed(&self, route: &str) -> Option<Problem> {
        if self.in_flight.load(Ordering::Relaxed) <= self.most() || cost::is_vital(route) {
            return None;
        }
        self.shed.increment(1);
        Some(Problem {
            retry_after_s: Some(fastrand::u64(COME_BACK_S)),
            ..Problem::bare(Kind::Overloaded)
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.less();
    }
}

impl Drop for Uncounted {
    fn drop(&mut self) {
        self.0.more();
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::extract::Request;
    use axum::http::header;
    use axum::response::Response;
    use axum::routing::get;
    use tower::Service as _;

    use super::super::middleware::{Outside, Wrap};
    use super::*;

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
            .layer(Wrap::new(Outside {
                counts: Arc::new(crate::http::counts::Counts::new()),
                tracer: crate::trace::Tracer::default(),
                load: Arc::clone(&load),
            }));
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
        let waiting = load.wait();
        assert_eq!(ask(&mut router, "/chat/list").await.status(), 200);
        drop(waiting);
        assert_eq!(ask(&mut router, "/chat/list").await.status(), 503);
        drop(held);
        assert_eq!(load.poll_after_ms(Activity::Flowing), FLOWING_MS);
    }
}

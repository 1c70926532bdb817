//! How busy this node is, for the hint that polls carry.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::model::hint::{Activity, poll_after_ms};

/// Requests in flight.
#[derive(Debug, Default)]
pub(super) struct Load {
    in_flight: AtomicUsize,
}

impl Load {
    /// Milliseconds until the next poll is worth while.
    pub fn poll_after_ms(&self, activity: Activity) -> u64 {
        poll_after_ms(activity, self.in_flight.load(Ordering::Relaxed))
    }
}

/// Counts a request for as long as it is worked on, also when its client goes away.
pub(super) async fn count(State(load): State<Arc<Load>>, request: Request, next: Next) -> Response {
    struct Counted(Arc<Load>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
    }
    load.in_flight.fetch_add(1, Ordering::Relaxed);
    let _counted = Counted(load);
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::hint::FLOWING_MS;

    #[test]
    fn a_node_with_much_to_do_asks_for_patience() {
        let load = Load::default();
        assert_eq!(load.poll_after_ms(Activity::Flowing), FLOWING_MS);
        load.in_flight.store(10_000, Ordering::Relaxed);
        assert!(load.poll_after_ms(Activity::Flowing) > FLOWING_MS);
    }
}

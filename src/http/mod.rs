//! Who asks: routes, extractors, errors, views. A handler extracts, calls one use case, converts.

mod connection;
mod cost;
mod doors;
mod dress;
mod encoding;
mod errors;
mod extract;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod identify;
mod link;
mod load;
mod openapi;
mod origin;
mod peer;
mod problem;
mod rate;
mod reply;
mod routes;
mod serve;
mod view;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::task::TaskTracker;
use tower::ServiceBuilder;
use tower::util::option_layer;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;

use crate::chat::Chats;
use crate::limit::Limits;

pub use axum_extra::extract::cookie::Key;
pub use identify::{Gate, Gateway};
pub use openapi::{UNDOCUMENTED, surface};
pub use peer::Front;
pub use serve::{ServeSettings, serve};

use load::Load;
use problem::{Kind, Problem};

/// What the handlers work with.
#[derive(Clone)]
struct AppState {
    chats: Arc<Chats>,
    load: Arc<Load>,
    limits: HttpLimits,
    metrics: PrometheusHandle,
    gate: Arc<Gate>,
    /// The server's own address, where it is known.
    public_url: Option<Arc<str>>,
}

/// What a request may cost.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// Longest body in bytes.
    pub body_bytes: usize,
    /// Time for a body to arrive.
    pub body_timeout: Duration,
    /// Time for the answer, from when all layers have let the request in.
    pub request_timeout: Duration,
    /// Requests in flight; further ones are turned away.
    pub max_in_flight: usize,
}

impl FromRef<AppState> for Arc<Chats> {
    fn from_ref(state: &AppState) -> Self {
        Arc::clone(&state.chats)
    }
}

impl FromRef<AppState> for PrometheusHandle {
    fn from_ref(state: &AppState) -> Self {
        state.metrics.clone()
    }
}

/// The whole surface.
///
/// Requests that change something are worked on as tasks of `changes`, whether or not their client
/// waits for the answer: what happens after a commit must not depend on it (P8).
pub fn router(
    chats: Arc<Chats>,
    limits: HttpLimits,
    rates: Arc<Limits>,
    metrics: PrometheusHandle,
    changes: TaskTracker,
    front: Front,
    gate: Gate,
) -> Router {
    let (load, gate) = (Arc::new(Load::new(limits.max_in_flight)), Arc::new(gate));
    let members = Arc::clone(&chats);
    let state = AppState {
        chats,
        load: Arc::clone(&load),
        limits,
        metrics,
        gate: Arc::clone(&gate),
        public_url: front.public_url.as_deref().map(Arc::from),
    };
    let (own_pages, other_sites) = (origin::own_pages(&front), origin::other_sites(&front));
    Router::new()
        .merge(Router::from(routes::router()))
        .fallback(|| async { Problem::no_such_page() })
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
        .layer(
            // Outermost first.
            ServiceBuilder::new()
                .layer(from_fn_with_state(Arc::clone(&load), load::count))
                .layer(from_fn_with_state(Arc::new(front), peer::locate))
                .layer(from_fn(encoding::compress))
                .layer(option_layer(other_sites))
                .layer(from_fn(dress::dress))
                .layer(from_fn_with_state(load, load::shed))
                .layer(own_pages)
                .layer(from_fn_with_state(gate, identify::identify))
                .layer(from_fn_with_state(members, identify::count_for))
                .layer(from_fn_with_state(rates, rate::limit))
                .layer(from_fn_with_state(limits.request_timeout, in_time))
                .layer(from_fn_with_state(changes, outlive_the_client))
                .layer(CatchPanicLayer::custom(|_| problem::after_panic()))
                .layer(DefaultBodyLimit::max(limits.body_bytes)),
        )
        .with_state(state)
}

/// Nobody waits for ever. What changes something is worked on all the same, and has its own limits.
async fn in_time(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    let answered = tokio::time::timeout(limit, next.run(request)).await;
    answered.unwrap_or_else(|_| {
        tracing::error!(?limit, "a request took too long");
        Problem::bare(Kind::Unavailable).into_response()
    })
}

async fn outlive_the_client(
    State(changes): State<TaskTracker>,
    request: Request,
    next: Next,
) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    let work = next.run(request).in_current_span();
    let done = changes.spawn(work).await;
    done.unwrap_or_else(|_| problem::after_panic())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use tower::Service as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_request_that_takes_too_long_is_answered() {
        let limit = Duration::from_secs(5);
        let mut router: Router = Router::new()
            .route("/", get(std::future::pending::<()>))
            .layer(from_fn_with_state(limit, in_time));
        let answer = router.call(Request::new(Body::empty())).await.unwrap();
        assert_eq!(answer.status(), 503);
        assert!(answer.headers().contains_key("retry-after"));
    }
}

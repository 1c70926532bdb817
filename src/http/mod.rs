//! Who asks: routes, extractors, errors, views. A handler extracts, calls one use case, converts.

mod body;
mod connection;
mod controls;
mod cost;
mod counts;
mod doors;
mod dress;
mod encoding;
mod errors;
mod extract;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod hold;
mod identify;
mod link;
mod load;
mod middleware;
mod openapi;
mod origin;
mod peer;
mod problem;
mod quick;
mod rate;
mod reply;
mod routes;
mod serve;
mod tag;
mod v1;
mod view;
mod visitor;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::FromRef;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceBuilder;
use tower::util::option_layer;

use crate::chat::Chats;
use crate::limit::Limits;
use crate::trace::Tracer;

pub use axum_extra::extract::cookie::Key;
pub use controls::Controls;
pub use identify::{Gate, Gateway};
pub use openapi::{UNDOCUMENTED, surface};
pub use peer::Front;
pub use serve::{ServeSettings, serve};
pub use view::pdf::{PrintSettings, Printer};

use counts::Counts;
use hold::Holds;
use load::Load;
use middleware::{Inside, Outside, Wrap};
use problem::Problem;
use quick::Quick;

/// What the handlers work with. It is cloned for every request.
#[derive(Clone)]
struct AppState(Arc<Rooms>);

struct Rooms {
    chats: Arc<Chats>,
    load: Arc<Load>,
    holds: Holds,
    counts: Arc<Counts>,
    controls: Arc<Controls>,
    metrics: PrometheusHandle,
    gate: Arc<Gate>,
    printer: Printer,
    /// The server's own address, where it is known.
    public_url: Option<Arc<str>>,
}

/// What a request may cost.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// Longest body in bytes where messages are taken.
    pub body_bytes: usize,
    /// Longest body of an import.
    pub import_bytes: usize,
    /// Time for a body to arrive.
    pub body_timeout: Duration,
    /// Time for the answer, from when all layers have let the request in.
    pub request_timeout: Duration,
    /// Requests in flight; further ones are turned away.
    pub max_in_flight: usize,
    /// How long a poll is held at most that asks for it. Zero: none is.
    pub longest_wait: Duration,
}

impl Deref for AppState {
    type Target = Rooms;

    fn deref(&self) -> &Rooms {
        &self.0
    }
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

/// What answers requests.
#[derive(Clone)]
pub struct Site {
    /// None: nothing is polled there.
    quick: Option<Arc<Quick>>,
    router: Router,
    controls: Arc<Controls>,
}

/// Who is told what happens.
pub struct Observers {
    pub metrics: PrometheusHandle,
    pub tracer: Tracer,
}

/// What is served: to everybody, and to whoever watches.
pub struct Sites {
    pub front: Site,
    /// `/metrics`, `/healthz` and `/readyz`, for an address of their own, where nobody is asked who they are.
    pub metrics: Site,
}

/// The whole surface.
///
/// Polls are held until `closing`. Requests that change something are worked on as tasks of `changes`, whether or not their client
/// waits for the answer: what happens after a commit must not depend on it (P8).
pub fn site(
    chats: Arc<Chats>,
    controls: Arc<Controls>,
    rates: Arc<Limits>,
    observers: Observers,
    (changes, closing): (TaskTracker, CancellationToken),
    front: &Front,
    (gate, printer): (Gate, Printer),
) -> Sites {
    let Observers { metrics, tracer } = observers;
    let (load, gate) = (controls.load(), Arc::new(gate));
    let counts = Arc::new(Counts::new());
    let state = AppState(Arc::new(Rooms {
        chats: Arc::clone(&chats),
        load: Arc::clone(&load),
        holds: Holds::new(closing),
        counts: Arc::clone(&counts),
        controls: Arc::clone(&controls),
        metrics,
        gate: Arc::clone(&gate),
        printer,
        public_url: front.public_url.as_deref().map(Arc::from),
    }));
    let quick = Arc::new(Quick {
        chats: Arc::clone(&chats),
        load: Arc::clone(&load),
        counts: Arc::clone(&counts),
        gate: Arc::clone(&gate),
        rates: Arc::clone(&rates),
    });
    let (own_pages, other_sites) = (origin::own_pages(front), origin::other_sites(front));
    let watched = Router::new()
        .merge(routes::watched())
        .fallback(|| async { Problem::no_such_page() })
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
        .layer(Wrap::new(Outside {
            load: Arc::clone(&load),
            counts: Arc::clone(&counts),
            tracer: Tracer::default(),
        }))
        .with_state(state.clone());
    let router = Router::new()
        .merge(Router::from(routes::router()))
        .fallback(|| async { Problem::no_such_page() })
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
        .layer(
            // Outermost first.
            ServiceBuilder::new()
                .layer(option_layer(other_sites))
                .layer(Wrap::new(Outside {
                    load,
                    counts,
                    tracer,
                }))
                .layer(own_pages)
                .layer(Wrap::new(Inside {
                    gate,
                    chats,
                    rates,
                    changes,
                    controls: Arc::clone(&controls),
                })),
        )
        .with_state(state);
    Sites {
        front: Site {
            quick: Some(quick),
            router,
            controls: Arc::clone(&controls),
        },
        metrics: Site {
            quick: None,
            router: watched,
            controls,
        },
    }
}

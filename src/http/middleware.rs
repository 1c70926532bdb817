//! What every request goes through on its way to its handler, outermost first: [`Outside`], the check of origins,
//! and [`Inside`].
//!
//! They are two services and not a dozen layers of `from_fn`: each of those copies and boxes all that is within it,
//! for every request, and a poll is so little work that this would be more than half of it. So each step is a
//! function of its own file, and here they stand in order.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures::FutureExt as _;
use tokio_util::task::TaskTracker;
use tower::{Layer, Service};
use tracing::Instrument;

use super::controls::Controls;
use super::cost;
use super::counts::Counts;
use super::dress::Dress;
use super::encoding;
use super::hold::Waited;
use super::identify::{self, Gate, Identified};
use super::load::Load;
use super::problem::{self, Kind, Problem};
use super::rate::{self, Rated};
use super::visitor::Visitor;
use crate::chat::Chats;
use crate::limit::Limits;
use crate::trace::{self, Tracer};

/// What a request goes on to.
pub(super) trait Within:
    Service<Request, Response = Response, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Within for S where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// What is done around what is within.
pub(super) trait Around: Send + Sync + 'static {
    fn answer<S: Within>(
        self: Arc<Self>,
        request: Request,
        within: S,
    ) -> impl Future<Output = Response> + Send;
}

/// Puts it around the routes.
pub(super) struct Wrap<A>(Arc<A>);

impl<A> Wrap<A> {
    pub fn new(around: A) -> Self {
        Self(Arc::new(around))
    }
}

impl<A> Clone for Wrap<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<A, S> Layer<S> for Wrap<A> {
    type Service = Wrapped<A, S>;

    fn layer(&self, within: S) -> Wrapped<A, S> {
        let around = self.clone();
        Wrapped { around, within }
    }
}

pub(super) struct Wrapped<A, S> {
    around: Wrap<A>,
    within: S,
}

impl<A, S: Clone> Clone for Wrapped<A, S> {
    fn clone(&self) -> Self {
        Self {
            around: self.around.clone(),
            within: self.within.clone(),
        }
    }
}

impl<A: Around, S: Within> Service<Request> for Wrapped<A, S> {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    /// Routes are always ready: who has too much to do says so.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let around = Arc::clone(&self.around.0);
        let answer = around.answer(request, self.within.clone());
        Box::pin(async move { Ok(answer.await) })
    }
}

async fn ask(mut within: impl Within, request: Request) -> Response {
    match within.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Nobody waits for ever. What changes something is worked on all the same, and has its own limits.
async fn in_time(limit: Duration, work: impl Future<Output = Response>) -> Response {
    let answered = tokio::time::timeout(limit, work).await;
    answered.unwrap_or_else(|_| {
        tracing::error!(?limit, "a request took too long");
        Problem::bare(Kind::Unavailable).into_response()
    })
}

/// What needs nobody's name: counts the request, turns it away if there are too many, writes out problems, sets the
/// headers that every answer has, and compresses.
pub(super) struct Outside {
    pub load: Arc<Load>,
    pub counts: Arc<Counts>,
    pub tracer: Tracer,
}

impl Around for Outside {
    async fn answer<S: Within>(self: Arc<Self>, mut request: Request, within: S) -> Response {
        let begun = Instant::now();
        let _counted = self.load.count();
        let Visitor { client, form, .. } = *Visitor::of(&mut request);
        let takes_gzip = encoding::takes_gzip(request.headers());
        let dress = Dress::of(&request, (client, form));
        let span = dress.span();
        let traced = dress.traced(&self.tracer, &request);
        let response = match self.load.shed(cost::route_of(request.extensions())) {
            Some(refusal) => refusal.into_response(),
            None => {
                traced
                    .around(ask(within, request).instrument(span.clone()))
                    .await
            }
        };
        let response = span.in_scope(|| dress.put_on(response));
        let response = if takes_gzip {
            encoding::compress(response).await
        } else {
            response
        };
        let (method, route) = dress.asked();
        end_trace(&traced, response.status());
        let held = response.extensions().get::<Waited>();
        let held = held.map_or(Duration::ZERO, |waited| waited.0);
        let took = begun.elapsed().saturating_sub(held);
        self.counts.request(method, route, response.status(), took);
        response
    }
}

fn end_trace(traced: &trace::Span, status: StatusCode) {
    if traced.is_on() {
        traced.set("http.response.status_code", i64::from(status.as_u16()));
        if status.is_server_error() {
            traced.fail(status.as_str());
        }
    }
}

/// What is done for somebody: finds out who asks, counts it for them, and has it worked on within its time.
pub(super) struct Inside {
    pub gate: Arc<Gate>,
    pub chats: Arc<Chats>,
    pub rates: Arc<Limits>,
    /// Requests that change something, also when their clients have gone.
    pub changes: TaskTracker,
    pub controls: Arc<Controls>,
}

impl Around for Inside {
    async fn answer<S: Within>(self: Arc<Self>, mut request: Request, within: S) -> Response {
        let visitor = Visitor::of(&mut request);
        let (client, form) = (visitor.client, visitor.form);
        let identified = Identified::new(&self.gate, client);
        visitor.identified = Some(identified.clone());
        let asked = identify::Asked::of(&request, form);
        let route = cost::route_of(request.extensions());
        let rated = match cost::budget(request.method(), route) {
            Some(budget) => {
                let who = (request.headers(), request.uri());
                let subject = identified.subject(&self.chats, who, budget).await;
                Rated::new(&self.rates, subject, client, budget, cost::is_shared(route))
            }
            None => None,
        };
        let limit = self.controls.limits().request_timeout;
        let work = |request| in_time(limit, self.outlive(request, within));
        let response = rate::limited(rated, request, work).await;
        identified.tell(asked, response)
    }
}

impl Inside {
    /// What changes something is a task of its own: what happens after a commit must not depend on who waits (P8).
    async fn outlive<S: Within>(&self, request: Request, within: S) -> Response {
        let route = cost::route_of(request.extensions());
        let is_change = !cost::only_reads(request.method(), route);
        let work = AssertUnwindSafe(ask(within, request)).catch_unwind();
        let done = if is_change {
            let done = self
                .changes
                .spawn(trace::carried(work.in_current_span()))
                .await;
            done.unwrap_or_else(|error| Err(Box::new(error)))
        } else {
            work.await
        };
        done.unwrap_or_else(|_| problem::after_panic())
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;

    use super::*;

    struct InTime(Duration);

    impl Around for InTime {
        async fn answer<S: Within>(self: Arc<Self>, request: Request, within: S) -> Response {
            in_time(self.0, ask(within, request)).await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_takes_too_long_is_answered() {
        let mut router: Router = Router::new()
            .route("/", get(std::future::pending::<()>))
            .layer(Wrap::new(InTime(Duration::from_secs(5))));
        let answer = router.call(Request::new(Body::empty())).await.unwrap();
        assert_eq!(answer.status(), 503);
        assert!(answer.headers().contains_key("retry-after"));
    }
}

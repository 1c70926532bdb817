//! `GET /metrics`: what this node has counted, in Prometheus' text format.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::AppState;
use crate::http::extract::Admin;
use crate::http::reply;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(metrics))
}

/// The same for the address of its own, where nobody is asked who they are.
pub(super) fn open_router() -> Router<AppState> {
    let open = async |State(recorded): State<PrometheusHandle>| reply::metrics(recorded.render());
    Router::new().route("/metrics", get(open))
}

/// What this node has counted, in Prometheus' text format.
#[utoipa::path(
    get, path = "/metrics",
    responses((status = OK, body = String, content_type = "text/plain"))
)]
async fn metrics(_: Admin, State(recorded): State<PrometheusHandle>) -> Response {
    reply::metrics(recorded.render())
}

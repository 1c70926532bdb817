//! `GET /metrics`: what this node has counted, in Prometheus' text format.

use axum::extract::State;
use axum::response::Response;
use metrics_exporter_prometheus::PrometheusHandle;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::AppState;
use crate::http::extract::Admin;
use crate::http::reply;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(metrics))
}

/// What this node has counted, in Prometheus' text format.
#[utoipa::path(
    get, path = "/metrics",
    responses((status = OK, body = String, content_type = "text/plain"))
)]
async fn metrics(_: Admin, State(recorded): State<PrometheusHandle>) -> Response {
    reply::metrics(recorded.render())
}

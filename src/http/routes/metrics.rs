//! `GET /metrics`: what this node has counted, in Prometheus' text format.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;

use crate::http::AppState;
use crate::http::extract::Admin;
use crate::http::reply;

pub(super) fn router() -> Router<AppState> {
    Router::new().route("/metrics", get(metrics))
}

async fn metrics(_: Admin, State(recorded): State<PrometheusHandle>) -> Response {
    reply::metrics(recorded.render())
}

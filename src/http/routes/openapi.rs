//! `GET /openapi.json`: these routes, for programs that write clients and for those that test servers.

use axum::http::StatusCode;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::AppState;
use crate::http::openapi;
use crate::http::problem::Problem;
use crate::http::reply;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(document))
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", responses((status = OK, body = Object)))]
async fn document() -> Result<Response, Problem> {
    reply::json(StatusCode::OK, openapi::document())
}

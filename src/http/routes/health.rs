//! `GET /healthz`: the process lives. `GET /readyz`: it can do its work, which needs the database.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::chat::Chats;
use crate::http::AppState;
use crate::http::problem::Problem;
use crate::http::reply;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(healthz))
        .routes(routes!(readyz))
}

#[derive(Serialize, ToSchema)]
struct HealthView {
    /// `ok` or `ready`.
    status: &'static str,
}

/// The process lives.
#[utoipa::path(get, path = "/healthz", responses((status = OK, body = HealthView)))]
async fn healthz() -> Result<Response, Problem> {
    reply::json(StatusCode::OK, &HealthView { status: "ok" })
}

/// The server can do its work, which needs the database.
#[utoipa::path(get, path = "/readyz", responses((status = OK, body = HealthView)))]
async fn readyz(State(chats): State<Arc<Chats>>) -> Result<Response, Problem> {
    match chats.ready().await {
        Ok(()) => reply::json(StatusCode::OK, &HealthView { status: "ready" }),
        Err(error) => Err(Problem::unavailable(&error)),
    }
}

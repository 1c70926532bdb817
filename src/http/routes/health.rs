//! `GET /healthz`: the process lives. `GET /readyz`: it can do its work, which needs the database, and it is
//! not about to go.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::AppState;
use crate::http::problem::{Kind, Problem};
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
async fn readyz(State(app): State<AppState>) -> Result<Response, Problem> {
    if app.controls.is_leaving() {
        return Err(Problem::new(
            Kind::Unavailable,
            "This server is shutting down. It answers for a while yet; ask another one from now on.",
        ));
    }
    match app.chats.ready().await {
        Ok(()) => reply::json(StatusCode::OK, &HealthView { status: "ready" }),
        Err(error) => Err(Problem::unavailable(&error)),
    }
}

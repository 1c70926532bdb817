//! `GET /healthz`: the process lives. `GET /readyz`: it can do its work, which needs the database.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde_json::json;

use crate::chat::Chats;
use crate::http::AppState;
use crate::http::problem::Problem;
use crate::http::reply;

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
}

async fn healthz() -> Result<Response, Problem> {
    reply::json(StatusCode::OK, &json!({"status": "ok"}))
}

async fn readyz(State(chats): State<Arc<Chats>>) -> Result<Response, Problem> {
    match chats.ready().await {
        Ok(()) => reply::json(StatusCode::OK, &json!({"status": "ready"})),
        Err(error) => Err(Problem::unavailable(&error)),
    }
}

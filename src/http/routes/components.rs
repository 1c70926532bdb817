//! `GET /_components`: every component of the page, in every state. There is no such route in a release.

use axum::Router;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;

use crate::http::AppState;
use crate::http::problem::Problem;
use crate::http::reply;
use crate::http::view::components::ComponentsPage;
use crate::http::view::frame::Frame;

pub(super) fn router() -> Router<AppState> {
    Router::new().route("/_components", get(components))
}

async fn components(frame: Frame) -> Result<Response, Problem> {
    reply::html(StatusCode::OK, ComponentsPage::new(frame)).await
}

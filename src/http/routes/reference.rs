//! `GET /docs`: the OpenAPI document as a page to read; to a script the document itself.

use axum::http::StatusCode;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::AppState;
use crate::http::extract::Form;
use crate::http::openapi;
use crate::http::problem::Problem;
use crate::http::reply;
use crate::http::view::frame::Frame;
use crate::http::view::reference::ReferencePage;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(reference))
}

/// This document as a page.
#[utoipa::path(get, path = "/docs", responses((status = OK, body = Object)))]
async fn reference(form: Form, frame: Frame) -> Result<Response, Problem> {
    if form.is_html() {
        return reply::html(StatusCode::OK, ReferencePage::new(frame)).await;
    }
    reply::json(StatusCode::OK, openapi::document())
}

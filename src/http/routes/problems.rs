//! `GET /problems/{slug}`: what a problem's `type` points to.

use axum::Router;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde_json::json;

use crate::http::AppState;
use crate::http::extract::{Form, NamePath};
use crate::http::problem::{Kind, Problem};
use crate::http::reply;
use crate::http::view::frame::Frame;
use crate::http::view::problem::KindPage;

pub(super) fn router() -> Router<AppState> {
    Router::new().route("/problems/{slug}", get(explain))
}

async fn explain(form: Form, frame: Frame, NamePath(slug): NamePath) -> Result<Response, Problem> {
    let kind = Kind::ALL
        .into_iter()
        .find(|kind| kind.slug() == slug)
        .ok_or_else(Problem::no_such_page)?;
    if form.is_html() {
        return reply::html_now(StatusCode::OK, &KindPage { frame, kind });
    }
    let explained = json!({
        "type": format!("/problems/{}", kind.slug()),
        "title": kind.title(),
        "status": kind.status().as_u16(),
        "advice": kind.advice(),
    });
    reply::json(StatusCode::OK, &explained)
}

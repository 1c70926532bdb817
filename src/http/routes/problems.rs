//! `GET /problems/{slug}`: what a problem's `type` points to.

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::AppState;
use crate::http::extract::{Form, NamePath};
use crate::http::problem::{Kind, Problem};
use crate::http::reply;
use crate::http::view::frame::Frame;
use crate::http::view::problem::KindPage;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(explain))
}

#[derive(Serialize, ToSchema)]
struct KindView {
    #[serde(rename = "type")]
    type_uri: String,
    title: &'static str,
    status: u16,
    /// What to do about it.
    advice: &'static str,
}

/// What a problem's `type` points to.
#[utoipa::path(get, path = "/problems/{slug}", responses((status = OK, body = KindView)))]
async fn explain(form: Form, frame: Frame, NamePath(slug): NamePath) -> Result<Response, Problem> {
    let kind = Kind::ALL
        .into_iter()
        .find(|kind| kind.slug() == slug)
        .ok_or_else(Problem::no_such_page)?;
    if form.is_html() {
        return reply::html_now(StatusCode::OK, &KindPage { frame, kind });
    }
    let explained = KindView {
        type_uri: format!("/problems/{}", kind.slug()),
        title: kind.title(),
        status: kind.status().as_u16(),
        advice: kind.advice(),
    };
    reply::json(StatusCode::OK, &explained)
}

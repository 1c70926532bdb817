//! `GET /chat/message/{uuid}/about`: who wrote an answer, how long it took, and what it used.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::chat::AboutError;
use crate::http::AppState;
use crate::http::extract::{Caller, Form, MessagePath};
use crate::http::openapi::Conflict;
use crate::http::problem::Problem;
use crate::http::reply;
use crate::http::view::about::{AboutFragment, AboutPage, AboutView};
use crate::http::view::frame::Frame;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(about))
}

/// Who wrote an answer, how long it took, and what it used.
#[utoipa::path(
    get, path = "/chat/message/{uuid}/about",
    responses((status = OK, body = AboutView), Conflict)
)]
async fn about(
    State(app): State<AppState>,
    Caller(owner): Caller,
    form: Form,
    frame: Frame,
    MessagePath(id): MessagePath,
) -> Result<Response, Problem> {
    let about = app.chats.about(owner, id).await;
    if form == Form::Json {
        return reply::json(StatusCode::OK, &AboutView::new(about?));
    }
    let row = app.chats.message(owner, id).await?.row;
    let about = match about {
        Ok(about) => Some(AboutView::new(about)),
        // Of what the user says there is the time.
        Err(AboutError::NotAnAnswer) => None,
        Err(error) => return Err(error.into()),
    };
    let about = AboutFragment::new(row.created_at, about);
    if form == Form::Fragment {
        return reply::html_now(StatusCode::OK, &about);
    }
    let page = AboutPage {
        frame,
        chat: row.chat_id,
        about,
    };
    reply::html_now(StatusCode::OK, &page)
}

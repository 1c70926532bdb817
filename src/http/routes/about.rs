//! `GET /chat/message/{uuid}/about`: who wrote an answer, how long it took, and what it used.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;

use crate::http::AppState;
use crate::http::extract::{Caller, Form, MessagePath};
use crate::http::problem::Problem;
use crate::http::reply;
use crate::http::view::about::AboutView;

pub(super) fn router() -> Router<AppState> {
    Router::new().route("/chat/message/{uuid}/about", get(about))
}

async fn about(
    State(app): State<AppState>,
    Caller(owner): Caller,
    form: Form,
    MessagePath(id): MessagePath,
) -> Result<Response, Problem> {
    let about = AboutView::new(app.chats.about(owner, id).await?);
    match form {
        Form::Json | Form::Fragment | Form::Page => reply::json(StatusCode::OK, &about),
    }
}

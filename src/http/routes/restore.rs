//! `POST /chat/{uuid}/restore`: brings back a chat that was deleted a moment ago.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;

use super::chat::{Nothing, changed_reply};
use crate::http::AppState;
use crate::http::extract::{Caller, DeletedChatPath, Form, Posted};
use crate::http::problem::Problem;

pub(super) fn router() -> Router<AppState> {
    Router::new().route("/chat/{uuid}/restore", post(restore))
}

async fn restore(
    State(app): State<AppState>,
    Caller(owner): Caller,
    form: Form,
    DeletedChatPath(id): DeletedChatPath,
    Posted {
        body: Nothing {},
        once,
    }: Posted<Nothing>,
) -> Result<Response, Problem> {
    let restored = app.chats.restore_chat(owner, id, once.as_ref()).await?;
    changed_reply(&app, form, restored).await
}

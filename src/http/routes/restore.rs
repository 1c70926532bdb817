//! `POST /chat/{uuid}/restore`: brings back a chat that was deleted a moment ago.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::chat::{Nothing, changed_reply, main, push_url, refresh_lists};
use crate::http::AppState;
use crate::http::body::Posted;
use crate::http::extract::{Caller, DeletedChatPath, Form};
use crate::http::openapi::OnceKey;
use crate::http::problem::Problem;
use crate::http::reply;
use crate::http::view::chat::{ChatView, RestoredFragment};

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(restore))
}

/// Brings back a chat that was deleted a moment ago.
#[utoipa::path(
    post, path = "/chat/{uuid}/restore", params(OnceKey),
    responses((status = OK, body = ChatView))
)]
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
    if form != Form::Fragment {
        return changed_reply(&app, form, restored).await;
    }
    let chat = app.chats.own(owner, id).await?;
    let main = main(&app, &chat, None).await?;
    let mut response = reply::html(StatusCode::OK, RestoredFragment { main }).await?;
    push_url(&mut response, &format!("/chat/{id}"))?;
    refresh_lists(&mut response);
    Ok(response)
}

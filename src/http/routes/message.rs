//! One message: read, delete, and the token poll of it.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use entity::chat_message::Status;

use crate::http::AppState;
use crate::http::extract::{Caller, Form, MessagePath, PositionPath};
use crate::http::problem::Problem;
use crate::http::reply;
use crate::http::view::message::{MessageFragment, MessageView};
use crate::http::view::tokens::{TokensEndFragment, TokensFragment, TokensView};
use crate::model::hint::Activity;

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/chat/message/{uuid}", get(read).delete(delete))
        .route("/chat/message/{uuid}/tokens", get(tokens))
        .route("/chat/message/{uuid}/tokens/", get(tokens))
        .route("/chat/message/{uuid}/tokens/{position}", get(tokens))
}

async fn read(
    State(app): State<AppState>,
    Caller(owner): Caller,
    form: Form,
    MessagePath(id): MessagePath,
) -> Result<Response, Problem> {
    let message = app.chats.message(owner, id).await?;
    match form {
        Form::Json => reply::json(StatusCode::OK, &MessageView::new(message)),
        Form::Fragment | Form::Page => {
            let hint = app.load.poll_after_ms(Activity::Flowing);
            reply::html(StatusCode::OK, MessageFragment::new(message, hint)).await
        }
    }
}

async fn delete(
    State(app): State<AppState>,
    Caller(owner): Caller,
    form: Form,
    MessagePath(id): MessagePath,
) -> Result<Response, Problem> {
    app.chats.delete_message(owner, id).await?;
    match form {
        Form::Json => Ok(reply::no_content()),
        // HTMX swaps nothing on a 204; the empty fragment takes the message's place.
        Form::Fragment | Form::Page => Ok(reply::empty()),
    }
}

async fn tokens(
    State(app): State<AppState>,
    Caller(owner): Caller,
    form: Form,
    MessagePath(id): MessagePath,
    PositionPath(position): PositionPath,
) -> Result<Response, Problem> {
    let poll = app.chats.poll_tokens(owner, id, position).await?;
    let hint = app.load.poll_after_ms(poll.activity);
    if form == Form::Json {
        return reply::json(StatusCode::OK, &TokensView::new(poll, hint));
    }
    if poll.status != Status::Pending {
        let message = app.chats.message(owner, id).await?;
        return reply::html(StatusCode::OK, TokensEndFragment::new(message, hint)).await;
    }
    let is_unchanged = poll.delta.append && poll.delta.position == position;
    if is_unchanged {
        return Ok(reply::no_content());
    }
    reply::html_now(StatusCode::OK, &TokensFragment::new(poll, hint))
}

//! `/shared/{secret}`: a chat for whoever has a link to it, to read and to poll as its owner does.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use entity::MessageId;

use super::chat::{ReadParams, first_pages};
use super::message::{TokensParams, tokens_reply};
use super::messages::{PollParams, messages_reply};
use crate::chat::ReadableChat as _;
use crate::http::AppState;
use crate::http::extract::{CursorPath, Form, MessagePath, Params, PositionPath, parse_uuid};
use crate::http::link::Link;
use crate::http::problem::Problem;
use crate::http::reply;
use crate::http::view::shared::{SharedChatView, SharedMain, SharedPage};
use crate::model::hint::Activity;

/// The link comes first in each handler: without it nothing else is looked at.
pub(super) fn router() -> Router<AppState> {
    let tokens_path = "/shared/{secret}/message/{uuid}/tokens";
    Router::new()
        .route("/shared/{secret}", get(read))
        .route("/shared/{secret}/messages", get(messages))
        .route("/shared/{secret}/messages/", get(messages))
        .route("/shared/{secret}/messages/{last_uuid}", get(messages))
        .route(tokens_path, get(tokens))
        .route(&format!("{tokens_path}/"), get(tokens))
        .route(&format!("{tokens_path}/{{position}}"), get(tokens))
}

async fn read(
    State(app): State<AppState>,
    link: Link,
    form: Form,
    Params(params): Params<ReadParams>,
) -> Result<Response, Problem> {
    if form == Form::Json {
        let view = SharedChatView::new(link.chat.row().clone(), &app.chats.defaults());
        return reply::json(StatusCode::OK, &view);
    }
    let after = params.after.map(|text| parse_uuid("after", &text));
    let after = after.transpose()?.map(MessageId);
    let poll = first_pages(&app, &link.chat, after).await?;
    let hint = app.load.poll_after_ms(poll.activity);
    let hints = (hint, app.load.poll_after_ms(Activity::Flowing));
    let (defaults, now) = (app.chats.defaults(), app.chats.now());
    let main = SharedMain::new(&link.place, poll, &defaults, now, hints);
    if form == Form::Fragment {
        return reply::html(StatusCode::OK, main).await;
    }
    reply::html(StatusCode::OK, SharedPage { main }).await
}

async fn messages(
    State(app): State<AppState>,
    Link { chat, place }: Link,
    form: Form,
    CursorPath(cursor): CursorPath,
    Params(params): Params<PollParams>,
) -> Result<Response, Problem> {
    messages_reply(&app, form, (&chat, &place), cursor, params).await
}

async fn tokens(
    State(app): State<AppState>,
    Link { chat, place }: Link,
    form: Form,
    MessagePath(id): MessagePath,
    PositionPath(position): PositionPath,
    Params(params): Params<TokensParams>,
) -> Result<Response, Problem> {
    tokens_reply(&app, form, ((&chat).into(), place), (id, position), params).await
}

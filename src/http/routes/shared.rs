//! `/shared/{secret}`: a chat for whoever has a link to it, to read and to poll as its owner does.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use entity::MessageId;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::chat::{ReadParams, first_pages};
use super::message::{TokensAsked, TokensParams, tokens_reply};
use super::messages::{MessagesAsked, PollParams, messages_reply};
use crate::chat::ReadableChat as _;
use crate::http::AppState;
use crate::http::extract::{CursorPath, Form, Params, TokensPath, parse_uuid};
use crate::http::hold::Hold;
use crate::http::link::Link;
use crate::http::openapi::{Unchanged, WaitPreference, at};
use crate::http::problem::Problem;
use crate::http::reply;
use crate::http::view::messages::MessagesView;
use crate::http::view::shared::{SharedChatView, SharedMain, SharedPage};
use crate::http::view::tokens::TokensView;
use crate::model::hint::Activity;

/// The link comes first in each handler: without it nothing else is looked at.
pub(super) fn router() -> OpenApiRouter<AppState> {
    let tokens_path = "/shared/{secret}/message/{uuid}/tokens";
    OpenApiRouter::new()
        .routes(routes!(read))
        .routes(routes!(messages))
        .routes(at("/shared/{secret}/messages", routes!(messages)))
        .routes(at("/shared/{secret}/messages/", routes!(messages)))
        .routes(routes!(tokens))
        .routes(at(tokens_path, routes!(tokens)))
        .routes(at(&format!("{tokens_path}/"), routes!(tokens)))
}

/// A chat for whoever has a link to it.
#[utoipa::path(
    get, path = "/shared/{secret}", params(ReadParams),
    responses((status = OK, body = SharedChatView))
)]
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

/// The messages after a cursor, as its owner polls them.
#[utoipa::path(
    get, path = "/shared/{secret}/messages/{last_uuid}", params(PollParams, Unchanged, WaitPreference),
    responses((status = OK, body = MessagesView), Unchanged)
)]
async fn messages(
    State(app): State<AppState>,
    Link { chat, place }: Link,
    form: Form,
    headers: HeaderMap,
    hold: Hold,
    CursorPath(cursor): CursorPath,
    Params(params): Params<PollParams>,
) -> Result<Response, Problem> {
    let asked = MessagesAsked::new(form, &headers, cursor, params);
    messages_reply(&app, (chat, place), &asked, hold).await
}

/// The text since a position, as its owner polls it.
#[utoipa::path(
    get, path = "/shared/{secret}/message/{uuid}/tokens/{position}", params(TokensParams, Unchanged, WaitPreference),
    responses((status = OK, body = TokensView), Unchanged)
)]
async fn tokens(
    State(app): State<AppState>,
    Link { chat, place }: Link,
    form: Form,
    headers: HeaderMap,
    hold: Hold,
    TokensPath { message, position }: TokensPath,
    Params(params): Params<TokensParams>,
) -> Result<Response, Problem> {
    let asked = TokensAsked::new(form, &headers, position, &params)?;
    let reader = ((&chat).into(), place);
    tokens_reply(&app, reader, message, asked, hold).await
}

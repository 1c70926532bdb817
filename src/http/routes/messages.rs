//! `GET /chat/{uuid}/messages[/{last_uuid}]`: the messages poll.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use entity::MessageId;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::chat::{ReadableChat, WatchedChat};
use crate::http::AppState;
use crate::http::counts::{Kind, Outcome};
use crate::http::extract::{CursorPath, Form, Params};
use crate::http::openapi;
use crate::http::problem::Problem;
use crate::http::reply;
use crate::http::view::messages::{MessagesFragment, MessagesView};
use crate::http::view::place::Place;
use crate::http::view::poller::keeps_pace;
use crate::model::hint::Activity;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(poll))
        .routes(openapi::at("/chat/{uuid}/messages/", routes!(poll)))
        .routes(openapi::at("/chat/{uuid}/messages", routes!(poll)))
}

#[derive(Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct PollParams {
    pub revision: Option<i64>,
    /// Of a page: milliseconds between its polls.
    pub after: Option<u64>,
}

/// The messages after a cursor, oldest first.
#[utoipa::path(
    get, path = "/chat/{uuid}/messages/{last_uuid}", params(PollParams),
    responses((status = OK, body = MessagesView))
)]
async fn poll(
    State(app): State<AppState>,
    form: Form,
    CursorPath(cursor): CursorPath,
    Params(params): Params<PollParams>,
    chat: WatchedChat,
) -> Result<Response, Problem> {
    messages_reply(&app, form, (&chat, &Place::Owners), cursor, params).await
}

/// What is new in a chat, for who reads it here.
pub(super) async fn messages_reply(
    app: &AppState,
    form: Form,
    (chat, place): (&impl ReadableChat, &Place),
    cursor: Option<MessageId>,
    params: PollParams,
) -> Result<Response, Problem> {
    let poll = app
        .chats
        .poll_messages(chat, cursor, params.revision)
        .await?;
    app.counts
        .polled(Kind::Messages, Outcome::of_messages(&poll));
    let hint = app.load.poll_after_ms(poll.activity);
    match form {
        Form::Json => reply::json(StatusCode::OK, &MessagesView::new(place, poll, hint)),
        Form::Fragment | Form::Page => {
            let is_seen = params.revision.is_none_or(|seen| seen == poll.revision);
            let is_unchanged = poll.new.is_empty() && poll.changed.is_empty() && is_seen;
            if is_unchanged && keeps_pace(params.after, hint) {
                return Ok(reply::no_content());
            }
            let token_hint = app.load.poll_after_ms(Activity::Flowing);
            reply::html(
                StatusCode::OK,
                MessagesFragment::new(place, poll, hint, token_hint),
            )
            .await
        }
    }
}

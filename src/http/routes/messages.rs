//! `GET /chat/{uuid}/messages[/{last_uuid}]`: the messages poll.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use entity::MessageId;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::chat::{Awaited, MessagesPoll, PolledChat, WatchedChat};
use crate::http::AppState;
use crate::http::counts::{Kind, Outcome};
use crate::http::extract::{CursorPath, Form, Params};
use crate::http::hold::{Hold, Look};
use crate::http::openapi::{self, Unchanged, WaitPreference};
use crate::http::problem::Problem;
use crate::http::reply;
use crate::http::tag::{Seen, Tag};
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
    get, path = "/chat/{uuid}/messages/{last_uuid}", params(PollParams, Unchanged, WaitPreference),
    responses((status = OK, body = MessagesView), Unchanged)
)]
async fn poll(
    State(app): State<AppState>,
    form: Form,
    headers: HeaderMap,
    hold: Hold,
    CursorPath(cursor): CursorPath,
    Params(params): Params<PollParams>,
    chat: WatchedChat,
) -> Result<Response, Problem> {
    let asked = MessagesAsked::new(form, &headers, cursor, params);
    messages_reply(&app, (chat, Place::Owners), &asked, hold).await
}

/// What a messages poll asks for.
pub(in crate::http) struct MessagesAsked {
    form: Form,
    /// What a program has answers of.
    pub seen: Seen,
    cursor: Option<MessageId>,
    params: PollParams,
}

impl MessagesAsked {
    pub fn new(
        form: Form,
        headers: &HeaderMap,
        cursor: Option<MessageId>,
        params: PollParams,
    ) -> Self {
        Self {
            form,
            seen: Seen::of(headers),
            cursor,
            params,
        }
    }

    /// Whether there is something in it that the client does not have.
    fn is_news(&self, poll: &MessagesPoll) -> bool {
        let is_new = poll.is_new(self.params.revision);
        match self.form {
            Form::Json => is_new && !self.seen.has(&Tag::of_messages(poll)),
            Form::Fragment | Form::Page => is_new,
        }
    }
}

/// What is new in a chat, for who reads it here.
pub(super) async fn messages_reply<C: PolledChat>(
    app: &AppState,
    (chat, place): (C, Place),
    asked: &MessagesAsked,
    hold: Hold,
) -> Result<Response, Problem> {
    let (cursor, revision) = (asked.cursor, asked.params.revision);
    let poll = app.chats.poll_messages(&chat, cursor, revision).await?;
    if !hold.is_wanted() {
        return messages_found(app, &place, asked, poll).await;
    }
    let look = |poll: &MessagesPoll| Look {
        is_new: asked.is_news(poll),
        activity: poll.activity,
    };
    let chat = &chat;
    let ask = || async move {
        let chat = chat.again(&app.chats).await?;
        Ok(app.chats.poll_messages(&chat, cursor, revision).await?)
    };
    let awaited = [Awaited::Chat(chat.row().id)];
    let found = Box::pin(hold.until_new(app, &awaited, poll, look, ask));
    let (poll, applied) = found.await?.into_parts();
    let response = messages_found(app, &place, asked, poll).await?;
    Ok(applied.tell(response))
}

async fn messages_found(
    app: &AppState,
    place: &Place,
    asked: &MessagesAsked,
    poll: MessagesPoll,
) -> Result<Response, Problem> {
    app.counts
        .polled(Kind::Messages, Outcome::of_messages(&poll));
    let hint = app.load.poll_after_ms(poll.activity);
    match asked.form {
        Form::Json => {
            let tag = Tag::of_messages(&poll);
            let view = || reply::json(StatusCode::OK, &MessagesView::new(place, poll, hint));
            asked.seen.json(&tag, Some(hint), view)
        }
        Form::Fragment | Form::Page => {
            let is_new = poll.is_new(asked.params.revision);
            if !is_new && keeps_pace(asked.params.after, hint) {
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

//! `PUT`, `DELETE` and `POST /chat/message/{uuid}/reaction`: what the user thinks of an answer.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use entity::chat_message::Reaction;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::message::message_reply;
use crate::chat::{MessageRead, NewReaction};
use crate::http::AppState;
use crate::http::body::{Body, Posted};
use crate::http::extract::{Caller, Form, MessagePath};
use crate::http::openapi::{Conflict, OnceKey};
use crate::http::problem::Problem;
use crate::http::reply;
use crate::http::view::message::MessageView;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(react, take_back, choose))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReactionBody {
    reaction: Reaction,
    comment: Option<String>,
}

/// What a form chooses: it can put, but not delete.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChoiceBody {
    reaction: Choice,
    comment: Option<String>,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Choice {
    Like,
    Dislike,
    None,
}

impl Choice {
    fn reaction(self) -> Option<Reaction> {
        match self {
            Self::Like => Some(Reaction::Like),
            Self::Dislike => Some(Reaction::Dislike),
            Self::None => None,
        }
    }
}

/// Says what the user thinks of an answer.
#[utoipa::path(
    put, path = "/chat/message/{uuid}/reaction", request_body = ReactionBody,
    responses((status = OK, body = MessageView), Conflict)
)]
async fn react(
    State(app): State<AppState>,
    Caller(owner): Caller,
    form: Form,
    MessagePath(id): MessagePath,
    Body(body): Body<ReactionBody>,
) -> Result<Response, Problem> {
    let new = NewReaction {
        reaction: body.reaction,
        comment: body.comment,
    };
    let message = app.chats.react(owner, id, Some(new), None).await?;
    reacted_reply(&app, form, message).await
}

/// Takes that back.
#[utoipa::path(
    delete, path = "/chat/message/{uuid}/reaction",
    responses((status = OK, body = MessageView), Conflict)
)]
async fn take_back(
    State(app): State<AppState>,
    Caller(owner): Caller,
    form: Form,
    MessagePath(id): MessagePath,
) -> Result<Response, Problem> {
    let message = app.chats.react(owner, id, None, None).await?;
    reacted_reply(&app, form, message).await
}

/// Both of it, for a form.
#[utoipa::path(
    post, path = "/chat/message/{uuid}/reaction", params(OnceKey), request_body = ChoiceBody,
    responses((status = OK, body = MessageView), Conflict)
)]
async fn choose(
    State(app): State<AppState>,
    Caller(owner): Caller,
    form: Form,
    MessagePath(id): MessagePath,
    Posted { body, once }: Posted<ChoiceBody>,
) -> Result<Response, Problem> {
    let new = body.reaction.reaction().map(|reaction| NewReaction {
        reaction,
        comment: body.comment,
    });
    let message = app.chats.react(owner, id, new, once.as_ref()).await?;
    reacted_reply(&app, form, message).await
}

async fn reacted_reply(
    app: &AppState,
    form: Form,
    message: MessageRead,
) -> Result<Response, Problem> {
    match form {
        Form::Json => reply::json(StatusCode::OK, &MessageView::new(message)),
        Form::Fragment | Form::Page => message_reply(app, form, message).await,
    }
}

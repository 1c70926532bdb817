//! `/chat/{uuid}/shares` and `/share/{uuid}`: the owner makes links to a chat, sees them, and revokes them.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use entity::Timestamp;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::chat::{OwnedChat, ShareUntil};
use crate::http::AppState;
use crate::http::body::Body;
use crate::http::extract::{Acting, Caller, Form, SharePath};
use crate::http::openapi::{Conflict, by_post};
use crate::http::problem::{Kind, Problem};
use crate::http::reply;
use crate::http::view::frame::Frame;
use crate::http::view::share::{MadeShareView, SharesFragment, SharesPage, SharesView};

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, make))
        .routes(routes!(revoke))
        .routes(by_post("/share/{uuid}/revoke", revoke, routes!(revoke)))
}

/// At most one of both; with neither, the link works until it is revoked.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct MakeBody {
    #[schema(value_type = Option<i64>)]
    expires_in_ms: Option<Milliseconds>,
    expires_at: Option<Timestamp>,
}

/// A number, or what a form has chosen, which may be nothing.
#[derive(Deserialize)]
#[serde(untagged)]
enum Milliseconds {
    Number(i64),
    Word(String),
}

impl MakeBody {
    fn until(self) -> Result<ShareUntil, Problem> {
        let wrong = |detail: &str| Problem::new(Kind::InvalidField, detail);
        let term = match self.expires_in_ms {
            None => None,
            Some(Milliseconds::Number(ms)) => Some(ms),
            Some(Milliseconds::Word(word)) if word.is_empty() => None,
            Some(Milliseconds::Word(word)) => {
                let ms = word.parse();
                Some(ms.map_err(|_| wrong("`expires_in_ms` is a number of milliseconds"))?)
            }
        };
        match (term, self.expires_at) {
            (None, None) => Ok(ShareUntil::Revoked),
            (Some(ms), None) => Ok(ShareUntil::In(ms)),
            (None, Some(at)) => Ok(ShareUntil::At(at)),
            (Some(_), Some(_)) => Err(wrong("`expires_in_ms` and `expires_at` are one too many")),
        }
    }
}

/// The links to a chat.
#[utoipa::path(
    get, path = "/chat/{uuid}/shares", responses((status = OK, body = SharesView))
)]
async fn list(
    State(app): State<AppState>,
    form: Form,
    frame: Frame,
    chat: OwnedChat,
) -> Result<Response, Problem> {
    shares_reply(&app, StatusCode::OK, (form, frame), &chat, None).await
}

/// An idempotency key would store the answer, and the secret with it: here there is none.
#[utoipa::path(
    post, path = "/chat/{uuid}/shares", request_body = MakeBody,
    responses((status = CREATED, body = MadeShareView), Conflict)
)]
async fn make(
    State(app): State<AppState>,
    form: Form,
    frame: Frame,
    chat: OwnedChat,
    Acting(actor): Acting,
    Body(body): Body<MakeBody>,
) -> Result<Response, Problem> {
    let made = app.chats.share_chat(&chat, body.until()?, &actor).await?;
    let made = MadeShareView::new(made, app.public_url.as_deref(), app.chats.now());
    if form == Form::Json {
        return reply::json(StatusCode::CREATED, &made);
    }
    // No redirect, not even without script: it would lead to a page that does not know the secret.
    let status = StatusCode::CREATED;
    shares_reply(&app, status, (form, frame), &chat, Some(made.url)).await
}

/// Revokes a link.
#[utoipa::path(
    delete, path = "/share/{uuid}", responses((status = NO_CONTENT))
)]
async fn revoke(
    State(app): State<AppState>,
    Caller(owner): Caller,
    form: Form,
    frame: Frame,
    Acting(actor): Acting,
    SharePath(id): SharePath,
) -> Result<Response, Problem> {
    let chat = app.chats.revoke_share(owner, id, &actor).await?;
    match form {
        Form::Json => Ok(reply::no_content()),
        Form::Page => reply::see_other(&format!("/chat/{chat}/shares")),
        Form::Fragment => {
            let chat = app.chats.own(owner, chat).await?;
            shares_reply(&app, StatusCode::OK, (form, frame), &chat, None).await
        }
    }
}

/// The links to the chat; `made`: the address of the one that was made just now.
async fn shares_reply(
    app: &AppState,
    status: StatusCode,
    (form, frame): (Form, Frame),
    chat: &OwnedChat,
    made: Option<String>,
) -> Result<Response, Problem> {
    let view = SharesView::new(app.chats.shares(chat).await?, app.chats.now());
    if form == Form::Json {
        return reply::json(status, &view);
    }
    let shares = SharesFragment::new(chat.row().id, made, view);
    if form == Form::Fragment {
        return reply::html_now(status, &shares);
    }
    let page = SharesPage {
        frame,
        title: chat.row().title.clone(),
        shares,
    };
    reply::html_now(status, &page)
}

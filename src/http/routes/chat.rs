//! One chat: create, read, change, delete, export, give it an agent, and send a message to it.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use entity::chat::{Model as Chat, OnBusy};
use entity::{ChatId, MessageId, Parameters};
use serde::Deserialize;

use super::home;
use crate::chat::{ChatUpdate, ExportFormat, NewChat, NewMessage, Otherwise, OwnedChat};
use crate::http::AppState;
use crate::http::extract::{
    AliasPath, Body, CacheControl, Caller, Form, Params, Posted, parse_uuid,
};
use crate::http::problem::{Kind, Problem};
use crate::http::reply;
use crate::http::view::chat::{ChatMain, ChatPage, ChatView, ComposerSent, CreatedView, SentView};
use crate::model::hint::Activity;

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/chat/create", post(create))
        .route("/chat/{uuid}", get(read).patch(update).delete(delete))
        .route("/chat/{uuid}/send", post(send))
        .route("/chat/{uuid}/agent/{alias}", post(set_agent))
        .route("/chat/{uuid}/export", get(export))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateBody {
    uuid: Option<String>,
    title: Option<String>,
    agent: Option<String>,
    model: Option<String>,
    message: Option<String>,
    on_busy: Option<OnBusy>,
    parameters: Option<Parameters>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SendBody {
    #[serde(default)]
    message: String,
    uuid: Option<String>,
    on_busy: Option<OnBusy>,
    model: Option<String>,
    parameters: Option<Parameters>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UpdateBody {
    title: Option<String>,
    model: Option<String>,
    agent: Option<String>,
    on_busy: Option<OnBusy>,
    parameters: Option<Parameters>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExportParams {
    format: Option<String>,
}

/// A POST that says all in its path.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

async fn create(
    State(app): State<AppState>,
    Caller(owner): Caller,
    form: Form,
    CacheControl(cache_use): CacheControl,
    Posted { body, once }: Posted<CreateBody>,
) -> Result<Response, Problem> {
    let uuid = body
        .uuid
        .map(|text| parse_uuid("uuid", &text))
        .transpose()?;
    let new = NewChat {
        id: uuid.map(ChatId),
        title: body.title,
        agent: body.agent,
        model: body.model,
        message: body.message,
        on_busy: body.on_busy,
        parameters: body.parameters,
        cache_use,
    };
    let created = app.chats.create(owner, new, once.as_ref()).await?;
    let path = format!("/chat/{}", created.chat.id);
    match form {
        Form::Json => {
            let hint = app.load.poll_after_ms(Activity::Flowing);
            let view = CreatedView::new(created, &app.chats.defaults(), hint);
            reply::json(StatusCode::CREATED, &view)
        }
        Form::Page => reply::see_other(&path),
        Form::Fragment => {
            let chat = app.chats.own(owner, created.chat.id).await?;
            let main = main(&app, &chat).await?;
            let mut response = reply::html(StatusCode::CREATED, main).await?;
            push_url(&mut response, &path)?;
            Ok(response)
        }
    }
}

async fn read(
    State(app): State<AppState>,
    form: Form,
    chat: OwnedChat,
) -> Result<Response, Problem> {
    match form {
        Form::Json => {
            let view = ChatView::new(chat.row().clone(), &app.chats.defaults());
            reply::json(StatusCode::OK, &view)
        }
        Form::Fragment => reply::html(StatusCode::OK, main(&app, &chat).await?).await,
        Form::Page => {
            let main = main(&app, &chat).await?;
            reply::html(StatusCode::OK, ChatPage { main }).await
        }
    }
}

async fn send(
    State(app): State<AppState>,
    form: Form,
    CacheControl(cache_use): CacheControl,
    chat: OwnedChat,
    Posted { body, once }: Posted<SendBody>,
) -> Result<Response, Problem> {
    let uuid = body
        .uuid
        .map(|text| parse_uuid("uuid", &text))
        .transpose()?;
    let new = NewMessage {
        id: uuid.map(MessageId),
        text: body.message,
        on_busy: body.on_busy,
        otherwise: Otherwise {
            model: body.model,
            parameters: body.parameters,
            cache_use,
        },
    };
    let sent = app.chats.send(&chat, new, once.as_ref()).await?;
    match form {
        Form::Json => {
            let hint = app.load.poll_after_ms(Activity::Flowing);
            reply::json(StatusCode::ACCEPTED, &SentView::new(sent, hint))
        }
        Form::Fragment => reply::html_now(StatusCode::ACCEPTED, &ComposerSent {}),
        Form::Page => reply::see_other(&format!("/chat/{}", chat.row().id)),
    }
}

async fn update(
    State(app): State<AppState>,
    form: Form,
    chat: OwnedChat,
    Body(body): Body<UpdateBody>,
) -> Result<Response, Problem> {
    let update = ChatUpdate {
        title: body.title,
        model: body.model,
        agent: body.agent,
        on_busy: body.on_busy,
        parameters: body.parameters,
    };
    let changed = app.chats.update(&chat, update).await?;
    changed_reply(&app, form, changed).await
}

async fn set_agent(
    State(app): State<AppState>,
    form: Form,
    AliasPath(alias): AliasPath,
    chat: OwnedChat,
    Posted {
        body: Nothing {},
        once,
    }: Posted<Nothing>,
) -> Result<Response, Problem> {
    let changed = app.chats.set_agent(&chat, &alias, once.as_ref());
    let changed = changed.await?;
    changed_reply(&app, form, changed).await
}

/// A chat as it is now.
pub(super) async fn changed_reply(
    app: &AppState,
    form: Form,
    changed: Chat,
) -> Result<Response, Problem> {
    match form {
        Form::Json => {
            let view = ChatView::new(changed, &app.chats.defaults());
            reply::json(StatusCode::OK, &view)
        }
        Form::Fragment => {
            // Read again, so that the view has what was changed.
            let chat = app.chats.own(changed.owner_id, changed.id).await?;
            reply::html(StatusCode::OK, main(app, &chat).await?).await
        }
        Form::Page => reply::see_other(&format!("/chat/{}", changed.id)),
    }
}

async fn export(
    State(app): State<AppState>,
    Params(params): Params<ExportParams>,
    chat: OwnedChat,
) -> Result<Response, Problem> {
    let format = match params.format.as_deref() {
        None => ExportFormat::Markdown,
        Some(name) => ExportFormat::parse(name).ok_or_else(|| {
            let detail = "`format` is one of `markdown`, `json` and `text`";
            Problem::new(Kind::MalformedRequest, detail)
        })?,
    };
    let export = app.chats.export(&chat, format).await?;
    let name = format!("chat-{}.{}", chat.row().id, format.ending());
    reply::file(&name, format.media_type(), export.body)
}

async fn delete(
    State(app): State<AppState>,
    Caller(owner): Caller,
    form: Form,
    chat: OwnedChat,
) -> Result<Response, Problem> {
    app.chats.delete_chat(chat).await?;
    match form {
        Form::Json => Ok(reply::no_content()),
        Form::Page => reply::see_other("/"),
        Form::Fragment => {
            let main = home::main(&app.chats, owner).await?;
            let mut response = reply::html_now(StatusCode::OK, &main)?;
            push_url(&mut response, "/")?;
            Ok(response)
        }
    }
}

/// The chat's view with its messages so far.
async fn main(app: &AppState, chat: &OwnedChat) -> Result<ChatMain, Problem> {
    let poll = app.chats.poll_messages(chat, None, None).await?;
    let hint = app.load.poll_after_ms(poll.activity);
    let token_hint = app.load.poll_after_ms(Activity::Flowing);
    Ok(ChatMain::new(poll, &app.chats.defaults(), hint, token_hint))
}

fn push_url(response: &mut Response, path: &str) -> Result<(), Problem> {
    let value = HeaderValue::from_str(path).map_err(|error| Problem::internal(&error))?;
    response.headers_mut().insert(reply::HX_PUSH_URL, value);
    Ok(())
}

//! One chat: create, read, change, delete, export, give it an agent, and send a message to it.

use std::collections::BTreeMap;

use askama::Template as _;
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use entity::chat::{Model as Chat, OnBusy};
use entity::{ChatId, MessageId, Parameters, Timestamp};
use serde::{Deserialize, Deserializer};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::home;
use crate::chat::{
    ChatUpdate, ExportFormat, MessagesPoll, NewChat, NewMessage, Otherwise, OwnedChat, ReadableChat,
};
use crate::http::AppState;
use crate::http::body::{Body, Posted};
use crate::http::extract::{AliasPath, CacheControl, Caller, Form, Params, parse_uuid, shown_path};
use crate::http::openapi::{self, Conflict, OnceKey, Refused, TooLong, Unchanged};
use crate::http::problem::{Kind, Problem};
use crate::http::rate::Rated;
use crate::http::reply;
use crate::http::tag::Seen;
use crate::http::view::chat::{
    ChatMain, ChatPage, ChatView, ComposerSent, CreatedView, DeletedNotice, RenamedFragment,
    SentView,
};
use crate::http::view::export::ExportPage;
use crate::http::view::frame::Frame;
use crate::http::view::home::DeletedFragment;
use crate::model::exchange::{self, ChatDocument};
use crate::model::hint::Activity;

/// Answers of the messages poll that a page begins with, at most: each is as long as one may be (P7).
const MAX_PAGES: usize = 16;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(read, update, delete))
        .routes(routes!(rename))
        .routes(openapi::by_post(
            "/chat/{uuid}/delete",
            delete,
            routes!(delete),
        ))
        .routes(routes!(send))
        .routes(routes!(set_agent))
        .routes(routes!(export))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateBody {
    #[schema(value_type = Option<Uuid>)]
    uuid: Option<String>,
    title: Option<String>,
    agent: Option<String>,
    model: Option<String>,
    message: Option<String>,
    on_busy: Option<OnBusy>,
    parameters: Option<Parameters>,
    /// What the client keeps with the chat for itself: up to 16 pairs, keys of 1 to 64 characters, values of up to 512.
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    metadata: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SendBody {
    #[serde(default)]
    #[schema(required, min_length = 1)]
    message: String,
    #[schema(value_type = Option<Uuid>)]
    uuid: Option<String>,
    on_busy: Option<OnBusy>,
    model: Option<String>,
    parameters: Option<Parameters>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateBody {
    title: Option<String>,
    model: Option<String>,
    agent: Option<String>,
    on_busy: Option<OnBusy>,
    parameters: Option<Parameters>,
    /// All pairs anew; null takes them away.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    metadata: Option<Named<BTreeMap<String, String>>>,
    /// Null takes it away.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<Timestamp>)]
    expires_at: Option<Named<Timestamp>>,
}

/// What is named, be it null.
struct Named<T>(Option<T>);

fn named<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    value: D,
) -> Result<Option<Named<T>>, D::Error> {
    Option::deserialize(value).map(|value| Some(Named(value)))
}

/// Of a form, which knows no PATCH.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RenameBody {
    #[serde(default)]
    #[schema(required, min_length = 1)]
    title: String,
}

/// Others are passed over: an address may have been decorated on its way.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ReadParams {
    /// The last message of the page before.
    #[param(value_type = Option<Uuid>)]
    pub after: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ExportParams {
    format: Option<String>,
}

impl ExportParams {
    fn format(&self) -> Result<ExportFormat, Problem> {
        let Some(name) = &self.format else {
            return Ok(ExportFormat::Markdown);
        };
        ExportFormat::parse(name).ok_or_else(|| {
            let detail = "`format` is one of `markdown`, `json`, `text`, `html` and `pdf`";
            Problem::new(Kind::MalformedRequest, detail)
        })
    }
}

/// A POST that says all in its path.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// Creates a chat, and sends a first message if there is one.
#[utoipa::path(
    post, path = "/chat/create", params(OnceKey), request_body = CreateBody,
    responses((status = CREATED, body = CreatedView), Conflict, Refused)
)]
async fn create(
    State(app): State<AppState>,
    Caller(owner): Caller,
    form: Form,
    CacheControl(cache_use): CacheControl,
    rated: Option<Extension<Rated>>,
    Posted { body, once }: Posted<CreateBody>,
) -> Result<Response, Problem> {
    if let (Some(_), Some(Extension(rated))) = (&body.message, rated) {
        rated.begin_answer().await?;
    }
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
        metadata: body.metadata.unwrap_or_default(),
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
            let main = main(&app, &chat, None).await?;
            let mut response = reply::html(StatusCode::CREATED, main).await?;
            refresh_lists(&mut response);
            push_url(&mut response, &path)?;
            Ok(response)
        }
    }
}

/// A chat.
#[utoipa::path(
    get, path = "/chat/{uuid}", params(ReadParams, Unchanged),
    responses((status = OK, body = ChatView), Unchanged)
)]
async fn read(
    State(app): State<AppState>,
    form: Form,
    headers: HeaderMap,
    frame: Frame,
    Params(params): Params<ReadParams>,
    chat: OwnedChat,
) -> Result<Response, Problem> {
    let after = params.after.map(|text| parse_uuid("after", &text));
    let after = after.transpose()?.map(MessageId);
    match form {
        Form::Json => {
            let view = ChatView::new(chat.row().clone(), &app.chats.defaults());
            Seen::of(&headers).json_of(&view, None)
        }
        Form::Fragment => reply::html(StatusCode::OK, main(&app, &chat, after).await?).await,
        Form::Page => {
            let main = main(&app, &chat, after).await?;
            reply::html(StatusCode::OK, ChatPage { frame, main }).await
        }
    }
}

/// Sends a message, and queues the request for its answer.
#[utoipa::path(
    post, path = "/chat/{uuid}/send", params(OnceKey), request_body = SendBody,
    responses((status = ACCEPTED, body = SentView), Conflict, Refused)
)]
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
            ..Otherwise::default()
        },
    };
    let sent = app.chats.send(&chat, new, once.as_ref()).await?;
    match form {
        Form::Json => {
            let hint = app.load.poll_after_ms(Activity::Flowing);
            reply::json(StatusCode::ACCEPTED, &SentView::new(sent, hint))
        }
        Form::Fragment => {
            let mut response = reply::html_now(StatusCode::ACCEPTED, &ComposerSent {})?;
            refresh_lists(&mut response);
            Ok(response)
        }
        // To the end, where it is.
        Form::Page => reply::see_other(&format!("/chat/{}#end", chat.row().id)),
    }
}

/// Changes what a chat is called, and who answers in it.
#[utoipa::path(
    patch, path = "/chat/{uuid}", request_body = UpdateBody,
    responses((status = OK, body = ChatView), Conflict, Refused)
)]
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
        metadata: body.metadata.map(|Named(pairs)| pairs.unwrap_or_default()),
        expires_at: body.expires_at.map(|Named(at)| at),
    };
    let changed = app.chats.update(&chat, update).await?;
    changed_reply(&app, form, changed).await
}

/// Gives a chat another title.
#[utoipa::path(
    post, path = "/chat/{uuid}/rename", request_body = RenameBody,
    responses((status = OK, body = ChatView))
)]
async fn rename(
    State(app): State<AppState>,
    form: Form,
    headers: HeaderMap,
    chat: OwnedChat,
    Body(RenameBody { title }): Body<RenameBody>,
) -> Result<Response, Problem> {
    let update = ChatUpdate {
        title: Some(title),
        ..ChatUpdate::default()
    };
    let changed = app.chats.update(&chat, update).await?;
    if form != Form::Fragment {
        return changed_reply(&app, form, changed).await;
    }
    // The page may show another chat, whose heading stays.
    let is_shown = is_at(&headers, &format!("/chat/{}", changed.id));
    let renamed = RenamedFragment {
        chat: ChatView::new(changed, &app.chats.defaults()),
        is_shown,
    };
    let mut response = reply::html_now(StatusCode::OK, &renamed)?;
    refresh_lists(&mut response);
    Ok(response)
}

/// Gives an empty chat an agent.
#[utoipa::path(
    post, path = "/chat/{uuid}/agent/{alias}", params(OnceKey),
    responses((status = OK, body = ChatView), Conflict, Refused)
)]
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
            reply::html(StatusCode::OK, main(app, &chat, None).await?).await
        }
        Form::Page => reply::see_other(&format!("/chat/{}", changed.id)),
    }
}

/// A chat as a file.
#[utoipa::path(
    get, path = "/chat/{uuid}/export", params(ExportParams),
    responses((status = OK, content(
        (String = "text/markdown"),
        (ChatDocument = "application/json"),
        (String = "text/plain"),
        (String = "text/html"),
        (Vec<u8> = "application/pdf"))), TooLong)
)]
async fn export(
    State(app): State<AppState>,
    Params(params): Params<ExportParams>,
    chat: OwnedChat,
) -> Result<Response, Problem> {
    export_reply(&app, &params, &chat).await
}

/// A chat that may be read, as a file.
pub(super) async fn export_reply(
    app: &AppState,
    params: &ExportParams,
    chat: &(impl ReadableChat + Sync),
) -> Result<Response, Problem> {
    let format = params.format()?;
    let document = app.chats.export(chat).await?;
    let name = format!("chat-{}.{}", chat.row().id, format.ending());
    let body = match format {
        ExportFormat::Markdown => exchange::as_markdown(&document).into_bytes(),
        ExportFormat::Text => exchange::as_text(&document).into_bytes(),
        ExportFormat::Json => {
            serde_json::to_vec(&document).map_err(|error| Problem::internal(&error))?
        }
        ExportFormat::Html => reply::rendered(move || ExportPage::new(document).render())
            .await?
            .into_bytes(),
        ExportFormat::Pdf => app.printer.print(document).await?,
    };
    reply::file(&name, format.media_type(), body)
}

/// Deletes a chat.
#[utoipa::path(delete, path = "/chat/{uuid}", responses((status = NO_CONTENT)))]
async fn delete(
    State(app): State<AppState>,
    Caller(owner): Caller,
    form: Form,
    frame: Frame,
    headers: HeaderMap,
    chat: OwnedChat,
) -> Result<Response, Problem> {
    let (id, title) = (chat.row().id, chat.row().title.clone());
    app.chats.delete_chat(chat).await?;
    match form {
        Form::Json => Ok(reply::no_content()),
        Form::Page => reply::see_other(&format!("/?deleted={id}")),
        Form::Fragment => {
            // A page that shows the chat goes home; any other one stays where it is.
            let is_shown = is_at(&headers, &format!("/chat/{id}"));
            let main = if is_shown {
                Some(home::main(&app.chats, owner, frame).await?)
            } else {
                None
            };
            let notice = app.chats.deleted_title(owner, id).await?;
            let deleted = DeletedFragment {
                chat: id,
                main,
                notice: notice.map(|_| DeletedNotice { chat: id, title }),
            };
            let mut response = reply::html_now(StatusCode::OK, &deleted)?;
            if is_shown {
                let headers = response.headers_mut();
                headers.insert(reply::HX_RETARGET, HeaderValue::from_static("#main"));
                headers.insert(reply::HX_RESWAP, HeaderValue::from_static("outerHTML"));
                push_url(&mut response, "/")?;
            }
            refresh_lists(&mut response);
            Ok(response)
        }
    }
}

/// Whether the page that HTMX asks from is the one of this path.
fn is_at(headers: &HeaderMap, path: &str) -> bool {
    shown_path(headers).is_some_and(|shown| shown == path)
}

/// The lists of chats on the page look again.
pub(super) fn refresh_lists(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(reply::HX_TRIGGER, HeaderValue::from_static("pollen:chats"));
}

/// The chat's view with its messages so far, but for as many as would take too long.
pub(super) async fn main(
    app: &AppState,
    chat: &OwnedChat,
    after: Option<MessageId>,
) -> Result<ChatMain, Problem> {
    let poll = first_pages(app, chat, after).await?;
    let hint = app.load.poll_after_ms(poll.activity);
    let token_hint = app.load.poll_after_ms(Activity::Flowing);
    let (defaults, now) = (app.chats.defaults(), app.chats.now());
    Ok(ChatMain::new(poll, &defaults, now, (hint, token_hint)))
}

/// The messages that a page begins with.
pub(super) async fn first_pages(
    app: &AppState,
    chat: &impl ReadableChat,
    after: Option<MessageId>,
) -> Result<MessagesPoll, Problem> {
    let mut poll = app.chats.poll_messages(chat, after, None).await?;
    for _ in 1..MAX_PAGES {
        if !poll.has_more {
            break;
        }
        let next = app.chats.poll_messages(chat, poll.cursor, None).await?;
        poll.new.extend(next.new);
        poll.cursor = next.cursor;
        poll.has_more = next.has_more;
        poll.activity = next.activity;
    }
    Ok(poll)
}

pub(super) fn push_url(response: &mut Response, path: &str) -> Result<(), Problem> {
    let value = HeaderValue::from_str(path).map_err(|error| Problem::internal(&error))?;
    response.headers_mut().insert(reply::HX_PUSH_URL, value);
    Ok(())
}

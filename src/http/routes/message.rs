//! One message: read, edit, delete, cancel, ask again, its versions, and the token poll of it.

use askama::Template as _;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use entity::chat_message::Status;
use entity::{MessageId, OwnerId, Parameters};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::chat::{
    Again, Awaited, Cursors, MessageRead, Once, Otherwise, Reader, Sent, TokensPoll,
};
use crate::http::AppState;
use crate::http::body::{Body, Posted};
use crate::http::counts::{Kind, Outcome};
use crate::http::extract::{
    CacheControl, Caller, Form, MessagePath, NumberPath, Params, TokensPath, parse_position,
};
use crate::http::hold::{Hold, Look};
use crate::http::openapi::{self, Conflict, OnceKey, Refused, Unchanged, WaitPreference};
use crate::http::problem::Problem;
use crate::http::reply;
use crate::http::tag::{Seen, Tag};
use crate::http::view::chat::SentView;
use crate::http::view::message::{MessageFragment, MessageView};
use crate::http::view::place::Place;
use crate::http::view::poller::keeps_pace;
use crate::http::view::tokens::{
    PageRead, TokensEndFragment, TokensFragment, TokensRestFragment, TokensView,
};
use crate::http::view::versions::{CancelledView, VersionsView};
use crate::model::delta::MAX_DELTA_BYTES;
use crate::model::hint::Activity;
use crate::model::position::Position;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(read, edit, delete))
        .routes(openapi::by_post(
            "/chat/message/{uuid}/edit",
            edit,
            routes!(edit),
        ))
        .routes(openapi::by_post(
            "/chat/message/{uuid}/delete",
            delete,
            routes!(delete),
        ))
        .routes(routes!(cancel))
        .routes(routes!(retry))
        .routes(routes!(regenerate))
        .routes(routes!(versions))
        .routes(routes!(select))
        .routes(routes!(tokens))
        .routes(openapi::at("/chat/message/{uuid}/tokens/", routes!(tokens)))
        .routes(openapi::at("/chat/message/{uuid}/tokens", routes!(tokens)))
}

/// Text that is rendered in some ten microseconds, whatever is in it.
const LITTLE_TEXT_BYTES: usize = 512;

/// A POST that says all in its path.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// What is to be different this time.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AgainBody {
    model: Option<String>,
    parameters: Option<Parameters>,
}

/// Others are passed over: a proxy may need an address that is never the same.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct TokensParams {
    /// Where the client has read what the model thinks to; without it, it does not want to.
    #[param(value_type = Option<Position>)]
    pub(super) reasoning: Option<String>,
    /// Of a page: bytes before the position that are in a block which may still change.
    #[serde(default)]
    pub(super) open: usize,
    /// Of a page: milliseconds between its polls.
    after: Option<u64>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EditBody {
    #[serde(default)]
    #[schema(required, min_length = 1)]
    message: String,
}

/// A message.
#[utoipa::path(
    get, path = "/chat/message/{uuid}", params(Unchanged),
    responses((status = OK, body = MessageView), Unchanged)
)]
async fn read(
    State(app): State<AppState>,
    Caller(owner): Caller,
    form: Form,
    headers: HeaderMap,
    MessagePath(id): MessagePath,
) -> Result<Response, Problem> {
    let message = app.chats.message(owner, id).await?;
    match form {
        Form::Json => Seen::of(&headers).json_of(&MessageView::new(message), None),
        Form::Fragment | Form::Page => {
            let hint = app.load.poll_after_ms(Activity::Flowing);
            reply::html(StatusCode::OK, MessageFragment::new(message, hint)).await
        }
    }
}

/// Deletes a message.
#[utoipa::path(delete, path = "/chat/message/{uuid}", responses((status = NO_CONTENT), Conflict))]
async fn delete(
    State(app): State<AppState>,
    Caller(owner): Caller,
    form: Form,
    MessagePath(id): MessagePath,
) -> Result<Response, Problem> {
    let chat = match form {
        Form::Page => Some(app.chats.message(owner, id).await?.row.chat_id),
        Form::Json | Form::Fragment => None,
    };
    app.chats.delete_message(owner, id).await?;
    match (form, chat) {
        (Form::Json, _) => Ok(reply::no_content()),
        (Form::Page, Some(chat)) => reply::see_other(&format!("/chat/{chat}")),
        // HTMX swaps nothing on a 204; the empty fragment takes the message's place.
        (Form::Fragment | Form::Page, _) => Ok(reply::empty()),
    }
}

/// Says a message otherwise, and asks again.
#[utoipa::path(
    put, path = "/chat/message/{uuid}", request_body = EditBody,
    responses((status = ACCEPTED, body = SentView), Conflict, Refused)
)]
async fn edit(
    State(app): State<AppState>,
    Caller(owner): Caller,
    form: Form,
    CacheControl(cache_use): CacheControl,
    MessagePath(id): MessagePath,
    Body(body): Body<EditBody>,
) -> Result<Response, Problem> {
    let edited = app.chats.edit(owner, id, body.message, cache_use);
    let sent = edited.await?;
    sent_reply(&app, form, sent).await
}

/// Stops an answer, or takes back a question.
#[utoipa::path(
    post, path = "/chat/message/{uuid}/cancel", params(OnceKey),
    responses((status = OK, body = CancelledView))
)]
async fn cancel(
    State(app): State<AppState>,
    Caller(owner): Caller,
    form: Form,
    MessagePath(id): MessagePath,
    Posted {
        body: Nothing {},
        once,
    }: Posted<Nothing>,
) -> Result<Response, Problem> {
    let done = app.chats.cancel(owner, id, once.as_ref()).await?;
    match form {
        Form::Json => reply::json(StatusCode::OK, &CancelledView::new(done)),
        Form::Fragment | Form::Page => message_reply(&app, form, done.message).await,
    }
}

/// Asks again for an answer that failed or was stopped.
#[utoipa::path(
    post, path = "/chat/message/{uuid}/retry", params(OnceKey), request_body = AgainBody,
    responses((status = ACCEPTED, body = SentView), Conflict, Refused)
)]
async fn retry(
    State(app): State<AppState>,
    Caller(owner): Caller,
    form: Form,
    cache: CacheControl,
    MessagePath(id): MessagePath,
    posted: Posted<AgainBody>,
) -> Result<Response, Problem> {
    again(&app, (owner, id), form, Again::Retry, cache, posted).await
}

/// Asks for another answer.
#[utoipa::path(
    post, path = "/chat/message/{uuid}/regenerate", params(OnceKey), request_body = AgainBody,
    responses((status = ACCEPTED, body = SentView), Conflict, Refused)
)]
async fn regenerate(
    State(app): State<AppState>,
    Caller(owner): Caller,
    form: Form,
    cache: CacheControl,
    MessagePath(id): MessagePath,
    posted: Posted<AgainBody>,
) -> Result<Response, Problem> {
    again(&app, (owner, id), form, Again::Regenerate, cache, posted).await
}

async fn again(
    app: &AppState,
    (owner, id): (OwnerId, MessageId),
    form: Form,
    again: Again,
    CacheControl(cache_use): CacheControl,
    Posted { body, once }: Posted<AgainBody>,
) -> Result<Response, Problem> {
    let otherwise = &Otherwise {
        model: body.model,
        parameters: body.parameters,
        cache_use,
        ..Otherwise::default()
    };
    let once: Option<&Once> = once.as_ref();
    let asked = app.chats.ask_again(owner, id, again, otherwise, once);
    sent_reply(app, form, asked.await?).await
}

/// The texts that a message has had.
#[utoipa::path(
    get, path = "/chat/message/{uuid}/versions",
    responses((status = OK, body = VersionsView))
)]
async fn versions(
    State(app): State<AppState>,
    Caller(owner): Caller,
    form: Form,
    MessagePath(id): MessagePath,
) -> Result<Response, Problem> {
    let view = VersionsView::new(app.chats.versions(owner, id).await?);
    match form {
        Form::Json => reply::json(StatusCode::OK, &view),
        Form::Fragment | Form::Page => reply::html(StatusCode::OK, view).await,
    }
}

/// Shows another one of them.
#[utoipa::path(
    post, path = "/chat/message/{uuid}/versions/{number}/select", params(OnceKey),
    responses((status = OK, body = MessageView), Conflict)
)]
async fn select(
    State(app): State<AppState>,
    Caller(owner): Caller,
    form: Form,
    MessagePath(id): MessagePath,
    NumberPath(number): NumberPath,
    Posted {
        body: Nothing {},
        once,
    }: Posted<Nothing>,
) -> Result<Response, Problem> {
    let chosen = app.chats.select_version(owner, id, number, once.as_ref());
    let message = chosen.await?;
    match form {
        Form::Json => reply::json(StatusCode::OK, &MessageView::new(message)),
        Form::Fragment | Form::Page => message_reply(&app, form, message).await,
    }
}

/// Something has been queued: what a send answers, or the message on the page.
async fn sent_reply(app: &AppState, form: Form, sent: Sent) -> Result<Response, Problem> {
    match form {
        Form::Json => {
            let hint = app.load.poll_after_ms(Activity::Flowing);
            reply::json(StatusCode::ACCEPTED, &SentView::new(sent, hint))
        }
        Form::Fragment | Form::Page => {
            let message = MessageRead::stored(sent.message, MAX_DELTA_BYTES);
            message_reply(app, form, message).await
        }
    }
}

/// The message in place of what the page shows of it; without script, the page again.
pub(super) async fn message_reply(
    app: &AppState,
    form: Form,
    message: MessageRead,
) -> Result<Response, Problem> {
    if form == Form::Page {
        let row = message.row;
        return reply::see_other(&format!("/chat/{}#message-{}", row.chat_id, row.id));
    }
    let hint = app.load.poll_after_ms(Activity::Flowing);
    reply::html(StatusCode::OK, MessageFragment::new(message, hint)).await
}

/// The text since a position.
#[utoipa::path(
    get, path = "/chat/message/{uuid}/tokens/{position}", params(TokensParams, Unchanged, WaitPreference),
    responses((status = OK, body = TokensView), Unchanged)
)]
async fn tokens(
    State(app): State<AppState>,
    Caller(owner): Caller,
    form: Form,
    headers: HeaderMap,
    hold: Hold,
    TokensPath { message, position }: TokensPath,
    Params(params): Params<TokensParams>,
) -> Result<Response, Problem> {
    let reader = (owner.into(), Place::Owners);
    let asked = TokensAsked::new(form, &headers, position, &params)?;
    tokens_reply(&app, reader, message, asked, hold).await
}

/// What is new of a message's text, for who reads it here.
pub(super) async fn tokens_reply(
    app: &AppState,
    (reader, place): (Reader, Place),
    id: MessageId,
    asked: TokensAsked,
    hold: Hold,
) -> Result<Response, Problem> {
    let ask = || async { Ok(app.chats.poll_tokens(reader, id, asked.cursors).await?) };
    let poll = ask().await?;
    if !hold.is_wanted() {
        return tokens_found(app, (reader, place), id, asked, poll).await;
    }
    let look = |poll: &TokensPoll| Look {
        is_new: asked.is_news(poll),
        activity: poll.activity,
    };
    let awaited = [Awaited::Message(id)];
    let found = Box::pin(hold.until_new(app, &awaited, poll, look, ask));
    let (poll, applied) = found.await?.into_parts();
    let response = tokens_found(app, (reader, place), id, asked, poll).await?;
    Ok(applied.tell(response))
}

async fn tokens_found(
    app: &AppState,
    (reader, place): (Reader, Place),
    id: MessageId,
    asked: TokensAsked,
    poll: TokensPoll,
) -> Result<Response, Problem> {
    app.counts.polled(Kind::Tokens, Outcome::of_tokens(&poll));
    let hint = app.load.poll_after_ms(poll.activity);
    if asked.is_little(&poll) {
        return asked.reply(&place, poll, hint);
    }
    if poll.status != Status::Pending {
        let message = Box::pin(app.chats.message(reader, id)).await?;
        return Box::pin(end_reply(place, poll, message, (asked.read, hint))).await;
    }
    let rendering = move || TokensFragment::new(&place, poll, asked.read, hint).render();
    Box::pin(reply::html_of(StatusCode::OK, rendering)).await
}

/// What a token poll asks for.
pub(in crate::http) struct TokensAsked {
    form: Form,
    /// What a program has answers of.
    seen: Seen,
    pub cursors: Cursors,
    read: PageRead,
    /// Of a page: milliseconds between its polls.
    after: Option<u64>,
}

impl TokensAsked {
    pub fn new(
        form: Form,
        headers: &HeaderMap,
        position: Position,
        params: &TokensParams,
    ) -> Result<Self, Problem> {
        let reasoning = params.reasoning.as_deref().map(parse_position);
        // A page is shown the last block anew, as long as it may change.
        let read = PageRead {
            position,
            open_bytes: params.open,
        };
        let cursors = Cursors {
            text: match form {
                Form::Json => position,
                Form::Fragment | Form::Page => read.from(),
            },
            reasoning: reasoning.transpose()?,
        };
        Ok(Self {
            form,
            seen: Seen::of(headers),
            cursors,
            read,
            after: params.after,
        })
    }

    /// Whether the answer is made in less time than it takes to hand that over to another thread.
    pub fn is_little(&self, poll: &TokensPoll) -> bool {
        let is_short = || {
            let thoughts = poll.reasoning.as_ref();
            let thoughts = thoughts.map_or(0, |delta| delta.tokens.len());
            poll.delta.tokens.len() + thoughts <= LITTLE_TEXT_BYTES
        };
        let is_written = poll.status == Status::Pending;
        self.form == Form::Json || (is_written && (self.has_all_of(poll) || is_short()))
    }

    /// Whether there is something in it that the client does not have.
    fn is_news(&self, poll: &TokensPoll) -> bool {
        match self.form {
            Form::Json => poll.is_new() && !self.seen.has(&Tag::of_tokens(poll)),
            Form::Fragment | Form::Page => poll.status != Status::Pending || !self.has_all_of(poll),
        }
    }

    /// The answer of a poll that [`Self::is_little`].
    pub fn reply(&self, place: &Place, poll: TokensPoll, hint: u64) -> Result<Response, Problem> {
        if self.form == Form::Json {
            let tag = Tag::of_tokens(&poll);
            let view = || reply::json(StatusCode::OK, &TokensView::new(poll, hint));
            return self.seen.json(&tag, Some(hint), view);
        }
        if self.has_all_of(&poll) && keeps_pace(self.after, hint) {
            return Ok(reply::no_content());
        }
        let fragment = TokensFragment::new(place, poll, self.read, hint);
        reply::html_now(StatusCode::OK, &fragment)
    }

    fn has_all_of(&self, poll: &TokensPoll) -> bool {
        let reasoning = poll.reasoning.as_ref().zip(self.cursors.reasoning);
        self.read.has_all_of(&poll.delta)
            && reasoning.is_none_or(|(delta, position)| delta.append && delta.position == position)
    }
}

/// The end of an answer for a page that has read it so far: what is missing, or all of it.
async fn end_reply(
    place: Place,
    poll: TokensPoll,
    message: MessageRead,
    (read, hint): (PageRead, u64),
) -> Result<Response, Problem> {
    reply::html_of(StatusCode::OK, move || {
        match TokensRestFragment::new(&place, &poll, &message, read, hint) {
            Some(rest) => rest.render(),
            None => TokensEndFragment::new(&place, message, hint).render(),
        }
    })
    .await
}

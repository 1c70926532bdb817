//! `/v1/responses`: answers that are asked for by one request and polled by others.

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use entity::chat_message::{Model as Message, Role};
use entity::{OwnerId, RequestId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::asked::{ResponseCreate, not_found};
use super::error::once_asked;
use super::ids;
use super::object::ResponseObject;
use super::page::{Page, PageParams};
use crate::chat::{Awaited, Cursors, Response as Answered};
use crate::http::AppState;
use crate::http::body::{Uploaded, at_path};
use crate::http::extract::{CacheControl, Caller, NamePath, Params, parse_position};
use crate::http::hold::{Hold, LongestHold, Look};
use crate::http::openapi::{OnceKey, Refused};
use crate::http::problem::{Kind, Problem};
use crate::http::reply;
use crate::model::hint::Activity;
use crate::model::position::Position;

/// Milliseconds until the next poll, where OpenAI's libraries look for them.
pub(super) const POLL_AFTER_MS: HeaderName = HeaderName::from_static("openai-poll-after-ms");

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(read, delete))
        .routes(routes!(cancel))
        .routes(routes!(input_items))
}

/// Asks for an answer.
#[utoipa::path(
    post, path = "/v1/responses", params(OnceKey), request_body = ResponseCreate,
    responses((status = OK, body = ResponseObject), Refused)
)]
async fn create(
    State(app): State<AppState>,
    Caller(owner): Caller,
    CacheControl(cache_use): CacheControl,
    LongestHold(hold): LongestHold,
    uploaded: Uploaded,
) -> Result<Response, Problem> {
    let new = body_of::<ResponseCreate>(&uploaded)?.read(cache_use)?;
    let hold = (!new.asked_as.background).then_some(hold);
    let once = uploaded.once.as_ref();
    let request = app.chats.respond(owner, new, once).await?;
    let answered = asked(&app, (owner, request), hold, once.is_some()).await?;
    reply_with(&app, &answered)
}

/// What has come of a question that has just been asked, at once or as soon as it is over. `may_repeat`: it came with a
/// key, so that to ask again is harmless; else a client is told not to.
pub(super) async fn asked(
    app: &AppState,
    (owner, request): (OwnerId, RequestId),
    hold: Option<Hold>,
    may_repeat: bool,
) -> Result<Answered, Problem> {
    let found = async {
        let answered = app.chats.response(owner, request.0).await?;
        match hold {
            Some(hold) => until_over(app, hold, owner, answered).await,
            None => Ok(answered),
        }
    };
    found.await.map_err(|problem: Problem| {
        if may_repeat {
            return problem;
        }
        once_asked(problem, &ids::write(ids::RESPONSE, request.0))
    })
}

/// What it has come to when it is over, or when the server's longest wait is.
async fn until_over(
    app: &AppState,
    hold: Hold,
    owner: OwnerId,
    answered: Answered,
) -> Result<Answered, Problem> {
    let (awaited, id) = ([Awaited::Chat(answered.chat.id)], answered.id());
    let look = |answered: &Answered| Look {
        is_new: answered.is_over(),
        activity: Activity::Flowing,
    };
    let ask = || async { Ok(app.chats.response(owner, id).await?) };
    let found = Box::pin(hold.until_new(app, &awaited, answered, look, ask));
    Ok(found.await?.into_parts().0)
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ReadParams {
    /// Only what is new of the text since this position, as `pollen.position` said it.
    #[param(value_type = Option<Position>)]
    starting_after: Option<String>,
    /// Only `false`.
    stream: Option<bool>,
}

/// A response with its text so far, or with what is new of it.
#[utoipa::path(
    get, path = "/v1/responses/{id}", params(ReadParams),
    responses((status = OK, body = ResponseObject))
)]
async fn read(
    State(app): State<AppState>,
    Caller(owner): Caller,
    NamePath(id): NamePath,
    Params(params): Params<ReadParams>,
) -> Result<Response, Problem> {
    super::asked::refuse_stream(params.stream, "responses")?;
    let uuid = response_id(&id)?;
    let Some(position) = params.starting_after else {
        let answered = app.chats.response(owner, uuid).await;
        return reply_with(&app, &answered.map_err(|error| of_id(error.into(), &id))?);
    };
    let position = parse_position(&position);
    let position =
        position.map_err(|problem| problem.of_param("starting_after", "invalid_value"))?;
    let answered = app.chats.response(owner, uuid).await;
    let answered = answered.map_err(|error| of_id(error.into(), &id))?;
    let Some(answer) = answered.answer.as_ref().filter(|_| answered.is_shown) else {
        // Nothing yet, behind nothing; or else the whole text, in the place of any other.
        let is_behind = answered.answer.is_none() && position == Position::START;
        let mut object = ResponseObject::new(&answered, app.load.poll_after_ms(Activity::Flowing));
        object.pollen.append = Some(is_behind);
        return reply_object(&object);
    };
    let cursors = Cursors {
        text: position,
        reasoning: None,
    };
    let poll = app.chats.poll_tokens(owner, answer.row.id, cursors).await?;
    let hint = app.load.poll_after_ms(poll.activity);
    let object = ResponseObject::new(&answered, hint).since(poll, hint);
    reply_object(&object)
}

/// What has become of a deletion.
#[derive(Serialize, ToSchema)]
#[schema(as = ApiDeleted)]
struct Deletion {
    #[schema(example = "resp_01990f5e7c1a7b6e9f0a3c5d8e2b4a62")]
    id: String,
    #[schema(pattern = "^response$")]
    object: &'static str,
    #[schema(example = true)]
    deleted: bool,
}

/// Deletes a response with its question. What is under way is ended first.
#[utoipa::path(
    delete, path = "/v1/responses/{id}", responses((status = OK, body = Deletion))
)]
async fn delete(
    State(app): State<AppState>,
    Caller(owner): Caller,
    NamePath(id): NamePath,
) -> Result<Response, Problem> {
    let deleted = app.chats.delete_response(owner, response_id(&id)?).await;
    deleted.map_err(|error| of_id(error.into(), &id))?;
    let deletion = Deletion {
        id,
        object: "response",
        deleted: true,
    };
    reply::json(StatusCode::OK, &deletion)
}

/// Ends a response that is under way or waits. One that is over stays as it is.
#[utoipa::path(
    post, path = "/v1/responses/{id}/cancel", responses((status = OK, body = ResponseObject))
)]
async fn cancel(
    State(app): State<AppState>,
    Caller(owner): Caller,
    NamePath(id): NamePath,
) -> Result<Response, Problem> {
    let cancelled = app.chats.cancel_response(owner, response_id(&id)?).await;
    let cancelled = cancelled.map_err(|error| of_id(error.into(), &id))?;
    reply_with(&app, &cancelled)
}

/// Something that the model was given.
#[derive(Serialize, ToSchema)]
#[schema(as = ApiGivenItem)]
struct GivenItem {
    id: String,
    #[serde(rename = "type")]
    #[schema(pattern = "^message$")]
    kind: &'static str,
    /// `user`, `assistant` or `system`.
    #[schema(example = "user")]
    role: &'static str,
    #[schema(pattern = "^completed$")]
    status: &'static str,
    content: Vec<GivenPart>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ApiGivenPart)]
struct GivenPart {
    /// `input_text`, or `output_text` of an answer.
    #[serde(rename = "type")]
    #[schema(example = "input_text")]
    kind: &'static str,
    text: String,
    /// Of an answer, and always empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = json!(null))]
    annotations: Option<Vec<String>>,
}

impl GivenItem {
    fn new(message: Message) -> Self {
        let (role, kind) = match message.role {
            Role::User => ("user", "input_text"),
            Role::System => ("system", "input_text"),
            Role::Assistant | Role::Agent => ("assistant", "output_text"),
        };
        Self {
            id: ids::write(ids::MESSAGE, message.id.0),
            kind: "message",
            role,
            status: "completed",
            content: vec![GivenPart {
                kind,
                text: message.content,
                annotations: (role == "assistant").then(Vec::new),
            }],
        }
    }
}

/// What the model was given: the turns before the question, and that. What an agent says is not told.
#[utoipa::path(
    get, path = "/v1/responses/{id}/input_items", params(PageParams),
    responses((status = OK, body = Page<GivenItem>))
)]
async fn input_items(
    State(app): State<AppState>,
    Caller(owner): Caller,
    NamePath(id): NamePath,
    Params(params): Params<PageParams>,
) -> Result<Response, Problem> {
    let given = app.chats.response_input(owner, response_id(&id)?).await;
    let given = given.map_err(|error| of_id(error.into(), &id))?;
    let items: Vec<GivenItem> = given.into_iter().map(GivenItem::new).collect();
    let page = params.of(items, |item: &GivenItem| item.id.clone())?;
    reply::json(StatusCode::OK, &page)
}

/// A body, whose mistakes are named by their parameters.
pub(super) fn body_of<T: serde::de::DeserializeOwned>(uploaded: &Uploaded) -> Result<T, Problem> {
    let body: &[u8] = if uploaded.body.is_empty() {
        b"{}"
    } else {
        &uploaded.body
    };
    at_path("", body)
}

fn response_id(id: &str) -> Result<Uuid, Problem> {
    ids::read(id).ok_or_else(|| no_such_response(id))
}

fn no_such_response(id: &str) -> Problem {
    let detail = format!("there is no response {:?}", ids::quoted(id));
    not_found(detail, "id", "response_not_found")
}

/// The problem, told with the id as the program wrote it.
fn of_id(problem: Problem, id: &str) -> Problem {
    if problem.kind == Kind::MessageNotFound {
        no_such_response(id)
    } else {
        problem
    }
}

fn reply_with(app: &AppState, answered: &Answered) -> Result<Response, Problem> {
    let hint = app.load.poll_after_ms(Activity::Flowing);
    reply_object(&ResponseObject::new(answered, hint))
}

fn reply_object(object: &ResponseObject) -> Result<Response, Problem> {
    let response = reply::json(StatusCode::OK, object)?;
    Ok(with_hint(response, object.pollen.poll_after_ms))
}

/// `hint`: milliseconds until the next poll; none if there is nothing to wait for.
pub(super) fn with_hint(mut response: Response, hint: Option<u64>) -> Response {
    if let Some(hint) = hint {
        let headers = response.headers_mut();
        headers.insert(POLL_AFTER_MS, HeaderValue::from(hint));
    }
    response
}

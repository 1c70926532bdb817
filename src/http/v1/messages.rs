//! `/v1/threads/{thread_id}/messages`: what is said in a chat. Whatever is said on the page shows here too.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use entity::ChatId;
use entity::MessageId;
use entity::chat_message::{Model as Message, Role, Status as RowStatus};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::asked::{not_found, refuse_others};
use super::ids;
use super::input::Content;
use super::object::ItemStatus;
use super::page::{Page, PageParams};
use super::responses::body_of;
use super::threads::{Deletion, thread_id};
use crate::chat::{MessageRead, Said, ThreadMessage};
use crate::http::AppState;
use crate::http::body::Uploaded;
use crate::http::extract::{Caller, NamePath, NamePaths, Params};
use crate::http::openapi::{OnceKey, Refused};
use crate::http::problem::Problem;
use crate::http::reply;
use crate::model::failure::FailureCode;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(read, delete))
}

/// Something that is said.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ApiMessageCreate)]
pub(super) struct MessageCreate {
    /// `user` or `assistant`.
    #[schema(example = "user", required)]
    role: Option<String>,
    #[schema(required)]
    content: Option<Content>,
    /// Only an empty set: messages keep none.
    #[schema(example = json!({}))]
    metadata: Option<BTreeMap<String, String>>,
    #[serde(flatten)]
    #[schema(ignore)]
    others: BTreeMap<String, Value>,
}

/// Parameters that would have to change something, and cannot here. Those that ask for nothing are taken.
const REFUSED: [(&str, &str); 1] = [("attachments", "this server takes no files")];

impl MessageCreate {
    /// What is said. `at`: where the message stands, to its dot.
    ///
    /// # Errors
    /// Names the parameter that cannot be taken.
    pub fn read(self, at: &str) -> Result<Said, Problem> {
        let missing = |name: &str| {
            let param = format!("{at}{name}");
            let detail = format!("`{param}` is missing");
            Problem::param(param, "missing_required_parameter", detail)
        };
        refuse_others(&self.others, &[], &REFUSED)?;
        if self.metadata.is_some_and(|pairs| !pairs.is_empty()) {
            let param = format!("{at}metadata");
            let detail = format!("`{param}`: messages keep none here; threads and runs do");
            return Err(Problem::param(param, "unsupported_parameter", detail));
        }
        let role = match self.role.as_deref() {
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            Some(role) => {
                let param = format!("{at}role");
                let detail = format!(
                    "`{param}` is {role:?}; it must be `user` or `assistant`. What the system is to say goes into the \
                     run's `instructions` or `additional_instructions`"
                );
                return Err(Problem::param(param, "invalid_value", detail));
            }
            None => return Err(missing("role")),
        };
        let content = self.content.ok_or_else(|| missing("content"))?;
        let text = content.read(&format!("{at}content"))?;
        Ok(Said { role, text })
    }
}

/// A message.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiThreadMessage)]
struct MessageObject {
    #[schema(example = "msg_01990f5e7c1a7b6e9f0a3c5d8e2b4a62")]
    id: String,
    #[schema(pattern = "^thread\\.message$")]
    object: &'static str,
    /// Seconds since 1970, as all times here.
    #[schema(example = 1_758_500_000)]
    created_at: i64,
    #[schema(example = "thread_01990f5e7c1a7b6e9f0a3c5d8e2b4a62")]
    thread_id: String,
    status: ItemStatus,
    #[schema(example = json!(null))]
    incomplete_details: Option<MessageIncomplete>,
    completed_at: Option<i64>,
    #[schema(example = json!(null))]
    incomplete_at: Option<i64>,
    /// `user` or `assistant`.
    #[schema(example = "assistant")]
    role: &'static str,
    /// One text; that of an answer grows.
    content: Vec<MessagePart>,
    /// Who wrote it, as the run named them.
    #[schema(example = "asst_tutor")]
    assistant_id: Option<String>,
    #[schema(example = "run_01990f5e7c1a7b6e9f0a3c5d8e2b4a62")]
    run_id: Option<String>,
    /// Always empty.
    #[schema(example = json!([]))]
    attachments: Vec<String>,
    /// Always empty.
    #[schema(example = json!({}))]
    metadata: BTreeMap<String, String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiThreadMessageIncomplete)]
struct MessageIncomplete {
    /// `max_tokens`, `content_filter`, `run_cancelled` or `run_failed`.
    #[schema(example = "run_cancelled")]
    reason: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiThreadMessagePart)]
struct MessagePart {
    #[serde(rename = "type")]
    #[schema(pattern = "^text$")]
    kind: &'static str,
    text: PartText,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiThreadMessageText)]
struct PartText {
    value: String,
    /// Always empty.
    #[schema(example = json!([]))]
    annotations: Vec<String>,
}

impl MessageObject {
    fn new(message: ThreadMessage) -> Self {
        let ThreadMessage { read, run } = message;
        let MessageRead { row, content, .. } = read;
        let reason = incomplete_reason(&row);
        let status = match row.status {
            RowStatus::Pending => ItemStatus::InProgress,
            RowStatus::Completed if reason.is_none() => ItemStatus::Completed,
            RowStatus::Completed | RowStatus::Failed | RowStatus::Cancelled => {
                ItemStatus::Incomplete
            }
        };
        let ended_at = row.completed_at.map(|at| at.0 / 1000);
        let role = match row.role {
            Role::User => "user",
            Role::Assistant | Role::Agent | Role::System => "assistant",
        };
        let asked_as = run.as_ref().and_then(|run| run.asked_as.as_ref());
        Self {
            id: ids::write(ids::MESSAGE, row.id.0),
            object: "thread.message",
            created_at: row.created_at.0 / 1000,
            thread_id: ids::write(ids::THREAD, row.chat_id.0),
            status,
            incomplete_details: reason.map(|reason| MessageIncomplete { reason }),
            completed_at: ended_at.filter(|_| status == ItemStatus::Completed),
            incomplete_at: ended_at.filter(|_| status == ItemStatus::Incomplete),
            role,
            content: vec![MessagePart {
                kind: "text",
                text: PartText {
                    value: content,
                    annotations: Vec::new(),
                },
            }],
            assistant_id: asked_as.and_then(|asked_as| asked_as.assistant.clone()),
            run_id: run.map(|run| ids::write(ids::RUN, run.id.0)),
            attachments: Vec::new(),
            metadata: BTreeMap::new(),
        }
    }
}

/// Why a message is not whole, if it is over and is not.
fn incomplete_reason(row: &Message) -> Option<&'static str> {
    let code = row.error_code.as_deref().and_then(FailureCode::parse);
    let origin = row.origin.as_ref();
    let finish = origin.and_then(|origin| origin.finish_reason.as_deref());
    match (row.status, code) {
        (RowStatus::Pending, _) => None,
        (_, Some(FailureCode::ContentFilter)) => Some("content_filter"),
        (_, Some(FailureCode::AnswerTooLong)) => Some("max_tokens"),
        (RowStatus::Completed, _) => finish.filter(|why| *why == "length").map(|_| "max_tokens"),
        (RowStatus::Cancelled, _) => Some("run_cancelled"),
        (RowStatus::Failed, _) => Some("run_failed"),
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct RunFilter {
    /// Only what this run has written.
    run_id: Option<String>,
}

/// What has been said in a thread.
#[utoipa::path(
    get, path = "/v1/threads/{thread_id}/messages", params(PageParams, RunFilter),
    responses((status = OK, body = Page<MessageObject>))
)]
async fn list(
    State(app): State<AppState>,
    Caller(owner): Caller,
    NamePath(thread): NamePath,
    Params(params): Params<PageParams>,
    Params(filter): Params<RunFilter>,
) -> Result<Response, Problem> {
    let mut rows = app
        .chats
        .thread_messages(owner, thread_id(&thread)?)
        .await?;
    if let Some(run) = &filter.run_id {
        let run = ids::read(run);
        rows.retain(|row| {
            row.role == Role::Assistant && run.is_some() && row.request_id.map(|id| id.0) == run
        });
    }
    let page = params.of(rows, |row: &Message| ids::write(ids::MESSAGE, row.id.0))?;
    let (rows, place) = page.into_parts();
    let read = app.chats.thread_texts(owner, rows).await?;
    let messages = read.into_iter().map(MessageObject::new).collect();
    reply::json(StatusCode::OK, &place.with(messages))
}

/// Says something in a thread. Nobody is asked yet: a run does that. While one is under way, nothing is taken.
#[utoipa::path(
    post, path = "/v1/threads/{thread_id}/messages", params(OnceKey), request_body = MessageCreate,
    responses((status = OK, body = MessageObject), Refused)
)]
async fn create(
    State(app): State<AppState>,
    Caller(owner): Caller,
    NamePath(thread): NamePath,
    uploaded: Uploaded,
) -> Result<Response, Problem> {
    let thread = thread_id(&thread)?;
    let said = body_of::<MessageCreate>(&uploaded)?.read("")?;
    let once = uploaded.once.as_ref();
    let message = app.chats.add_message(owner, thread, said, once).await?;
    let read = app.chats.thread_texts(owner, vec![message]).await?;
    let message = read.into_iter().next().map(MessageObject::new);
    let message = message.ok_or_else(|| no_such_message(""))?;
    reply::json(StatusCode::OK, &message)
}

/// A message, with its text so far.
#[utoipa::path(
    get, path = "/v1/threads/{thread_id}/messages/{message_id}",
    responses((status = OK, body = MessageObject))
)]
async fn read(
    State(app): State<AppState>,
    Caller(owner): Caller,
    NamePaths([thread, id]): NamePaths<2>,
) -> Result<Response, Problem> {
    let (thread, message) = (thread_id(&thread)?, message_id(&id)?);
    let read = app.chats.thread_message(owner, thread, message).await?;
    reply::json(StatusCode::OK, &MessageObject::new(read))
}

/// Deletes a message. A run that answers it is ended first.
#[utoipa::path(
    delete, path = "/v1/threads/{thread_id}/messages/{message_id}",
    responses((status = OK, body = Deletion))
)]
async fn delete(
    State(app): State<AppState>,
    Caller(owner): Caller,
    NamePaths([thread, id]): NamePaths<2>,
) -> Result<Response, Problem> {
    let (thread, message): (ChatId, MessageId) = (thread_id(&thread)?, message_id(&id)?);
    let deleted = app.chats.delete_thread_message(owner, thread, message);
    deleted.await?;
    reply::json(StatusCode::OK, &Deletion::new(id, "thread.message.deleted"))
}

fn message_id(id: &str) -> Result<MessageId, Problem> {
    let uuid = ids::read(id).map(MessageId);
    uuid.ok_or_else(|| no_such_message(id))
}

fn no_such_message(id: &str) -> Problem {
    let detail = format!("there is no message {:?} in this thread", ids::quoted(id));
    not_found(detail, "message_id", "message_not_found")
}

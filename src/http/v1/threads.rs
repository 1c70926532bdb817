//! `/v1/threads`: chats, as programs know them that put messages in first and run them later.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use entity::ChatId;
use entity::chat::Model as Chat;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::asked::{not_found, refuse_others};
use super::messages::MessageCreate;
use super::responses::body_of;
use super::{chats, ids};
use crate::chat::{NewThread, Said};
use crate::http::AppState;
use crate::http::body::Uploaded;
use crate::http::extract::{Caller, NamePath};
use crate::http::openapi::{OnceKey, Refused};
use crate::http::problem::Problem;
use crate::http::reply;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(read, update, delete))
}

/// A thread that is to be there.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = ApiThreadCreate)]
pub(super) struct ThreadCreate {
    /// What has been said in it, oldest first.
    messages: Option<Vec<MessageCreate>>,
    /// What the program keeps with it for itself: the chat's metadata.
    metadata: Option<BTreeMap<String, String>>,
    #[serde(flatten)]
    #[schema(ignore)]
    others: BTreeMap<String, Value>,
}

/// Parameters that would have to change something, and cannot here. Those that ask for nothing are taken.
const REFUSED: [(&str, &str); 1] = [("tool_resources", "this server has no tools")];

/// What is to be different in a thread.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ApiThreadUpdate)]
struct ThreadUpdate {
    /// All of it anew. None: as it is.
    metadata: Option<BTreeMap<String, String>>,
    #[serde(flatten)]
    #[schema(ignore)]
    others: BTreeMap<String, Value>,
}

/// A chat.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiThread)]
struct ThreadObject {
    #[schema(example = "thread_01990f5e7c1a7b6e9f0a3c5d8e2b4a62")]
    id: String,
    #[schema(pattern = "^thread$")]
    object: &'static str,
    /// Seconds since 1970.
    #[schema(example = 1_758_500_000)]
    created_at: i64,
    metadata: BTreeMap<String, String>,
    /// Always null.
    #[schema(example = json!(null))]
    tool_resources: Option<String>,
    pollen: ThreadOwn,
}

/// What Pollen alone has to say.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiThreadOwn)]
struct ThreadOwn {
    /// Where the chat is on the page and in Pollen's own routes: `/chat/{uuid}`.
    chat_uuid: ChatId,
    title: String,
}

impl ThreadObject {
    fn new(chat: Chat) -> Self {
        Self {
            id: ids::write(ids::THREAD, chat.id.0),
            object: "thread",
            created_at: chat.created_at.0 / 1000,
            metadata: chat.metadata.map(|metadata| metadata.0).unwrap_or_default(),
            tool_resources: None,
            pollen: ThreadOwn {
                chat_uuid: chat.id,
                title: chat.title,
            },
        }
    }
}

/// What has become of a deletion.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiThingDeleted)]
pub(super) struct Deletion {
    #[schema(example = "thread_01990f5e7c1a7b6e9f0a3c5d8e2b4a62")]
    id: String,
    /// `thread.deleted` or `thread.message.deleted`.
    #[schema(example = "thread.deleted")]
    object: &'static str,
    #[schema(example = true)]
    deleted: bool,
}

impl Deletion {
    pub fn new(id: String, object: &'static str) -> Self {
        Self {
            id,
            object,
            deleted: true,
        }
    }
}

impl ThreadCreate {
    /// # Errors
    /// Names the parameter that cannot be taken. `at`: where the thread stands, to its dot.
    pub fn read(self, at: &str) -> Result<NewThread, Problem> {
        refuse_others(&self.others, &[], &REFUSED)?;
        Ok(NewThread {
            messages: said(self.messages, &format!("{at}messages"))?,
            metadata: self.metadata.unwrap_or_default(),
        })
    }
}

/// Messages of a thread. `name`: what the parameter is called.
pub(super) fn said(messages: Option<Vec<MessageCreate>>, name: &str) -> Result<Vec<Said>, Problem> {
    let messages = messages.unwrap_or_default().into_iter().enumerate();
    messages
        .map(|(place, message)| message.read(&format!("{name}[{place}].")))
        .collect()
}

/// Creates a thread, with what has been said in it. Nobody is asked yet.
#[utoipa::path(
    post, path = "/v1/threads", params(OnceKey), request_body = ThreadCreate,
    responses((status = OK, body = ThreadObject), Refused)
)]
async fn create(
    State(app): State<AppState>,
    Caller(owner): Caller,
    uploaded: Uploaded,
) -> Result<Response, Problem> {
    let new = body_of::<ThreadCreate>(&uploaded)?.read("")?;
    let once = uploaded.once.as_ref();
    let chat = app.chats.create_thread(owner, new, once).await?;
    reply::json(StatusCode::OK, &ThreadObject::new(chat))
}

/// A thread: any chat of the caller's is one.
#[utoipa::path(
    get, path = "/v1/threads/{thread_id}", responses((status = OK, body = ThreadObject))
)]
async fn read(
    State(app): State<AppState>,
    Caller(owner): Caller,
    NamePath(id): NamePath,
) -> Result<Response, Problem> {
    let chat = chats::own(&app, owner, &id, no_such_thread).await?;
    reply::json(StatusCode::OK, &ThreadObject::new(chat.row().clone()))
}

/// Sets what the program keeps with a thread.
#[utoipa::path(
    post, path = "/v1/threads/{thread_id}", request_body = ThreadUpdate,
    responses((status = OK, body = ThreadObject))
)]
async fn update(
    State(app): State<AppState>,
    Caller(owner): Caller,
    NamePath(id): NamePath,
    uploaded: Uploaded,
) -> Result<Response, Problem> {
    let ThreadUpdate { metadata, others } = body_of(&uploaded)?;
    refuse_others(&others, &[], &REFUSED)?;
    let chat = chats::own(&app, owner, &id, no_such_thread).await?;
    let updated = chats::keep(&app, &chat, metadata).await?;
    reply::json(StatusCode::OK, &ThreadObject::new(updated))
}

/// Deletes a thread with all that is in it. What is under way is ended first.
#[utoipa::path(
    delete, path = "/v1/threads/{thread_id}", responses((status = OK, body = Deletion))
)]
async fn delete(
    State(app): State<AppState>,
    Caller(owner): Caller,
    NamePath(id): NamePath,
) -> Result<Response, Problem> {
    let chat = chats::own(&app, owner, &id, no_such_thread).await?;
    app.chats.delete_chat(chat).await?;
    reply::json(StatusCode::OK, &Deletion::new(id, "thread.deleted"))
}

/// A thread's id as it is in a path.
pub(super) fn thread_id(id: &str) -> Result<ChatId, Problem> {
    let uuid = ids::read(id).map(ChatId);
    uuid.ok_or_else(|| no_such_thread(id))
}

fn no_such_thread(id: &str) -> Problem {
    let detail = format!("there is no thread {:?}", ids::quoted(id));
    not_found(detail, "thread_id", "thread_not_found")
}

//! `/v1/conversations`: chats, as programs know them that go on in one by its id. What is asked in it is `responses.rs`.

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
use super::input::Item;
use super::responses::body_of;
use super::{chats, ids};
use crate::chat::NewThread;
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

/// A conversation that is to be there.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ApiConversationCreate)]
struct ConversationCreate {
    /// What has been said in it, oldest first.
    items: Option<Vec<Item>>,
    /// What the program keeps with it for itself: the chat's metadata.
    metadata: Option<BTreeMap<String, String>>,
    #[serde(flatten)]
    #[schema(ignore)]
    others: BTreeMap<String, Value>,
}

/// What is to be different in a conversation.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ApiConversationUpdate)]
struct ConversationUpdate {
    /// All of it anew. None: as it is.
    metadata: Option<BTreeMap<String, String>>,
    #[serde(flatten)]
    #[schema(ignore)]
    others: BTreeMap<String, Value>,
}

/// A chat.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiConversationObject)]
struct ConversationObject {
    #[schema(example = "conv_01990f5e7c1a7b6e9f0a3c5d8e2b4a62")]
    id: String,
    #[schema(pattern = "^conversation$")]
    object: &'static str,
    /// Seconds since 1970.
    #[schema(example = 1_758_500_000)]
    created_at: i64,
    metadata: BTreeMap<String, String>,
    pollen: ConversationOwn,
}

/// What Pollen alone has to say.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiConversationOwn)]
struct ConversationOwn {
    /// Where the chat is on the page and in Pollen's own routes: `/chat/{uuid}`.
    chat_uuid: ChatId,
}

impl ConversationObject {
    fn new(chat: Chat) -> Self {
        Self {
            id: ids::write(ids::CONVERSATION, chat.id.0),
            object: "conversation",
            created_at: chat.created_at.0 / 1000,
            metadata: chat.metadata.map(|metadata| metadata.0).unwrap_or_default(),
            pollen: ConversationOwn { chat_uuid: chat.id },
        }
    }
}

/// What has become of a deletion.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiConversationDeleted)]
struct Deletion {
    #[schema(example = "conv_01990f5e7c1a7b6e9f0a3c5d8e2b4a62")]
    id: String,
    #[schema(pattern = "^conversation\\.deleted$")]
    object: &'static str,
    #[schema(example = true)]
    deleted: bool,
}

/// Creates a conversation, with what has been said in it. Nobody is asked yet.
#[utoipa::path(
    post, path = "/v1/conversations", params(OnceKey), request_body = ConversationCreate,
    responses((status = OK, body = ConversationObject), Refused)
)]
async fn create(
    State(app): State<AppState>,
    Caller(owner): Caller,
    uploaded: Uploaded,
) -> Result<Response, Problem> {
    let ConversationCreate {
        items,
        metadata,
        others,
    } = body_of(&uploaded)?;
    refuse_others(&others, &[], &[])?;
    let mut messages = Vec::new();
    for (place, item) in items.unwrap_or_default().into_iter().enumerate() {
        messages.extend(item.read(&format!("items[{place}]"))?);
    }
    let new = NewThread {
        messages,
        metadata: metadata.unwrap_or_default(),
    };
    let once = uploaded.once.as_ref();
    let chat = app.chats.create_thread(owner, new, once).await?;
    reply::json(StatusCode::OK, &ConversationObject::new(chat))
}

/// A conversation: any chat of the caller's is one.
#[utoipa::path(
    get, path = "/v1/conversations/{id}", responses((status = OK, body = ConversationObject))
)]
async fn read(
    State(app): State<AppState>,
    Caller(owner): Caller,
    NamePath(id): NamePath,
) -> Result<Response, Problem> {
    let chat = chats::own(&app, owner, &id, no_such_conversation).await?;
    reply::json(StatusCode::OK, &ConversationObject::new(chat.row().clone()))
}

/// Sets what the program keeps with a conversation.
#[utoipa::path(
    post, path = "/v1/conversations/{id}", request_body = ConversationUpdate,
    responses((status = OK, body = ConversationObject))
)]
async fn update(
    State(app): State<AppState>,
    Caller(owner): Caller,
    NamePath(id): NamePath,
    uploaded: Uploaded,
) -> Result<Response, Problem> {
    let ConversationUpdate { metadata, others } = body_of(&uploaded)?;
    refuse_others(&others, &[], &[])?;
    let chat = chats::own(&app, owner, &id, no_such_conversation).await?;
    let updated = chats::keep(&app, &chat, metadata).await?;
    reply::json(StatusCode::OK, &ConversationObject::new(updated))
}

/// Deletes a conversation with all that is in it. What is under way is ended first.
#[utoipa::path(
    delete, path = "/v1/conversations/{id}", responses((status = OK, body = Deletion))
)]
async fn delete(
    State(app): State<AppState>,
    Caller(owner): Caller,
    NamePath(id): NamePath,
) -> Result<Response, Problem> {
    let chat = chats::own(&app, owner, &id, no_such_conversation).await?;
    app.chats.delete_chat(chat).await?;
    let deletion = Deletion {
        id,
        object: "conversation.deleted",
        deleted: true,
    };
    reply::json(StatusCode::OK, &deletion)
}

fn no_such_conversation(id: &str) -> Problem {
    let detail = format!("there is no conversation {:?}", ids::quoted(id));
    not_found(detail, "id", "conversation_not_found")
}

//! `GET /chats` (page) and `GET /chat/list`: the caller's chats.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use crate::chat::Chats;
use crate::http::AppState;
use crate::http::extract::{Caller, Form, Params};
use crate::http::problem::Problem;
use crate::http::reply;
use crate::http::view::list::{ChatListFragment, ChatListView, ChatsPage};

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/chats", get(list_page))
        .route("/chat/list", get(list))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListParams {
    cursor: Option<String>,
    limit: Option<u64>,
}

async fn list(
    State(chats): State<Arc<Chats>>,
    Caller(owner): Caller,
    form: Form,
    Params(params): Params<ListParams>,
) -> Result<Response, Problem> {
    let view = view(&chats, owner, params).await?;
    match form {
        Form::Json => reply::json(StatusCode::OK, &view),
        Form::Fragment | Form::Page => {
            reply::html_now(StatusCode::OK, &ChatListFragment { list: view })
        }
    }
}

async fn list_page(
    State(chats): State<Arc<Chats>>,
    Caller(owner): Caller,
    form: Form,
    Params(params): Params<ListParams>,
) -> Result<Response, Problem> {
    let view = view(&chats, owner, params).await?;
    match form {
        Form::Json => reply::json(StatusCode::OK, &view),
        Form::Fragment | Form::Page => reply::html_now(StatusCode::OK, &ChatsPage { list: view }),
    }
}

async fn view(
    chats: &Chats,
    owner: entity::OwnerId,
    params: ListParams,
) -> Result<ChatListView, Problem> {
    let cursor = params.cursor.map(|text| text.parse()).transpose()?;
    let list = chats.list(owner, cursor, params.limit).await?;
    Ok(ChatListView::new(list, &chats.defaults()))
}

//! `GET /chats` (page) and `GET /chat/list`: the caller's chats.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use entity::{Metadata, OwnerId};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::chat::Chats;
use crate::http::AppState;
use crate::http::extract::{Caller, Form, Having};
use crate::http::openapi::{HavingParams, Unchanged};
use crate::http::problem::Problem;
use crate::http::reply;
use crate::http::tag::Seen;
use crate::http::view::frame::Frame;
use crate::http::view::list::{ChatListView, ChatsPage, DaysView, SIDE_MAX, SIDE_STEP, SideList};
use crate::http::view::poller::keeps_pace;
use crate::http::view::search::{FoundFragment, SearchView};
use crate::model::hint::Activity;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_page))
        .routes(routes!(list))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParams {
    cursor: Option<String>,
    limit: Option<u64>,
    /// What the list at the side of a page shows, and the pace at which it polls.
    seen: Option<u64>,
    after: Option<u64>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageParams {
    /// Words to look for.
    q: Option<String>,
    cursor: Option<String>,
    limit: Option<u64>,
}

/// The caller's chats, the one changed last first.
#[utoipa::path(
    get, path = "/chat/list", params(ListParams, HavingParams, Unchanged),
    responses((status = OK, body = ChatListView), Unchanged)
)]
async fn list(
    State(app): State<AppState>,
    Caller(owner): Caller,
    form: Form,
    headers: HeaderMap,
    frame: Frame,
    Having { pairs, params }: Having<ListParams>,
) -> Result<Response, Problem> {
    if form == Form::Json {
        let view = view(&app.chats, owner, pairs, (params.cursor, params.limit)).await?;
        return Seen::of(&headers).json_of(&view, Some(view.poll_after_ms));
    }
    let side = side_list(&app, owner, frame, params.limit).await?;
    let is_seen = params.seen == Some(side.list.fingerprint());
    if is_seen && keeps_pace(params.after, side.poller.after_ms) {
        return Ok(reply::no_content());
    }
    reply::html_now(StatusCode::OK, &side)
}

/// The list at the side of a page.
pub(super) async fn side_list(
    app: &AppState,
    owner: OwnerId,
    frame: Frame,
    limit: Option<u64>,
) -> Result<SideList, Problem> {
    let limit = limit.unwrap_or(SIDE_STEP).clamp(1, SIDE_MAX);
    let list = app.chats.long_list(owner, limit).await?;
    let list = ChatListView::new(list, &app.chats.defaults());
    let list = DaysView::new(list, "side", app.chats.now(), frame.offset);
    let hint = app.load.poll_after_ms(Activity::Idle);
    Ok(SideList::new(list, limit, hint))
}

/// The page of all chats; to a script the same as the list.
#[utoipa::path(
    get, path = "/chats", params(PageParams, HavingParams),
    responses((status = OK, body = ChatListView))
)]
async fn list_page(
    State(chats): State<Arc<Chats>>,
    Caller(owner): Caller,
    form: Form,
    frame: Frame,
    Having { pairs, params }: Having<PageParams>,
) -> Result<Response, Problem> {
    let view = view(&chats, owner, pairs, (params.cursor, params.limit)).await?;
    if form == Form::Json {
        return reply::json(StatusCode::OK, &view);
    }
    let found = match params.q.filter(|text| !text.trim().is_empty()) {
        Some(text) => {
            let found = chats.search(owner, &text).await?;
            let view = SearchView::new(found, &chats.defaults());
            Some(FoundFragment::new(view, text))
        }
        None => None,
    };
    let list = DaysView::new(view, "all", chats.now(), frame.offset);
    let page = ChatsPage { frame, found, list };
    reply::html_now(StatusCode::OK, &page)
}

async fn view(
    chats: &Chats,
    owner: OwnerId,
    having: Option<Metadata>,
    (cursor, limit): (Option<String>, Option<u64>),
) -> Result<ChatListView, Problem> {
    let cursor = cursor.map(|text| text.parse()).transpose()?;
    let list = chats.list(owner, having.as_ref(), cursor, limit).await?;
    Ok(ChatListView::new(list, &chats.defaults()))
}

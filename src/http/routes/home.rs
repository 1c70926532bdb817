//! `GET /`: the home page.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use entity::{ChatId, OwnerId};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::chat::Chats;
use crate::http::AppState;
use crate::http::extract::{Caller, Form, Params};
use crate::http::problem::Problem;
use crate::http::reply;
use crate::http::view::agents::AgentsView;
use crate::http::view::chat::DeletedNotice;
use crate::http::view::frame::Frame;
use crate::http::view::home::{HomeMain, HomePage};
use crate::http::view::list::{ChatListView, DaysView};

/// Chats on the home page.
const RECENT: u64 = 8;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(home))
}

/// Others are passed over: an address may have been decorated on its way.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct HomeParams {
    /// The chat that was deleted just now, by a form without script.
    deleted: Option<String>,
}

/// The home page; to a script the latest chats.
#[utoipa::path(get, path = "/", params(HomeParams), responses((status = OK, body = ChatListView)))]
async fn home(
    State(chats): State<Arc<Chats>>,
    Caller(owner): Caller,
    form: Form,
    frame: Frame,
    Params(params): Params<HomeParams>,
) -> Result<Response, Problem> {
    match form {
        Form::Fragment => {
            let main = main(&chats, owner, frame).await?;
            reply::html_now(StatusCode::OK, &main)
        }
        // There is no JSON of a home page; what a script wants to see there is the list.
        Form::Json => {
            let list = chats.list(owner, None, None, Some(RECENT)).await?;
            reply::json(StatusCode::OK, &ChatListView::new(list, &chats.defaults()))
        }
        Form::Page => {
            let deleted = params.deleted.and_then(|text| text.parse().ok());
            let deleted = match deleted {
                Some(chat) => notice(&chats, owner, chat).await?,
                None => None,
            };
            let main = main(&chats, owner, frame).await?;
            let page = HomePage {
                frame,
                deleted,
                main,
            };
            reply::html_now(StatusCode::OK, &page)
        }
    }
}

/// What is said of a chat that was deleted, as long as it can be brought back.
async fn notice(
    chats: &Chats,
    owner: OwnerId,
    chat: ChatId,
) -> Result<Option<DeletedNotice>, Problem> {
    let title = chats.deleted_title(owner, chat).await?;
    Ok(title.map(|title| DeletedNotice { chat, title }))
}

/// The home view, also shown after a chat was deleted.
pub(super) async fn main(chats: &Chats, owner: OwnerId, frame: Frame) -> Result<HomeMain, Problem> {
    let list = chats.list(owner, None, None, Some(RECENT)).await?;
    let list = ChatListView::new(list, &chats.defaults());
    let list = DaysView::new(list, "recent", chats.now(), frame.offset);
    let agents = AgentsView::new(&chats.agents());
    Ok(HomeMain::new(list, agents, chats.defaults().model))
}

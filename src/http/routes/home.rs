//! `GET /`: the message box and the recent chats.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;

use crate::chat::Chats;
use crate::http::AppState;
use crate::http::extract::{Caller, Form};
use crate::http::problem::Problem;
use crate::http::reply;
use crate::http::view::home::{HomeMain, HomePage};
use crate::http::view::list::ChatListView;

/// Chats on the home page.
const RECENT: u64 = 8;

pub(super) fn router() -> Router<AppState> {
    Router::new().route("/", get(home))
}

async fn home(
    State(chats): State<Arc<Chats>>,
    Caller(owner): Caller,
    form: Form,
) -> Result<Response, Problem> {
    match form {
        Form::Fragment => {
            let main = main(&chats, owner).await?;
            reply::html_now(StatusCode::OK, &main)
        }
        // There is no JSON of a home page; what a script wants to see there is the list.
        Form::Json => {
            let list = chats.list(owner, None, Some(RECENT)).await?;
            reply::json(StatusCode::OK, &ChatListView::new(list, &chats.defaults()))
        }
        Form::Page => {
            let main = main(&chats, owner).await?;
            reply::html_now(StatusCode::OK, &HomePage { main })
        }
    }
}

/// The home view, also shown after a chat was deleted.
pub(super) async fn main(chats: &Chats, owner: entity::OwnerId) -> Result<HomeMain, Problem> {
    let list = chats.list(owner, None, Some(RECENT)).await?;
    Ok(HomeMain {
        list: ChatListView::new(list, &chats.defaults()),
        model: chats.defaults().model.to_owned(),
    })
}

//! `GET /chat/search`: the caller's chats that have these words in their title or in a message.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::list::side_list;
use crate::http::AppState;
use crate::http::extract::{Caller, Form, Params};
use crate::http::problem::Problem;
use crate::http::reply;
use crate::http::view::frame::Frame;
use crate::http::view::search::{FoundFragment, SearchView};

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(search))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SearchParams {
    #[serde(default)]
    q: String,
}

/// The caller's chats that have these words.
#[utoipa::path(
    get, path = "/chat/search", params(SearchParams),
    responses((status = OK, body = SearchView))
)]
async fn search(
    State(app): State<AppState>,
    Caller(owner): Caller,
    form: Form,
    frame: Frame,
    Params(params): Params<SearchParams>,
) -> Result<Response, Problem> {
    if form == Form::Fragment && params.q.trim().is_empty() {
        // Nothing is looked for any more: the list takes its place again.
        let list = side_list(&app, owner, frame, None).await?;
        return reply::html_now(StatusCode::OK, &list);
    }
    let found = app.chats.search(owner, &params.q).await?;
    let view = SearchView::new(found, &app.chats.defaults());
    match form {
        Form::Json => reply::json(StatusCode::OK, &view),
        Form::Fragment | Form::Page => {
            reply::html_now(StatusCode::OK, &FoundFragment::new(view, params.q))
        }
    }
}

//! `GET /chat/{uuid}/history`: the whole conversation in order, in pages.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use entity::MessageId;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::chat::OwnedChat;
use crate::http::AppState;
use crate::http::extract::{Params, parse_uuid};
use crate::http::problem::Problem;
use crate::http::reply;
use crate::http::view::history::HistoryView;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(history))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct HistoryParams {
    /// `next` of the page before.
    #[param(value_type = Option<Uuid>)]
    cursor: Option<String>,
    /// Messages on the page: 50 when nobody says, 100 at most.
    limit: Option<u64>,
}

/// The whole conversation, oldest first, in pages.
#[utoipa::path(
    get, path = "/chat/{uuid}/history", params(HistoryParams),
    responses((status = OK, body = HistoryView))
)]
async fn history(
    State(app): State<AppState>,
    Params(params): Params<HistoryParams>,
    chat: OwnedChat,
) -> Result<Response, Problem> {
    let cursor = params.cursor.map(|text| parse_uuid("cursor", &text));
    let cursor = cursor.transpose()?.map(MessageId);
    let history = app.chats.history(&chat, cursor, params.limit).await?;
    reply::json(StatusCode::OK, &HistoryView::new(history))
}

//! `GET /models`, `GET /agents`, `GET /commands`: what can be chosen from.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::chat::Chats;
use crate::http::AppState;
use crate::http::extract::{Caller, Form};
use crate::http::problem::Problem;
use crate::http::reply;
use crate::http::view::agents::{AgentsPage, AgentsView};
use crate::http::view::commands::{CommandsPage, CommandsView};
use crate::http::view::frame::Frame;
use crate::http::view::models::{ModelsPage, ModelsView};

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(models))
        .routes(routes!(agents))
        .routes(routes!(commands))
}

/// The models that the caller may use.
#[utoipa::path(get, path = "/models", responses((status = OK, body = ModelsView)))]
async fn models(
    State(chats): State<Arc<Chats>>,
    Caller(owner): Caller,
    form: Form,
    frame: Frame,
) -> Result<Response, Problem> {
    let models = ModelsView::new(&chats.models(owner).await?);
    match form {
        Form::Json => reply::json(StatusCode::OK, &models),
        Form::Fragment | Form::Page => {
            reply::html_now(StatusCode::OK, &ModelsPage { frame, models })
        }
    }
}

/// The agents.
#[utoipa::path(get, path = "/agents", responses((status = OK, body = AgentsView)))]
async fn agents(
    State(chats): State<Arc<Chats>>,
    _: Caller,
    form: Form,
    frame: Frame,
) -> Result<Response, Problem> {
    let agents = AgentsView::new(&chats.agents());
    match form {
        Form::Json => reply::json(StatusCode::OK, &agents),
        Form::Fragment | Form::Page => {
            reply::html_now(StatusCode::OK, &AgentsPage { frame, agents })
        }
    }
}

/// The slash commands.
#[utoipa::path(get, path = "/commands", responses((status = OK, body = CommandsView)))]
async fn commands(_: Caller, form: Form, frame: Frame) -> Result<Response, Problem> {
    let commands = CommandsView::new();
    match form {
        Form::Json => reply::json(StatusCode::OK, &commands),
        Form::Fragment | Form::Page => {
            reply::html_now(StatusCode::OK, &CommandsPage { frame, commands })
        }
    }
}

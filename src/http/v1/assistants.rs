//! `/v1/assistants`: the agents that the operator has set up, to be named in runs. They are only read.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::asked::not_found;
use super::ids;
use super::page::Page;
use crate::chat::Assistant as Named;
use crate::http::AppState;
use crate::http::extract::{Caller, NamePath};
use crate::http::problem::Problem;
use crate::http::reply;
use crate::model::agent::Agent;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(read))
}

/// An agent. What it says to its model is the operator's, and not shown.
#[derive(Serialize, ToSchema)]
#[schema(as = ApiAssistant)]
struct Assistant {
    #[schema(example = "asst_tutor")]
    id: String,
    #[schema(pattern = "^assistant$")]
    object: &'static str,
    /// Nobody knows since when there is one: 0.
    created_at: i64,
    name: String,
    description: String,
    /// The model that answers when a run names no other one.
    model: String,
    /// Always null.
    #[schema(example = json!(null))]
    instructions: Option<String>,
    /// Always empty.
    #[schema(example = json!([]))]
    tools: Vec<String>,
    /// Always empty.
    #[schema(example = json!({}))]
    metadata: std::collections::BTreeMap<String, String>,
    temperature: Option<f64>,
    top_p: Option<f64>,
}

impl Assistant {
    fn new(agent: &Agent, app: &AppState) -> Self {
        let model = agent.model.clone();
        Self {
            id: id_of(agent),
            object: "assistant",
            created_at: 0,
            name: agent.name.clone(),
            description: agent.description.clone(),
            model: model.unwrap_or_else(|| app.chats.defaults().model),
            instructions: None,
            tools: Vec::new(),
            metadata: std::collections::BTreeMap::new(),
            temperature: agent.parameters.temperature,
            top_p: agent.parameters.top_p,
        }
    }
}

fn id_of(agent: &Agent) -> String {
    named(&agent.alias)
}

/// An agent's id here, by its alias.
pub(super) fn named(alias: &str) -> String {
    format!("{}_{alias}", ids::ASSISTANT)
}

/// Whom a run names: with `asst_` an agent by its alias, without it an agent or a model.
pub(super) fn read_id(id: &str) -> Named {
    match alias_of(id) {
        Some(alias) => Named::Agent(alias.to_owned()),
        None => Named::AgentOrModel(id.to_owned()),
    }
}

fn alias_of(id: &str) -> Option<&str> {
    id.strip_prefix(ids::ASSISTANT)?.strip_prefix('_')
}

/// All agents, in the order in which they are shown.
#[utoipa::path(
    get, path = "/v1/assistants", responses((status = OK, body = Page<Assistant>))
)]
async fn list(State(app): State<AppState>, Caller(_): Caller) -> Result<Response, Problem> {
    let agents = app.chats.agents();
    let all = agents.iter().map(|agent| Assistant::new(agent, &app));
    let page = Page::whole(all.collect(), |one: &Assistant| one.id.clone());
    reply::json(StatusCode::OK, &page)
}

/// One of them, by its alias, with or without `asst_`.
#[utoipa::path(
    get, path = "/v1/assistants/{alias}", responses((status = OK, body = Assistant))
)]
async fn read(
    State(app): State<AppState>,
    Caller(_): Caller,
    NamePath(id): NamePath,
) -> Result<Response, Problem> {
    let agents = app.chats.agents();
    let found = agents
        .iter()
        .find(|agent| agent.alias == alias_of(&id).unwrap_or(&id));
    let found = found.ok_or_else(|| {
        let detail = format!("there is no assistant {:?}", ids::quoted(&id));
        not_found(detail, "assistant_id", "assistant_not_found")
    })?;
    reply::json(StatusCode::OK, &Assistant::new(found, &app))
}

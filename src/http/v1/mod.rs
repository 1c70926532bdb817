//! `/v1`: what programs ask for that speak OpenAI's interface, over the same chats, requests and ledgers. Nothing here is a
//! second way to answer: a response is a request's answer, under the names that such programs know.
//!
//! What each parameter comes to stands in `docs/OPENAI.md`.

mod asked;
mod assistants;
mod chats;
mod completions;
mod conversations;
mod error;
mod ids;
mod input;
mod messages;
mod models;
mod object;
mod own;
mod page;
mod responses;
mod run;
mod runs;
mod threads;

use utoipa_axum::router::OpenApiRouter;

use super::AppState;

pub(super) use error::{ApiError, ErrorBody, tell_when, write_out};
pub(super) use own::key_in;

/// What the paths of this interface begin with.
const PREFIX: &str = "/v1/";

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .merge(responses::router())
        .merge(completions::router())
        .merge(models::router())
        .merge(assistants::router())
        .merge(conversations::router())
        .merge(threads::router())
        .merge(messages::router())
        .merge(runs::router())
}

/// Whether a path is one of this interface's, so that its problems are told as its programs expect them.
pub(super) fn is_here(path: &str) -> bool {
    path.starts_with(PREFIX)
}

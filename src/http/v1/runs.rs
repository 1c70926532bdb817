//! `/v1/threads/{thread_id}/runs`: having the last message of a thread answered, and polling how far that is.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use entity::llm_request::CacheUse;
use entity::{AskedAs, Effort, Parameters, RequestId};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::asked::{not_found, refuse_others, refuse_stream};
use super::assistants;
use super::error::once_asked;
use super::ids;
use super::messages::MessageCreate;
use super::page::{Page, PageParams};
use super::responses::{body_of, with_hint};
use super::run::{RunObject, RunStep};
use super::threads::{ThreadCreate, said, thread_id};
use crate::chat::{NewRun, Response as Answered};
use crate::http::AppState;
use crate::http::body::Uploaded;
use crate::http::extract::{CacheControl, Caller, NamePath, NamePaths, Params};
use crate::http::openapi::{OnceKey, Refused};
use crate::http::problem::{Kind, Problem};
use crate::http::reply;
use crate::model::hint::Activity;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(create_and_run))
        .routes(routes!(list, create))
        .routes(routes!(read, update))
        .routes(routes!(cancel))
        .routes(routes!(submit))
        .routes(routes!(steps))
        .routes(routes!(step))
}

/// A run that is asked for. Parameters that OpenAI's libraries know and that are not here are refused by their names, unless
/// the answer is the same without them.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ApiRunCreate)]
struct RunCreate {
    /// Who answers: an agent's alias, with or without `asst_`, or else a model's id.
    #[schema(example = "asst_tutor", required)]
    assistant_id: Option<String>,
    /// Only with `POST /v1/threads/runs`: the thread that is created for it.
    thread: Option<ThreadCreate>,
    /// In the place of the agent's model.
    #[schema(example = json!(null))]
    model: Option<String>,
    /// In the place of all that the system says else, for this run alone.
    instructions: Option<String>,
    /// Besides what the system says else, for this run alone.
    additional_instructions: Option<String>,
    /// What is said before it is answered.
    additional_messages: Option<Vec<MessageCreate>>,
    /// What the program keeps with the run for itself.
    metadata: Option<BTreeMap<String, String>>,
    #[schema(minimum = 0)]
    temperature: Option<f64>,
    #[schema(minimum = 0, maximum = 1)]
    top_p: Option<f64>,
    #[schema(minimum = 1, example = 400)]
    max_completion_tokens: Option<u32>,
    reasoning_effort: Option<Effort>,
    /// Only `false`: there are no streams here.
    stream: Option<bool>,
    #[serde(flatten)]
    #[schema(ignore)]
    others: BTreeMap<String, Value>,
}

/// Parameters that have no word in the answer here.
const PASSED_OVER: [&str; 1] = ["parallel_tool_calls"];

/// Parameters that would have to change the answer, and cannot here. Those that ask for nothing are taken.
const REFUSED: [(&str, &str); 6] = [
    (
        "max_prompt_tokens",
        "this server fits the thread into the model's window by itself",
    ),
    (
        "response_format",
        "only `auto` and text are taken here; ask for JSON in words, and check what comes",
    ),
    (
        "tool_choice",
        "this server calls no tools; `auto` and `none` are taken",
    ),
    ("tool_resources", "this server has no tools"),
    (
        "tools",
        "this server calls no tools; leave `tools` out, and answer in text",
    ),
    (
        "truncation_strategy",
        "this server fits the thread into the model's window by itself; `auto` is taken",
    ),
];

impl RunCreate {
    /// # Errors
    /// Names the parameter that cannot be taken, and what to do instead.
    fn read(mut self, cache_use: CacheUse) -> Result<NewRun, Problem> {
        refuse_stream(self.stream, "runs")?;
        // Said as an object, they may still ask for nothing.
        for (name, nothing) in [("response_format", "text"), ("truncation_strategy", "auto")] {
            let kind = self.others.get(name).and_then(|value| value.get("type"));
            if kind.is_some_and(|kind| kind == nothing) {
                self.others.remove(name);
            }
        }
        refuse_others(&self.others, &PASSED_OVER, &REFUSED)?;
        let named = self.assistant_id.ok_or_else(|| {
            let detail = "`assistant_id` is missing: an agent's alias, or a model's id";
            Problem::param("assistant_id", "missing_required_parameter", detail)
        })?;
        Ok(NewRun {
            assistant: assistants::read_id(&named),
            model: self.model,
            instructions: self.instructions,
            additional_instructions: self.additional_instructions,
            additional_messages: said(self.additional_messages, "additional_messages")?,
            parameters: Parameters {
                temperature: self.temperature,
                top_p: self.top_p,
                max_tokens: self.max_completion_tokens,
                reasoning_effort: self.reasoning_effort,
                ..Parameters::default()
            },
            cache_use,
            asked_as: AskedAs {
                assistant: Some(named),
                metadata: self.metadata.unwrap_or_default(),
                ..AskedAs::default()
            },
        })
    }
}

/// What is to be different in a run.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ApiRunUpdate)]
struct RunUpdate {
    /// All of it anew. None: as it is.
    metadata: Option<BTreeMap<String, String>>,
    #[serde(flatten)]
    #[schema(ignore)]
    others: BTreeMap<String, Value>,
}

/// Has the last message of a thread answered. One run at a time.
#[utoipa::path(
    post, path = "/v1/threads/{thread_id}/runs", params(OnceKey), request_body = RunCreate,
    responses((status = OK, body = RunObject), Refused)
)]
async fn create(
    State(app): State<AppState>,
    Caller(owner): Caller,
    CacheControl(cache_use): CacheControl,
    NamePath(thread): NamePath,
    uploaded: Uploaded,
) -> Result<Response, Problem> {
    let thread = thread_id(&thread)?;
    let mut body: RunCreate = body_of(&uploaded)?;
    if body.thread.take().is_some() {
        let detail = "`thread`: this run has its thread already; POST /v1/threads/runs creates one";
        return Err(Problem::param("thread", "unknown_parameter", detail));
    }
    let once = uploaded.once.as_ref();
    let request = app.chats.run(owner, thread, body.read(cache_use)?, once);
    let request = request.await?;
    let run = app.chats.read_run(owner, thread, request).await?;
    reply_with(&app, &run)
}

/// Creates a thread and has its last message answered.
#[utoipa::path(
    post, path = "/v1/threads/runs", params(OnceKey), request_body = RunCreate,
    responses((status = OK, body = RunObject), Refused)
)]
async fn create_and_run(
    State(app): State<AppState>,
    Caller(owner): Caller,
    CacheControl(cache_use): CacheControl,
    uploaded: Uploaded,
) -> Result<Response, Problem> {
    let mut body: RunCreate = body_of(&uploaded)?;
    let thread = body.thread.take().unwrap_or_default().read("thread.")?;
    let (new, once) = (body.read(cache_use)?, uploaded.once.as_ref());
    let request = app.chats.run_new_thread(owner, thread, new, once).await?;
    let run = app.chats.begun_run(owner, request).await;
    let run = run.map_err(|error| once_asked(error.into(), &ids::write(ids::RUN, request.0)))?;
    reply_with(&app, &run)
}

/// The runs of a thread: all that has been asked in it.
#[utoipa::path(
    get, path = "/v1/threads/{thread_id}/runs", params(PageParams),
    responses((status = OK, body = Page<RunObject>))
)]
async fn list(
    State(app): State<AppState>,
    Caller(owner): Caller,
    NamePath(thread): NamePath,
    Params(params): Params<PageParams>,
) -> Result<Response, Problem> {
    let thread = thread_id(&thread)?;
    let all = app.chats.runs(owner, thread).await?;
    let page = params.of(all, |id: &RequestId| ids::write(ids::RUN, id.0))?;
    let (requests, place) = page.into_parts();
    let hint = app.load.poll_after_ms(Activity::Flowing);
    let mut runs = Vec::with_capacity(requests.len());
    for request in requests {
        let run = app.chats.read_run(owner, thread, request).await?;
        runs.extend(RunObject::new(&run, hint));
    }
    reply::json(StatusCode::OK, &place.with(runs))
}

/// How far a run is.
#[utoipa::path(
    get, path = "/v1/threads/{thread_id}/runs/{run_id}", responses((status = OK, body = RunObject))
)]
async fn read(
    State(app): State<AppState>,
    Caller(owner): Caller,
    NamePaths([thread, id]): NamePaths<2>,
) -> Result<Response, Problem> {
    let (thread, run) = (thread_id(&thread)?, run_id(&id)?);
    let run = app.chats.read_run(owner, thread, run).await?;
    reply_with(&app, &run)
}

/// Sets what the program keeps with a run.
#[utoipa::path(
    post, path = "/v1/threads/{thread_id}/runs/{run_id}", request_body = RunUpdate,
    responses((status = OK, body = RunObject))
)]
async fn update(
    State(app): State<AppState>,
    Caller(owner): Caller,
    NamePaths([thread, id]): NamePaths<2>,
    uploaded: Uploaded,
) -> Result<Response, Problem> {
    let (thread, run) = (thread_id(&thread)?, run_id(&id)?);
    let RunUpdate { metadata, others } = body_of(&uploaded)?;
    refuse_others(&others, &[], &[])?;
    let run = match metadata {
        Some(metadata) => {
            let set = app.chats.set_run_metadata(owner, thread, run, metadata);
            set.await?
        }
        None => app.chats.read_run(owner, thread, run).await?,
    };
    reply_with(&app, &run)
}

/// Ends a run that is under way or waits. One that is over stays as it is.
#[utoipa::path(
    post, path = "/v1/threads/{thread_id}/runs/{run_id}/cancel",
    responses((status = OK, body = RunObject))
)]
async fn cancel(
    State(app): State<AppState>,
    Caller(owner): Caller,
    NamePaths([thread, id]): NamePaths<2>,
) -> Result<Response, Problem> {
    let (thread, run) = (thread_id(&thread)?, run_id(&id)?);
    let run = app.chats.cancel_run(owner, thread, run).await?;
    reply_with(&app, &run)
}

/// Always refused: no run asks for tools.
#[utoipa::path(
    post, path = "/v1/threads/{thread_id}/runs/{run_id}/submit_tool_outputs",
    responses((status = OK, body = RunObject))
)]
async fn submit(
    State(app): State<AppState>,
    Caller(owner): Caller,
    NamePaths([thread, id]): NamePaths<2>,
) -> Result<Response, Problem> {
    let (thread, run) = (thread_id(&thread)?, run_id(&id)?);
    app.chats.read_run(owner, thread, run).await?;
    let detail = "`tool_outputs`: this server calls no tools, so no run waits for their outputs; poll the run to its end";
    Err(Problem::param("tool_outputs", "no_tools", detail))
}

/// What a run does: it writes one message.
#[utoipa::path(
    get, path = "/v1/threads/{thread_id}/runs/{run_id}/steps", params(PageParams),
    responses((status = OK, body = Page<RunStep>))
)]
async fn steps(
    State(app): State<AppState>,
    Caller(owner): Caller,
    NamePaths([thread, id]): NamePaths<2>,
    Params(params): Params<PageParams>,
) -> Result<Response, Problem> {
    let (thread, run) = (thread_id(&thread)?, run_id(&id)?);
    let run = app.chats.read_run(owner, thread, run).await?;
    let page = params.of(steps_of(&app, &run), |step: &RunStep| step.id.clone())?;
    reply::json(StatusCode::OK, &page)
}

/// One of them.
#[utoipa::path(
    get, path = "/v1/threads/{thread_id}/runs/{run_id}/steps/{step_id}",
    responses((status = OK, body = RunStep))
)]
async fn step(
    State(app): State<AppState>,
    Caller(owner): Caller,
    NamePaths([thread, id, step]): NamePaths<3>,
) -> Result<Response, Problem> {
    let (thread, run) = (thread_id(&thread)?, run_id(&id)?);
    let run = app.chats.read_run(owner, thread, run).await?;
    let mut steps = steps_of(&app, &run).into_iter();
    let wanted = ids::read(&step);
    let found = steps.find(|one| wanted.is_some() && ids::read(&one.id) == wanted);
    let found = found.ok_or_else(|| {
        let detail = format!("there is no step {:?} in this run", ids::quoted(&step));
        not_found(detail, "step_id", "step_not_found")
    })?;
    reply::json(StatusCode::OK, &found)
}

fn steps_of(app: &AppState, run: &Answered) -> Vec<RunStep> {
    let hint = app.load.poll_after_ms(Activity::Flowing);
    let run = RunObject::new(run, hint);
    run.map(RunObject::into_steps).unwrap_or_default()
}

/// A run's id as it is in a path.
fn run_id(id: &str) -> Result<RequestId, Problem> {
    ids::read(id).map(RequestId).ok_or_else(|| {
        let detail = format!("there is no run {:?} in this thread", ids::quoted(id));
        not_found(detail, "run_id", "run_not_found")
    })
}

/// The hint is that of what flows, also while it waits: Python's library keeps the first one for the whole poll.
fn reply_with(app: &AppState, run: &Answered) -> Result<Response, Problem> {
    let hint = app.load.poll_after_ms(Activity::Flowing);
    let run = RunObject::new(run, hint).ok_or_else(|| Problem::bare(Kind::MessageNotFound))?;
    let response = reply::json(StatusCode::OK, &run)?;
    Ok(with_hint(response, run.hint()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::chat::Assistant;

    fn read(body: Value) -> Result<NewRun, (String, &'static str)> {
        let body: RunCreate = serde_json::from_value(body).unwrap();
        body.read(CacheUse::Any).map_err(|problem| {
            let api = problem.api.unwrap();
            (api.param.unwrap(), api.code.unwrap())
        })
    }

    #[test]
    fn what_a_library_sends_is_read() {
        let new = read(json!({
            "assistant_id": "asst_tutor", "stream": false, "tools": [], "tool_choice": null, "response_format": "auto",
            "truncation_strategy": {"type": "auto", "last_messages": null}, "metadata": {"a": "b"},
            "max_completion_tokens": 9, "additional_messages": [
                {"role": "user", "content": [{"type": "text", "text": "Hi"}], "attachments": [], "metadata": {}}],
        }))
        .unwrap();
        assert_eq!(new.assistant, Assistant::Agent("tutor".to_owned()));
        assert_eq!(new.asked_as.assistant.as_deref(), Some("asst_tutor"));
        assert_eq!(new.parameters.max_tokens, Some(9));
        assert_eq!(new.additional_messages[0].text, "Hi");
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_name() {
        for (more, param, code) in [
            (
                json!({"assistant_id": null}),
                "assistant_id",
                "missing_required_parameter",
            ),
            (json!({"stream": true}), "stream", "unsupported_value"),
            (
                json!({"tools": [{"type": "code_interpreter"}]}),
                "tools",
                "unsupported_parameter",
            ),
            (
                json!({"response_format": {"type": "json_object"}}),
                "response_format",
                "unsupported_parameter",
            ),
            (
                json!({"truncation_strategy": {"type": "last_messages", "last_messages": 3}}),
                "truncation_strategy",
                "unsupported_parameter",
            ),
            (json!({"top_k": 3}), "top_k", "unknown_parameter"),
            (
                json!({"additional_messages": [{"role": "system", "content": "x"}]}),
                "additional_messages[0].role",
                "invalid_value",
            ),
            (
                json!({"additional_messages": [{"role": "user", "content": "x", "metadata": {"a": "b"}}]}),
                "additional_messages[0].metadata",
                "unsupported_parameter",
            ),
            (
                json!({"additional_messages": [{"role": "user", "content": "x", "attachments": [{"file_id": "f"}]}]}),
                "attachments",
                "unsupported_parameter",
            ),
        ] {
            let mut body = json!({"assistant_id": "tutor"});
            for (name, value) in more.as_object().unwrap() {
                body[name] = value.clone();
            }
            assert_eq!(
                read(body.clone()).unwrap_err(),
                (param.to_owned(), code),
                "{body}"
            );
        }
    }
}

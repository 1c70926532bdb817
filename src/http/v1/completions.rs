//! `POST /v1/chat/completions`: an answer that is waited for, for programs that know nothing else. It is a response like
//! any other: if it takes longer than the server lets anybody wait, the error names it, and it can be polled.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use entity::llm_request::CacheUse;
use entity::{AskedAs, ChatId, Effort, MessageId, Parameters, RequestId, Surface};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::asked::{refuse_others, refuse_stream};
use super::error::ApiError;
use super::ids;
use super::input::{Asked, Input, Item};
use super::object::{OutputItem, ResponseObject, Status, Usage};
use super::responses::{asked, body_of};
use crate::chat::{After, NewResponse};
use crate::http::AppState;
use crate::http::body::Uploaded;
use crate::http::extract::{CacheControl, Caller};
use crate::http::hold::LongestHold;
use crate::http::openapi::{OnceKey, Refused};
use crate::http::problem::{Kind, Problem};
use crate::http::reply;
use crate::model::hint::Activity;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(create))
}

/// What is asked for. Parameters that OpenAI's libraries know and that are not here are refused by their names, unless
/// the answer is the same without them.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ApiCompletionCreate)]
struct CompletionCreate {
    /// None: the server's default.
    #[schema(example = "demo")]
    model: Option<String>,
    /// What was said, the user's question last.
    #[schema(required)]
    messages: Option<Vec<Item>>,
    /// `false`: the chat goes after an hour.
    store: Option<bool>,
    /// Only `false`: there are no streams here.
    stream: Option<bool>,
    /// Only 1.
    #[schema(minimum = 1, maximum = 1)]
    n: Option<u32>,
    /// What the program keeps with the answer for itself.
    metadata: Option<BTreeMap<String, String>>,
    #[schema(minimum = 0)]
    temperature: Option<f64>,
    #[schema(minimum = 0, maximum = 1)]
    top_p: Option<f64>,
    #[schema(minimum = 1, example = 400)]
    max_completion_tokens: Option<u32>,
    /// The older name of `max_completion_tokens`, which goes before it.
    #[schema(minimum = 1, example = json!(null))]
    max_tokens: Option<u32>,
    stop: Option<Stop>,
    seed: Option<i64>,
    reasoning_effort: Option<Effort>,
    #[serde(flatten)]
    #[schema(ignore)]
    others: BTreeMap<String, Value>,
}

/// Texts that end the answer: one, or several.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "a text or a list of texts is taken")]
#[schema(as = ApiStop)]
enum Stop {
    One(String),
    Several(Vec<String>),
}

/// Parameters that have no word in the answer here.
const PASSED_OVER: [&str; 9] = [
    "parallel_tool_calls",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "stream_options",
    "user",
    "verbosity",
];

/// Parameters that would have to change the answer, and cannot here. Those that ask for nothing are taken.
const REFUSED: [(&str, &str); 13] = [
    ("audio", "this server answers in text alone"),
    ("frequency_penalty", "only 0 is taken here"),
    (
        "function_call",
        "this server calls no functions; `auto` and `none` are taken",
    ),
    (
        "functions",
        "this server calls no functions; leave them out, and answer in text",
    ),
    ("logit_bias", "this server does not pass it on"),
    (
        "logprobs",
        "this server does not know how likely a token was",
    ),
    ("moderation", "this server does not moderate"),
    ("prediction", "this server does not pass it on"),
    ("presence_penalty", "only 0 is taken here"),
    (
        "tool_choice",
        "this server calls no tools; `auto` and `none` are taken",
    ),
    (
        "tools",
        "this server calls no tools; leave `tools` out, and answer in text",
    ),
    (
        "top_logprobs",
        "this server does not know how likely a token was",
    ),
    ("web_search_options", "this server does not search the web"),
];

/// An answer, whole.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiCompletion)]
struct Completion {
    #[schema(example = "chatcmpl_01990f5e7c1a7b6e9f0a3c5d8e2b4a62")]
    id: String,
    #[schema(pattern = "^chat\\.completion$")]
    object: &'static str,
    /// Seconds since 1970.
    #[schema(example = 1_758_500_000)]
    created: i64,
    model: String,
    /// One.
    choices: Vec<Choice>,
    usage: CompletionUsage,
    pollen: CompletionOwn,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiCompletionChoice)]
struct Choice {
    #[schema(example = 0)]
    index: u32,
    message: Answer,
    /// `stop`, `length` (it was as long as was allowed) or `content_filter`.
    #[schema(example = "stop")]
    finish_reason: &'static str,
    /// Always null.
    #[schema(example = json!(null))]
    logprobs: Option<bool>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiCompletionMessage)]
struct Answer {
    #[schema(pattern = "^assistant$")]
    role: &'static str,
    content: String,
    /// Always null.
    #[schema(example = json!(null))]
    refusal: Option<String>,
}

/// What it took, in tokens. What the provider did not count is estimated: `pollen.usage_estimated`.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = ApiCompletionUsage)]
struct CompletionUsage {
    prompt_tokens: i64,
    prompt_tokens_details: PromptDetails,
    completion_tokens: i64,
    completion_tokens_details: CompletionDetails,
    total_tokens: i64,
}

#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = ApiPromptDetails)]
struct PromptDetails {
    cached_tokens: i64,
}

#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = ApiCompletionDetails)]
struct CompletionDetails {
    reasoning_tokens: i64,
}

/// What Pollen alone has to say.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiCompletionOwn)]
struct CompletionOwn {
    /// The same answer as a response: `GET /v1/responses/{id}`.
    #[schema(example = "resp_01990f5e7c1a7b6e9f0a3c5d8e2b4a62")]
    response_id: String,
    /// Where the chat is on the page and in Pollen's own routes: `/chat/{uuid}`.
    chat_uuid: ChatId,
    message_uuid: Option<MessageId>,
    request_uuid: Option<RequestId>,
    /// Whether `usage` is reckoned from the texts, for want of a count.
    usage_estimated: bool,
}

impl CompletionCreate {
    /// # Errors
    /// Names the parameter that cannot be taken, and what to do instead.
    fn read(mut self, cache_use: CacheUse) -> Result<NewResponse, Problem> {
        refuse_stream(self.stream, "chat completions")?;
        check_format(self.others.remove("response_format").as_ref())?;
        check_modalities(self.others.remove("modalities").as_ref())?;
        refuse_others(&self.others, &PASSED_OVER, &REFUSED)?;
        if self.n.is_some_and(|n| n != 1) {
            let detail = "`n`: one answer is given at a time; leave `n` out, and ask again";
            return Err(Problem::param("n", "unsupported_value", detail));
        }
        let messages = self.messages.ok_or_else(|| {
            let detail = "`messages` is missing: what was said, the user's question last";
            Problem::param("messages", "missing_required_parameter", detail)
        })?;
        let Asked { earlier, question } = Input::Items(messages).read("messages")?;
        Ok(NewResponse {
            model: self.model,
            agent: None,
            earlier,
            question,
            after: After::Nothing,
            instructions: None,
            parameters: Some(Parameters {
                temperature: self.temperature,
                top_p: self.top_p,
                max_tokens: self.max_completion_tokens.or(self.max_tokens),
                stop: self.stop.map(|stop| match stop {
                    Stop::One(text) => vec![text],
                    Stop::Several(texts) => texts,
                }),
                seed: self.seed,
                reasoning_effort: self.reasoning_effort,
            }),
            cache_use,
            asked_as: AskedAs {
                surface: Surface::Completion,
                metadata: self.metadata.unwrap_or_default(),
                is_passing: self.store == Some(false),
                ..AskedAs::default()
            },
        })
    }
}

/// Answers what is asked, whole. What takes longer than the server's longest wait (`limits.longest_wait_ms`) is a 504 whose
/// `error` has the `response_id` to poll.
#[utoipa::path(
    post, path = "/v1/chat/completions", params(OnceKey), request_body = CompletionCreate,
    responses((status = OK, body = Completion), Refused)
)]
async fn create(
    State(app): State<AppState>,
    Caller(owner): Caller,
    CacheControl(cache_use): CacheControl,
    LongestHold(hold): LongestHold,
    uploaded: Uploaded,
) -> Result<Response, Problem> {
    let new = body_of::<CompletionCreate>(&uploaded)?.read(cache_use)?;
    let once = uploaded.once.as_ref();
    let request = app.chats.respond(owner, new, once).await;
    let request = request.map_err(|error| as_named_here(error.into()))?;
    let answered = asked(&app, (owner, request), Some(hold), once.is_some()).await?;
    let hint = app.load.poll_after_ms(Activity::Flowing);
    let object = ResponseObject::new(&answered, hint);
    match object.status {
        Status::Queued | Status::InProgress => Err(under_way(&object)),
        Status::Completed | Status::Incomplete => {
            reply::json(StatusCode::OK, &Completion::new(object))
        }
        Status::Failed | Status::Cancelled => Err(failed(&object)),
    }
}

impl Completion {
    fn new(object: ResponseObject) -> Self {
        let reason = object.incomplete_details.as_ref();
        let finish_reason = match reason.map(|details| details.reason) {
            None => "stop",
            Some("content_filter") => "content_filter",
            Some(_) => "length",
        };
        let own = &object.pollen;
        Self {
            id: object.id.replacen(ids::RESPONSE, ids::COMPLETION, 1),
            object: "chat.completion",
            created: object.created_at,
            pollen: CompletionOwn {
                response_id: object.id,
                chat_uuid: own.chat_uuid,
                message_uuid: own.message_uuid,
                request_uuid: own.request_uuid,
                usage_estimated: own.usage_estimated,
            },
            model: object.model,
            choices: vec![Choice {
                index: 0,
                message: Answer {
                    role: "assistant",
                    content: said(object.output),
                    refusal: None,
                },
                finish_reason,
                logprobs: None,
            }],
            usage: object.usage.map(CompletionUsage::from).unwrap_or_default(),
        }
    }
}

impl From<Usage> for CompletionUsage {
    fn from(usage: Usage) -> Self {
        Self {
            prompt_tokens: usage.input_tokens,
            prompt_tokens_details: PromptDetails {
                cached_tokens: usage.input_tokens_details.cached_tokens,
            },
            completion_tokens: usage.output_tokens,
            completion_tokens_details: CompletionDetails {
                reasoning_tokens: usage.output_tokens_details.reasoning_tokens,
            },
            total_tokens: usage.total_tokens,
        }
    }
}

fn said(output: Vec<OutputItem>) -> String {
    let texts = output.into_iter().filter_map(|item| match item {
        OutputItem::Message { content, .. } => Some(content),
        OutputItem::Reasoning { .. } => None,
    });
    texts.flatten().map(|part| part.text).collect()
}

/// The answer is not there in time. No status below 400 would do: programs would take the body for an answer.
fn under_way(object: &ResponseObject) -> Problem {
    let id = &object.id;
    let detail = format!(
        "poll GET /v1/responses/{id} until its status is neither `queued` nor `in_progress`. \
         Asking again would ask the model a second time. For long answers, POST /v1/responses with `background: true`."
    );
    let mut more = about(object);
    more.insert(
        "poll_after_ms".to_owned(),
        json!(object.pollen.poll_after_ms),
    );
    of_answer(Kind::AnswerUnderWay, detail, "response_in_progress", more)
}

/// There is no answer.
fn failed(object: &ResponseObject) -> Problem {
    let mut more = about(object);
    more.insert("error_code".to_owned(), json!(object.pollen.error_code));
    let Some(error) = &object.error else {
        let detail = "it was stopped before its end";
        return of_answer(Kind::AnswerStopped, detail.to_owned(), "cancelled", more);
    };
    let mut problem = of_answer(Kind::AnswerFailed, error.message.clone(), error.code, more);
    if let Some(api) = problem.api.as_mut() {
        api.status = Some(match error.code {
            "rate_limit_exceeded" => StatusCode::TOO_MANY_REQUESTS,
            "invalid_prompt" => StatusCode::BAD_REQUEST,
            _ => StatusCode::BAD_GATEWAY,
        });
    }
    problem
}

fn about(object: &ResponseObject) -> Map<String, Value> {
    Map::from_iter([("response_id".to_owned(), json!(object.id))])
}

/// A problem that asking again would not mend.
fn of_answer(kind: Kind, detail: String, code: &'static str, more: Map<String, Value>) -> Problem {
    let api = ApiError {
        param: None,
        code: Some(code),
        status: Some(kind.status()),
        is_asked: true,
        more,
    };
    Problem {
        api: Some(Box::new(api)),
        ..Problem::new(kind, detail)
    }
}

/// The problem with the parameter's name of this route.
fn as_named_here(mut problem: Problem) -> Problem {
    if let Some(api) = problem.api.as_mut()
        && let Some(param) = api.param.as_mut()
    {
        let name = match param.as_str() {
            "input" => "messages",
            "max_output_tokens" => "max_completion_tokens",
            "reasoning.effort" => "reasoning_effort",
            _ => return problem,
        };
        name.clone_into(param);
    }
    problem
}

fn check_format(format: Option<&Value>) -> Result<(), Problem> {
    let kind = format.and_then(|format| format.get("type"));
    if format.is_none_or(Value::is_null) || kind.is_some_and(|kind| kind == "text") {
        return Ok(());
    }
    let detail = "`response_format.type`: only \"text\" is taken here; ask for JSON in words, and check what comes";
    let param = "response_format.type";
    Err(Problem::param(param, "unsupported_value", detail))
}

fn check_modalities(modalities: Option<&Value>) -> Result<(), Problem> {
    let is_text = |all: &Value| all.is_null() || *all == json!(["text"]);
    if modalities.is_none_or(is_text) {
        return Ok(());
    }
    let detail = "`modalities`: this server answers in text alone; only [\"text\"] is taken";
    Err(Problem::param("modalities", "unsupported_value", detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: Value) -> Result<NewResponse, (String, &'static str)> {
        let body: CompletionCreate = serde_json::from_value(body).unwrap();
        body.read(CacheUse::Any).map_err(|problem| {
            let api = problem.api.unwrap();
            (api.param.unwrap(), api.code.unwrap())
        })
    }

    #[test]
    fn what_a_library_sends_is_read() {
        let new = read(json!({
            "model": "demo", "messages": [
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "Hi"}], "name": "Ann"},
            ],
            "n": 1, "stop": "###", "max_tokens": 5, "max_completion_tokens": 7, "temperature": null, "seed": 3,
            "tools": [], "tool_choice": "auto", "response_format": {"type": "text"}, "modalities": ["text"],
            "logprobs": false, "frequency_penalty": 0, "user": "u", "stream": false, "store": false,
        }))
        .unwrap();
        assert_eq!((new.question.as_str(), new.earlier.len()), ("Hi", 1));
        let parameters = new.parameters.unwrap();
        assert_eq!((parameters.max_tokens, parameters.seed), (Some(7), Some(3)));
        assert_eq!(parameters.stop, Some(vec!["###".to_owned()]));
        assert!(new.asked_as.is_passing);
        assert_eq!(new.asked_as.surface, Surface::Completion);
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_name() {
        let messages = json!([{"role": "user", "content": "x"}]);
        for (more, param, code) in [
            (json!({"stream": true}), "stream", "unsupported_value"),
            (json!({"n": 2}), "n", "unsupported_value"),
            (json!({"tools": [{}]}), "tools", "unsupported_parameter"),
            (
                json!({"functions": [{}]}),
                "functions",
                "unsupported_parameter",
            ),
            (
                json!({"logprobs": true}),
                "logprobs",
                "unsupported_parameter",
            ),
            (
                json!({"presence_penalty": 0.5}),
                "presence_penalty",
                "unsupported_parameter",
            ),
            (
                json!({"prediction": {"type": "content"}}),
                "prediction",
                "unsupported_parameter",
            ),
            (
                json!({"audio": {"voice": "x"}}),
                "audio",
                "unsupported_parameter",
            ),
            (
                json!({"modalities": ["audio"]}),
                "modalities",
                "unsupported_value",
            ),
            (
                json!({"response_format": {"type": "json_object"}}),
                "response_format.type",
                "unsupported_value",
            ),
            (json!({"max_token": 1}), "max_token", "unknown_parameter"),
            (
                json!({"messages": null}),
                "messages",
                "missing_required_parameter",
            ),
            (
                json!({"messages": [{"role": "tool", "content": "x"}]}),
                "messages[0].role",
                "invalid_value",
            ),
        ] {
            let mut body = json!({"messages": messages});
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

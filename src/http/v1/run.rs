//! A run as OpenAI's libraries read it: a request, under the names that those who poll runs know.

use std::collections::BTreeMap;

use entity::llm_request::{Model as Request, Status as RequestStatus};
use entity::{ChatId, MessageId, RequestId};
use serde::Serialize;
use utoipa::ToSchema;

use super::assistants;
use super::ids;
use super::object::{IncompleteDetails, ResponseFailure, ResponseObject, Status, Usage};
use crate::chat::Response;

/// An answer to a thread's last message, and how far it is. Its text is in the thread's messages.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiRun)]
pub struct RunObject {
    #[schema(example = "run_01990f5e7c1a7b6e9f0a3c5d8e2b4a62")]
    pub id: String,
    #[schema(pattern = "^thread\\.run$")]
    object: &'static str,
    /// Seconds since 1970, as all times here.
    #[schema(example = 1_758_500_000)]
    created_at: i64,
    #[schema(example = "thread_01990f5e7c1a7b6e9f0a3c5d8e2b4a62")]
    thread_id: String,
    /// As the run named it.
    #[schema(example = "asst_tutor")]
    assistant_id: String,
    status: Status,
    /// Always null: there are no tools.
    #[schema(example = json!(null))]
    required_action: Option<String>,
    #[schema(example = json!(null))]
    last_error: Option<ResponseFailure>,
    /// Always null.
    #[schema(example = json!(null))]
    expires_at: Option<i64>,
    started_at: Option<i64>,
    #[schema(example = json!(null))]
    cancelled_at: Option<i64>,
    #[schema(example = json!(null))]
    failed_at: Option<i64>,
    #[schema(example = json!(null))]
    completed_at: Option<i64>,
    #[schema(example = json!(null))]
    incomplete_details: Option<RunIncomplete>,
    model: String,
    /// What the run itself said; an agent's own words are not shown.
    instructions: String,
    /// Always empty.
    #[schema(example = json!([]))]
    tools: Vec<String>,
    metadata: BTreeMap<String, String>,
    /// None while it is not over.
    #[schema(example = json!(null))]
    usage: Option<RunUsage>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    /// Always null.
    #[schema(example = json!(null))]
    max_prompt_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    truncation_strategy: Truncation,
    #[schema(example = "auto")]
    response_format: &'static str,
    #[schema(example = "auto")]
    tool_choice: &'static str,
    parallel_tool_calls: bool,
    pollen: RunOwn,
}

/// Why it ended before its end.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiRunIncomplete)]
struct RunIncomplete {
    /// `max_completion_tokens`; null where the model's provider would not have the answer: the message then says
    /// `content_filter`.
    #[schema(example = "max_completion_tokens")]
    reason: Option<&'static str>,
}

/// What it took, in tokens. What the provider did not count is estimated: `pollen.usage_estimated`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiRunUsage)]
#[expect(clippy::struct_field_names, reason = "the interface calls them so")]
struct RunUsage {
    prompt_tokens: i64,
    completion_tokens: i64,
    total_tokens: i64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiTruncation)]
struct Truncation {
    #[serde(rename = "type")]
    #[schema(example = "auto")]
    kind: &'static str,
    #[schema(example = json!(null))]
    last_messages: Option<u32>,
}

/// What Pollen alone has to say.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiRunOwn)]
struct RunOwn {
    /// The same answer as a response: `GET /v1/responses/{id}`.
    #[schema(example = "resp_01990f5e7c1a7b6e9f0a3c5d8e2b4a62")]
    response_id: String,
    /// Where the chat is on the page and in Pollen's own routes: `/chat/{uuid}`.
    chat_uuid: ChatId,
    /// The answer's message; none while it waits to be begun.
    message_uuid: Option<MessageId>,
    request_uuid: RequestId,
    /// When to ask again, in milliseconds; none once it is over.
    poll_after_ms: Option<u64>,
    usage_estimated: bool,
    /// The reason of a failure, in Pollen's words.
    #[schema(example = json!(null))]
    error_code: Option<String>,
}

/// The one thing that a run does.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiRunStep)]
pub struct RunStep {
    #[schema(example = "step_01990f5e7c1a7b6e9f0a3c5d8e2b4a62")]
    pub id: String,
    #[schema(pattern = "^thread\\.run\\.step$")]
    object: &'static str,
    #[schema(example = 1_758_500_000)]
    created_at: i64,
    #[schema(example = "asst_tutor")]
    assistant_id: String,
    #[schema(example = "thread_01990f5e7c1a7b6e9f0a3c5d8e2b4a62")]
    thread_id: String,
    #[schema(example = "run_01990f5e7c1a7b6e9f0a3c5d8e2b4a62")]
    run_id: String,
    #[serde(rename = "type")]
    #[schema(pattern = "^message_creation$")]
    kind: &'static str,
    /// `in_progress`, `completed`, `cancelled` or `failed`.
    #[schema(example = "completed")]
    status: &'static str,
    step_details: StepDetails,
    #[schema(example = json!(null))]
    last_error: Option<ResponseFailure>,
    #[schema(example = json!(null))]
    expired_at: Option<i64>,
    #[schema(example = json!(null))]
    cancelled_at: Option<i64>,
    #[schema(example = json!(null))]
    failed_at: Option<i64>,
    completed_at: Option<i64>,
    /// Always empty.
    #[schema(example = json!({}))]
    metadata: BTreeMap<String, String>,
    usage: Option<RunUsage>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiStepDetails)]
struct StepDetails {
    #[serde(rename = "type")]
    #[schema(pattern = "^message_creation$")]
    kind: &'static str,
    message_creation: MessageCreation,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiMessageCreation)]
struct MessageCreation {
    #[schema(example = "msg_01990f5e7c1a7b6e9f0a3c5d8e2b4a62")]
    message_id: String,
}

impl RunObject {
    /// `hint`: milliseconds until a poll is worth while. None: it is not a request's.
    pub fn new(run: &Response, hint: u64) -> Option<Self> {
        let request = run.request.as_ref()?;
        let assistant_id = assistant_of(request, run);
        let object = ResponseObject::new(run, hint);
        let status = object.status;
        let ended = |wanted: &[RequestStatus]| {
            let at = request
                .finished_at
                .filter(|_| wanted.contains(&request.status));
            at.map(|at| at.0 / 1000)
        };
        Some(Self {
            id: ids::write(ids::RUN, request.id.0),
            object: "thread.run",
            created_at: object.created_at,
            thread_id: ids::write(ids::THREAD, request.chat_id.0),
            assistant_id,
            status,
            required_action: None,
            last_error: object.error,
            expires_at: None,
            started_at: request.started_at.map(|at| at.0 / 1000),
            cancelled_at: ended(&[RequestStatus::Cancelled]),
            failed_at: ended(&[RequestStatus::Failed]).filter(|_| status == Status::Failed),
            completed_at: ended(&[RequestStatus::Completed])
                .filter(|_| status == Status::Completed),
            incomplete_details: object.incomplete_details.as_ref().map(RunIncomplete::new),
            model: object.model,
            instructions: object.instructions.unwrap_or_default(),
            tools: Vec::new(),
            metadata: object.metadata,
            usage: object.usage.as_ref().map(RunUsage::new),
            temperature: object.temperature,
            top_p: object.top_p,
            max_prompt_tokens: None,
            max_completion_tokens: object.max_output_tokens,
            truncation_strategy: Truncation {
                kind: "auto",
                last_messages: None,
            },
            response_format: "auto",
            tool_choice: "auto",
            parallel_tool_calls: false,
            pollen: RunOwn {
                response_id: object.id,
                chat_uuid: request.chat_id,
                message_uuid: request.assistant_message_id,
                request_uuid: request.id,
                poll_after_ms: object.pollen.poll_after_ms,
                usage_estimated: object.pollen.usage_estimated,
                error_code: object.pollen.error_code,
            },
        })
    }

    /// When to ask again, in milliseconds; none once it is over.
    pub fn hint(&self) -> Option<u64> {
        self.pollen.poll_after_ms
    }

    /// What it has done so far.
    pub fn into_steps(self) -> Vec<RunStep> {
        let Some(message) = self.pollen.message_uuid else {
            return Vec::new();
        };
        vec![RunStep {
            id: ids::write(ids::STEP, self.pollen.request_uuid.0),
            object: "thread.run.step",
            created_at: self.started_at.unwrap_or(self.created_at),
            assistant_id: self.assistant_id,
            thread_id: self.thread_id,
            run_id: self.id,
            kind: "message_creation",
            status: match self.status {
                Status::Queued | Status::InProgress => "in_progress",
                // There is a message.
                Status::Completed | Status::Incomplete => "completed",
                Status::Failed => "failed",
                Status::Cancelled => "cancelled",
            },
            step_details: StepDetails {
                kind: "message_creation",
                message_creation: MessageCreation {
                    message_id: ids::write(ids::MESSAGE, message.0),
                },
            },
            // A step knows two codes only.
            last_error: self.last_error.map(|error| ResponseFailure {
                code: match error.code {
                    "rate_limit_exceeded" => "rate_limit_exceeded",
                    _ => "server_error",
                },
                ..error
            }),
            expired_at: None,
            cancelled_at: self.cancelled_at,
            failed_at: self.failed_at,
            completed_at: self.completed_at,
            metadata: BTreeMap::new(),
            usage: self.usage,
        }]
    }
}

impl RunIncomplete {
    fn new(details: &IncompleteDetails) -> Self {
        let is_long = details.reason == "max_output_tokens";
        Self {
            reason: is_long.then_some("max_completion_tokens"),
        }
    }
}

impl RunUsage {
    fn new(usage: &Usage) -> Self {
        Self {
            prompt_tokens: usage.input_tokens,
            completion_tokens: usage.output_tokens,
            total_tokens: usage.total_tokens,
        }
    }
}

/// Who answers, as the run named them; of what was asked on the page, the chat's agent, or else the model.
fn assistant_of(request: &Request, run: &Response) -> String {
    let asked_as = request.asked_as.as_ref();
    let named = asked_as.and_then(|asked_as| asked_as.assistant.clone());
    let agent = run.chat.agent.as_deref().map(assistants::named);
    let model = run.model().map(str::to_owned);
    named.or(agent).or(model).unwrap_or_default()
}

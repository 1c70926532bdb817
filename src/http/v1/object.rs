//! A response as OpenAI's libraries read it. What is Pollen's own is in one place of it, `pollen`.

use std::collections::BTreeMap;

use entity::chat_message::Status as MessageStatus;
use entity::llm_request::{Model as Request, Status as RequestStatus};
use entity::{ChatId, Effort, MessageId, RequestId};
use serde::Serialize;
use utoipa::ToSchema;

use super::ids;
use crate::chat::{MessageRead, Response, TokensPoll};
use crate::model::failure::{Failure, FailureCode};
use crate::model::position::Position;

/// How far a response is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ApiResponseStatus)]
pub enum Status {
    Queued,
    InProgress,
    Completed,
    Failed,
    Cancelled,
    Incomplete,
}

impl Status {
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::InProgress)
    }
}

/// A response: an answer, and all that is known of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiResponse)]
pub struct ResponseObject {
    #[schema(example = "resp_01990f5e7c1a7b6e9f0a3c5d8e2b4a62")]
    pub id: String,
    #[schema(pattern = "^response$")]
    pub object: &'static str,
    /// Always null. OpenAI's types for JavaScript demand it.
    #[schema(example = json!(null))]
    pub access_programs: Option<&'static str>,
    /// Seconds since 1970, as all times here.
    #[schema(example = 1_758_500_000)]
    pub created_at: i64,
    pub status: Status,
    pub background: bool,
    #[schema(example = json!(null))]
    pub completed_at: Option<i64>,
    #[schema(example = json!(null))]
    pub error: Option<ResponseFailure>,
    #[schema(example = json!(null))]
    pub incomplete_details: Option<IncompleteDetails>,
    #[schema(example = json!(null))]
    pub instructions: Option<String>,
    pub max_output_tokens: Option<u32>,
    pub model: String,
    pub output: Vec<OutputItem>,
    pub parallel_tool_calls: bool,
    #[schema(example = json!(null))]
    pub previous_response_id: Option<String>,
    /// The chat that it is in.
    pub conversation: Conversation,
    pub reasoning: ReasoningAsked,
    pub store: bool,
    pub temperature: Option<f64>,
    pub text: TextAsked,
    #[schema(example = "auto")]
    pub tool_choice: &'static str,
    /// Always empty.
    #[schema(example = json!([]))]
    pub tools: Vec<String>,
    pub top_p: Option<f64>,
    #[schema(example = "auto")]
    pub truncation: &'static str,
    /// None while it is not over.
    #[schema(example = json!(null))]
    pub usage: Option<Usage>,
    pub metadata: BTreeMap<String, String>,
    pub pollen: Own,
}

/// Why it failed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiResponseError)]
pub struct ResponseFailure {
    /// `server_error`, `rate_limit_exceeded` or `invalid_prompt`. Pollen's own word is `pollen.error_code`.
    #[schema(example = "server_error")]
    pub code: &'static str,
    pub message: String,
}

/// Why it ended before its end.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiIncompleteDetails)]
pub struct IncompleteDetails {
    /// `max_output_tokens` or `content_filter`.
    #[schema(example = "max_output_tokens")]
    pub reason: &'static str,
}

/// A chat.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiConversation)]
pub struct Conversation {
    #[schema(example = "conv_01990f5e7c1a7b6e9f0a3c5d8e2b4a62")]
    pub id: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiReasoningAsked)]
pub struct ReasoningAsked {
    pub effort: Option<Effort>,
    #[schema(example = json!(null))]
    pub summary: Option<&'static str>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiTextAsked)]
pub struct TextAsked {
    pub format: TextFormat,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiTextFormat)]
pub struct TextFormat {
    #[serde(rename = "type")]
    #[schema(pattern = "^text$")]
    pub kind: &'static str,
}

/// What has come of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schema(as = ApiOutputItem)]
pub enum OutputItem {
    /// What the model thought.
    Reasoning {
        id: String,
        summary: Vec<SummaryPart>,
        status: ItemStatus,
    },
    /// What it said.
    Message {
        id: String,
        #[schema(pattern = "^assistant$")]
        role: &'static str,
        status: ItemStatus,
        content: Vec<OutputPart>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ApiItemStatus)]
pub enum ItemStatus {
    InProgress,
    Completed,
    Incomplete,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiSummaryPart)]
pub struct SummaryPart {
    #[serde(rename = "type")]
    #[schema(pattern = "^summary_text$")]
    pub kind: &'static str,
    pub text: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiOutputPart)]
pub struct OutputPart {
    #[serde(rename = "type")]
    #[schema(pattern = "^output_text$")]
    pub kind: &'static str,
    pub text: String,
    /// Always empty.
    #[schema(example = json!([]))]
    pub annotations: Vec<String>,
}

/// What it took, in tokens. What the provider did not count is estimated: `pollen.usage_estimated`.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = ApiUsage)]
pub struct Usage {
    pub input_tokens: i64,
    pub input_tokens_details: InputDetails,
    pub output_tokens: i64,
    pub output_tokens_details: OutputDetails,
    pub total_tokens: i64,
}

#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = ApiInputDetails)]
pub struct InputDetails {
    pub cached_tokens: i64,
    /// Not known: 0.
    pub cache_write_tokens: i64,
}

#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = ApiOutputDetails)]
pub struct OutputDetails {
    pub reasoning_tokens: i64,
}

/// What Pollen alone has to say.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiOwn)]
pub struct Own {
    /// Where the chat is on the page and in Pollen's own routes: `/chat/{uuid}`.
    pub chat_uuid: ChatId,
    /// The answer's message; none while it waits to be begun.
    pub message_uuid: Option<MessageId>,
    pub request_uuid: Option<RequestId>,
    /// Where a poll for what follows goes on: `?starting_after=`.
    pub position: Position,
    /// With `starting_after`: whether the text in `output` goes behind what the client has, or takes its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub append: Option<bool>,
    /// When to ask again, in milliseconds; none once it is over.
    pub poll_after_ms: Option<u64>,
    /// Whether `usage` is reckoned from the texts, for want of a count.
    pub usage_estimated: bool,
    /// The reason of a failure, in Pollen's words.
    #[schema(example = json!(null))]
    pub error_code: Option<String>,
}

impl ResponseObject {
    /// `hint`: milliseconds until a poll is worth while.
    pub fn new(response: &Response, hint: u64) -> Self {
        let status = status_of(response);
        let asked = response.request.as_ref();
        let asked_as = asked.and_then(|request| request.asked_as.clone());
        let asked_as = asked_as.unwrap_or_default();
        let parameters = response.parameters();
        let answer = response.answer.as_ref();
        let failure = failure_of(response);
        let spent = response.spent.as_ref();
        Self {
            id: ids::write(ids::RESPONSE, response.id()),
            object: "response",
            access_programs: None,
            created_at: created_at(response) / 1000,
            status,
            background: asked_as.background,
            completed_at: completed_at(response, status),
            error: failure
                .as_ref()
                .filter(|_| status == Status::Failed)
                .map(error_of),
            incomplete_details: incomplete_reason(response)
                .map(|reason| IncompleteDetails { reason }),
            instructions: asked.and_then(|request| request.instructions.clone()),
            max_output_tokens: parameters.max_tokens,
            model: response.model().unwrap_or_default().to_owned(),
            output: answer.map_or_else(Vec::new, |answer| output_of(answer, status)),
            parallel_tool_calls: false,
            previous_response_id: asked_as.previous,
            conversation: Conversation {
                id: ids::write(ids::CONVERSATION, response.chat.id.0),
            },
            reasoning: ReasoningAsked {
                effort: parameters.reasoning_effort,
                summary: None,
            },
            store: !asked_as.is_passing,
            temperature: parameters.temperature,
            text: TextAsked {
                format: TextFormat { kind: "text" },
            },
            tool_choice: "auto",
            tools: Vec::new(),
            top_p: parameters.top_p,
            truncation: "auto",
            usage: status.is_over().then(|| usage_of(response)),
            metadata: asked_as.metadata,
            pollen: Own {
                chat_uuid: response.chat.id,
                message_uuid: answer.map(|answer| answer.row.id),
                request_uuid: asked.map(|request| request.id),
                position: answer.map_or(Position::START, |answer| answer.position),
                append: None,
                poll_after_ms: (!status.is_over()).then_some(hint),
                usage_estimated: spent.is_some_and(|spent| spent.estimated),
                error_code: failure.map(|failure| failure.code),
            },
        }
    }

    /// With only what is new of the text. `hint`: milliseconds until the next poll is worth while.
    pub fn since(self, poll: TokensPoll, hint: u64) -> Self {
        // The text is not at its end before all of it has been fetched.
        let status = match poll.status {
            MessageStatus::Pending if self.status.is_over() => Status::InProgress,
            _ => self.status,
        };
        let is_over = status.is_over();
        let (append, position) = (poll.delta.append, poll.delta.position);
        let text = poll.delta.tokens;
        let is_news = !text.is_empty() || !append;
        let output = is_news.then(|| said(poll.message, text, item_status(status)));
        Self {
            output: output.into_iter().collect(),
            completed_at: self.completed_at.filter(|_| is_over),
            error: self.error.filter(|_| is_over),
            incomplete_details: self.incomplete_details.filter(|_| is_over),
            usage: self.usage.filter(|_| is_over),
            status,
            pollen: Own {
                position,
                append: Some(append),
                poll_after_ms: (!is_over).then_some(hint),
                ..self.pollen
            },
            ..self
        }
    }
}

fn status_of(response: &Response) -> Status {
    let ended = match &response.request {
        Some(request) => match request.status {
            // One that has begun waits for its next attempt, and has an answer that is seen.
            RequestStatus::Queued if request.started_at.is_none() => return Status::Queued,
            RequestStatus::Queued | RequestStatus::Running => return Status::InProgress,
            RequestStatus::Completed => Status::Completed,
            RequestStatus::Failed => Status::Failed,
            RequestStatus::Cancelled => Status::Cancelled,
        },
        None => match response.answer.as_ref().map(|answer| answer.row.status) {
            Some(MessageStatus::Failed) => Status::Failed,
            Some(MessageStatus::Cancelled) => Status::Cancelled,
            Some(MessageStatus::Completed | MessageStatus::Pending) | None => Status::Completed,
        },
    };
    if incomplete_reason(response).is_some() {
        Status::Incomplete
    } else {
        ended
    }
}

/// Why an answer that has ended is not whole, where OpenAI has a word for it.
pub fn incomplete_reason(response: &Response) -> Option<&'static str> {
    if !response.is_over() {
        return None;
    }
    let code = failure_of(response).and_then(|failure| FailureCode::parse(&failure.code));
    match code {
        Some(FailureCode::ContentFilter) => return Some("content_filter"),
        Some(FailureCode::AnswerTooLong) => return Some("max_output_tokens"),
        Some(_) => return None,
        None => {}
    }
    let request = response.request.as_ref();
    let reason = request.and_then(|request| request.finish_reason.as_deref());
    let origin = response.answer.as_ref();
    let origin = origin.and_then(|answer| answer.row.origin.as_ref());
    let reason = reason.or(origin.and_then(|origin| origin.finish_reason.as_deref()));
    let is_whole = request.is_none_or(|request| request.status == RequestStatus::Completed);
    match reason {
        Some("length") if is_whole => Some("max_output_tokens"),
        _ => None,
    }
}

/// Why it failed, if it did.
pub fn failure_of(response: &Response) -> Option<Failure> {
    let of_request = |request: &Request| {
        let (code, message) = (
            request.error_code.as_deref(),
            request.error_message.as_deref(),
        );
        Failure::from_stored(code, message)
    };
    match &response.request {
        Some(request) => of_request(request),
        None => response
            .answer
            .as_ref()
            .and_then(|answer| answer.error.clone()),
    }
}

/// The reason in OpenAI's few words.
pub fn error_of(failure: &Failure) -> ResponseFailure {
    let code = match FailureCode::parse(&failure.code) {
        Some(FailureCode::ProviderRateLimited | FailureCode::ProviderQuota) => {
            "rate_limit_exceeded"
        }
        Some(
            FailureCode::ContextTooLong | FailureCode::ModelNotFound | FailureCode::ProviderRefused,
        ) => "invalid_prompt",
        Some(
            FailureCode::ProviderUnreachable
            | FailureCode::ProviderUnauthorized
            | FailureCode::ToolCalled
            | FailureCode::ProviderError
            | FailureCode::FirstTokenTimeout
            | FailureCode::DeadlineExceeded
            | FailureCode::ProviderStalled
            | FailureCode::ProviderBrokeOff
            | FailureCode::ProviderMalformed
            | FailureCode::EmptyAnswer
            | FailureCode::ContentFilter
            | FailureCode::AnswerTooLong
            | FailureCode::Interrupted
            | FailureCode::Cancelled
            | FailureCode::Internal,
        )
        | None => "server_error",
    };
    ResponseFailure {
        code,
        message: failure.message.clone(),
    }
}

fn output_of(answer: &MessageRead, status: Status) -> Vec<OutputItem> {
    let mut output = Vec::new();
    let is_said = !answer.content.is_empty();
    if !answer.reasoning.is_empty() {
        output.push(OutputItem::Reasoning {
            id: ids::write(ids::REASONING, answer.row.id.0),
            summary: vec![SummaryPart {
                kind: "summary_text",
                text: answer.reasoning.clone(),
            }],
            // It has thought when it speaks.
            status: if is_said {
                ItemStatus::Completed
            } else {
                item_status(status)
            },
        });
    }
    if is_said || status == Status::Completed {
        output.push(said(
            answer.row.id,
            answer.content.clone(),
            item_status(status),
        ));
    }
    output
}

fn said(message: MessageId, text: String, status: ItemStatus) -> OutputItem {
    OutputItem::Message {
        id: ids::write(ids::MESSAGE, message.0),
        role: "assistant",
        status,
        content: vec![OutputPart {
            kind: "output_text",
            text,
            annotations: Vec::new(),
        }],
    }
}

fn item_status(status: Status) -> ItemStatus {
    match status {
        Status::Queued | Status::InProgress => ItemStatus::InProgress,
        Status::Completed => ItemStatus::Completed,
        Status::Failed | Status::Cancelled | Status::Incomplete => ItemStatus::Incomplete,
    }
}

fn usage_of(response: &Response) -> Usage {
    let Some(spent) = &response.spent else {
        return Usage::default();
    };
    Usage {
        input_tokens: spent.input_tokens,
        input_tokens_details: InputDetails {
            cached_tokens: spent.cached_tokens,
            cache_write_tokens: 0,
        },
        output_tokens: spent.output_tokens,
        output_tokens_details: OutputDetails {
            reasoning_tokens: spent.reasoning_tokens,
        },
        total_tokens: spent.input_tokens.saturating_add(spent.output_tokens),
    }
}

/// Milliseconds.
fn created_at(response: &Response) -> i64 {
    let asked = response.request.as_ref().map(|request| request.created_at);
    let answered = response.answer.as_ref().map(|answer| answer.row.created_at);
    asked.or(answered).map_or(0, |at| at.0)
}

/// Seconds.
fn completed_at(response: &Response, status: Status) -> Option<i64> {
    if status != Status::Completed {
        return None;
    }
    let asked = response
        .request
        .as_ref()
        .and_then(|request| request.finished_at);
    let answered = response
        .answer
        .as_ref()
        .and_then(|answer| answer.row.completed_at);
    asked.or(answered).map(|at| at.0 / 1000)
}

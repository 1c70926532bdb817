//! What `POST /v1/responses` takes. Each parameter that OpenAI's libraries know is here: it does what it says, or is passed
//! over because the answer is the same without it, or is refused by its name.

use std::collections::BTreeMap;

use entity::llm_request::CacheUse;
use entity::{AskedAs, Effort, Parameters, Surface};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::ids;
use super::input::{Asked, Input};
use super::own::OWN;
use crate::chat::{After, NewResponse};
use crate::http::problem::{Kind, Problem};

/// What is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ApiResponseCreate)]
pub struct ResponseCreate {
    /// None: the chat's, or the server's default.
    #[schema(example = "demo")]
    pub model: Option<String>,
    #[schema(required)]
    pub input: Option<Input>,
    /// What the system says for this answer alone.
    pub instructions: Option<String>,
    /// The answer comes at once, with `queued`, and is polled. Else it comes when the model has ended, or the server's
    /// longest wait (`limits.longest_wait_ms`) is over.
    pub background: Option<bool>,
    /// `false`: the chat goes after an hour.
    pub store: Option<bool>,
    /// Only `false`: there are no streams here.
    pub stream: Option<bool>,
    /// Goes on from this response.
    #[schema(example = json!(null))]
    pub previous_response_id: Option<String>,
    /// Goes on in this chat.
    #[schema(example = json!(null))]
    pub conversation: Option<ConversationRef>,
    /// What the program keeps with the response for itself.
    pub metadata: Option<BTreeMap<String, String>>,
    #[schema(minimum = 0)]
    pub temperature: Option<f64>,
    #[schema(minimum = 0, maximum = 1)]
    pub top_p: Option<f64>,
    #[schema(minimum = 1, example = 400)]
    pub max_output_tokens: Option<u32>,
    pub reasoning: Option<Reasoning>,
    #[serde(flatten)]
    #[schema(ignore)]
    pub others: BTreeMap<String, Value>,
}

/// A chat, by its id or as an object with it.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "an id, or an object with an `id`, is taken")]
#[schema(as = ApiConversationRef)]
pub enum ConversationRef {
    Id(String),
    Object { id: String },
}

/// How the model is to think.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[schema(as = ApiReasoning)]
pub struct Reasoning {
    pub effort: Option<Effort>,
}

/// Parameters that have no word in the answer here.
const PASSED_OVER: [&str; 15] = [
    "access_programs",
    "background_options",
    "context_management",
    "include",
    "max_tool_calls",
    "parallel_tool_calls",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "stream_options",
    "top_logprobs",
    "truncation",
    "user",
];

/// Parameters that would have to change the answer, and cannot here. Those that ask for nothing are taken.
const REFUSED: [(&str, &str); 5] = [
    ("image", "this server answers in text alone"),
    ("moderation", "this server does not moderate"),
    (
        "prompt",
        "this server keeps no prompts; send the text as `instructions` and `input`",
    ),
    (
        "tools",
        "this server calls no tools; leave `tools` out, and answer in text",
    ),
    (
        "tool_choice",
        "this server calls no tools; `auto` and `none` are taken",
    ),
];

impl ResponseCreate {
    /// What the use case is asked for.
    ///
    /// # Errors
    /// Names the parameter that cannot be taken, and what to do instead.
    pub fn read(mut self, cache_use: CacheUse) -> Result<NewResponse, Problem> {
        refuse_stream(self.stream, "responses")?;
        check_text_format(self.others.remove("text").as_ref(), "text")?;
        refuse_others(&self.others, &PASSED_OVER, &REFUSED)?;
        let background = self.background.unwrap_or(false);
        let is_kept = self.store.unwrap_or(true);
        let goes_on = self.previous_response_id.is_some() || self.conversation.is_some();
        if !is_kept && background {
            let detail = "`store`: a response in the background is polled, so it has to be stored; leave `store` out";
            return Err(Problem::param("store", "invalid_value", detail));
        }
        if !is_kept && goes_on {
            let detail = "`store`: what goes on in a chat is stored with it; leave `store` out";
            return Err(Problem::param("store", "invalid_value", detail));
        }
        let after = after(self.previous_response_id.as_deref(), self.conversation)?;
        let input = self.input.ok_or_else(|| {
            let detail = "`input` is missing: a text, or messages the last of which is the user's";
            Problem::param("input", "missing_required_parameter", detail)
        })?;
        let Asked { earlier, question } = input.read("input")?;
        Ok(NewResponse {
            model: self.model,
            agent: None,
            earlier,
            question,
            after,
            instructions: self.instructions,
            parameters: Some(Parameters {
                temperature: self.temperature,
                top_p: self.top_p,
                max_tokens: self.max_output_tokens,
                reasoning_effort: self.reasoning.unwrap_or_default().effort,
                ..Parameters::default()
            }),
            cache_use,
            asked_as: AskedAs {
                surface: Surface::Response,
                metadata: self.metadata.unwrap_or_default(),
                previous: self.previous_response_id,
                background,
                is_passing: !is_kept,
                ..AskedAs::default()
            },
        })
    }
}

fn after(previous: Option<&str>, conversation: Option<ConversationRef>) -> Result<After, Problem> {
    let conversation = conversation.map(|conversation| match conversation {
        ConversationRef::Id(id) | ConversationRef::Object { id } => id,
    });
    match (previous, conversation) {
        (None, None) => Ok(After::Nothing),
        (Some(_), Some(_)) => {
            let detail = "`previous_response_id` and `conversation` say the same in two ways; send one of them";
            Err(Problem::param(
                "previous_response_id",
                "invalid_value",
                detail,
            ))
        }
        (Some(id), None) => ids::read(id).map(After::Response).ok_or_else(|| {
            let detail = format!("there is no response {:?}", ids::quoted(id));
            not_found(
                detail,
                "previous_response_id",
                "previous_response_not_found",
            )
        }),
        (None, Some(id)) => {
            let chat = ids::read(&id).map(|id| After::Chat(entity::ChatId(id)));
            chat.ok_or_else(|| {
                let detail = format!("there is no chat {:?}", ids::quoted(&id));
                not_found(detail, "conversation", "conversation_not_found")
            })
        }
    }
}

pub fn not_found(detail: String, param: &'static str, code: &'static str) -> Problem {
    Problem::new(Kind::MessageNotFound, detail).of_param(param, code)
}

/// Refuses a stream, and says what to do instead.
pub fn refuse_stream(stream: Option<bool>, what: &str) -> Result<(), Problem> {
    if stream != Some(true) {
        return Ok(());
    }
    let detail = format!(
        "`stream`: this server never streams: it is for places where long-lived connections are cut. Leave `stream` out. \
         For an answer that grows, POST /v1/responses with `background: true` and poll GET /v1/responses/{{id}} until \
         its status is neither `queued` nor `in_progress`; `?starting_after=` has only what is new. \
         Without `background`, {what} are answered whole."
    );
    Err(Problem::param("stream", "unsupported_value", detail))
}

/// Refuses a form of the text that is not plain. `param`: what has the `format` in it.
pub fn check_text_format(text: Option<&Value>, param: &str) -> Result<(), Problem> {
    let format = text.and_then(|text| text.get("format"));
    let kind = format.and_then(|format| format.get("type"));
    let is_plain = kind.is_none_or(|kind| kind == "text" || kind.is_null());
    if is_plain {
        return Ok(());
    }
    let detail = format!(
        "`{param}.format.type`: only \"text\" is taken here; ask for JSON in words, and check what comes"
    );
    let param = format!("{param}.format.type");
    Err(Problem::param(param, "unsupported_value", detail))
}

/// Refuses parameters that are known to be impossible here, and those that nobody knows.
pub fn refuse_others(
    others: &BTreeMap<String, Value>,
    passed_over: &[&str],
    refused: &[(&str, &str)],
) -> Result<(), Problem> {
    for (name, value) in others {
        // What is ours was read with the body.
        if passed_over.contains(&name.as_str()) || name == OWN {
            continue;
        }
        match refused.iter().find(|(refused, _)| refused == name) {
            Some(_) if asks_for_nothing(value) => {}
            Some((_, why)) => {
                let detail = format!("`{name}`: {why}");
                return Err(Problem::param(name, "unsupported_parameter", detail));
            }
            None => {
                let name = ids::quoted(name);
                let detail = format!("`{name}` is not a parameter that this server knows");
                return Err(Problem::param(name, "unknown_parameter", detail));
            }
        }
    }
    Ok(())
}

fn asks_for_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(word) => ["", "auto", "none"].contains(&word.as_str()),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: Value) -> Result<NewResponse, (String, &'static str)> {
        let body: ResponseCreate = serde_json::from_value(body).unwrap();
        body.read(CacheUse::Any).map_err(|problem| {
            let api = problem.api.unwrap();
            (api.param.unwrap(), api.code.unwrap())
        })
    }

    #[test]
    fn what_a_library_sends_is_read() {
        let uuid = uuid::Uuid::now_v7();
        let new = read(json!({
            "model": "demo", "input": "Hi", "instructions": "Be brief.", "background": true,
            "previous_response_id": format!("resp_{}", uuid.simple()), "metadata": {"topic": "x"},
            "temperature": 0.5, "top_p": null, "max_output_tokens": 20, "reasoning": {"effort": "low", "summary": "auto"},
            "tools": [], "tool_choice": "auto", "text": {"format": {"type": "text"}, "verbosity": "low"},
            "user": "u", "truncation": "auto", "include": ["reasoning.encrypted_content"], "stream": false,
        }))
        .unwrap();
        assert_eq!(new.after, After::Response(uuid));
        let parameters = new.parameters.unwrap();
        assert_eq!(parameters.max_tokens, Some(20));
        assert_eq!(parameters.reasoning_effort, Some(Effort::Low));
        assert!(new.asked_as.background && !new.asked_as.is_passing);
        assert_eq!(new.asked_as.metadata["topic"], "x");
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_name() {
        let id = uuid::Uuid::nil().to_string();
        for (body, param, code) in [
            (json!({}), "input", "missing_required_parameter"),
            (
                json!({"input": "x", "stream": true}),
                "stream",
                "unsupported_value",
            ),
            (
                json!({"input": "x", "store": false, "background": true}),
                "store",
                "invalid_value",
            ),
            (
                json!({"input": "x", "store": false, "conversation": id}),
                "store",
                "invalid_value",
            ),
            (
                json!({"input": "x", "tools": [{"type": "web_search"}]}),
                "tools",
                "unsupported_parameter",
            ),
            (
                json!({"input": "x", "tool_choice": "required"}),
                "tool_choice",
                "unsupported_parameter",
            ),
            (
                json!({"input": "x", "prompt": {"id": "p"}}),
                "prompt",
                "unsupported_parameter",
            ),
            (
                json!({"input": "x", "temprature": 1}),
                "temprature",
                "unknown_parameter",
            ),
            (
                json!({"input": "x", "text": {"format": {"type": "json_object"}}}),
                "text.format.type",
                "unsupported_value",
            ),
            (
                json!({"input": "x", "previous_response_id": id, "conversation": {"id": id}}),
                "previous_response_id",
                "invalid_value",
            ),
            (
                json!({"input": "x", "previous_response_id": "resp_none"}),
                "previous_response_id",
                "previous_response_not_found",
            ),
            (
                json!({"input": "x", "conversation": {"id": "conv_none"}}),
                "conversation",
                "conversation_not_found",
            ),
        ] {
            let refused = read(body.clone()).unwrap_err();
            assert_eq!(refused, (param.to_owned(), code), "{body}");
        }
    }
}

//! OpenAI's chat completions, streamed: the format that most model servers speak, each with
//! something of its own. <https://platform.openai.com/docs/api-reference/chat/create> and
//! `…/chat/streaming`.
//!
//! An answer is finished by a `finish_reason`. The end of the connection does not finish it, nor
//! does `[DONE]` alone. `usage` may come in any chunk, with or without `choices`, and an `error`
//! may come in any chunk too, after a 200.

use std::ops::ControlFlow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use url::Url;

use super::wire::{Format, Framing, Parser, Place, Trouble, finished, set, text_of, tokens};
use super::{Call, Capabilities, Event, ListedModel, Speaker, ToolCall};
use crate::model::usage::Usage;

/// OpenAI takes no more, and others follow it.
const MAX_STOP: usize = 4;
const MAX_TEMPERATURE: f64 = 2.0;
/// Hosts whose reasoning models refuse `max_tokens`; others may not know the newer name.
const NEWER_HOST: &str = "api.openai.com";
const NEWER_DOMAIN: &str = ".openai.azure.com";
/// It refuses what it does not know, `stream_options` and `seed` among it; its usage comes unasked.
/// <https://docs.mistral.ai/api/endpoint/chat>
const MISTRAL_HOST: &str = "api.mistral.ai";

/// Any server that speaks chat completions.
pub(super) struct Chat {
    max_tokens: &'static str,
    seed: &'static str,
    /// Usage comes only where it is asked for.
    ask_for_usage: bool,
    send_reasoning: bool,
}

impl Chat {
    pub fn new(base: &Url, send_reasoning: bool) -> Self {
        let host = base.host_str().unwrap_or_default();
        let is_newer = host == NEWER_HOST || host.ends_with(NEWER_DOMAIN);
        let is_mistral = host == MISTRAL_HOST;
        Self {
            max_tokens: if is_newer {
                "max_completion_tokens"
            } else {
                "max_tokens"
            },
            seed: if is_mistral { "random_seed" } else { "seed" },
            ask_for_usage: !is_mistral,
            send_reasoning,
        }
    }

    fn messages(&self, call: &Call) -> Vec<Value> {
        call.turns
            .iter()
            .map(|turn| {
                let mut message = json!({"role": turn.speaker, "content": turn.content});
                if let Some(reasoning) = &turn.reasoning
                    && self.send_reasoning
                    && turn.speaker == Speaker::Assistant
                {
                    message["reasoning_content"] = json!(reasoning);
                }
                message
            })
            .collect()
    }
}

impl Format for Chat {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            max_temperature: MAX_TEMPERATURE,
            max_stop: MAX_STOP,
            seed: true,
            reasoning_effort: true,
        }
    }

    fn sends_reasoning(&self) -> bool {
        self.send_reasoning
    }

    fn framing(&self) -> Framing {
        Framing::Events
    }

    fn answer_at(&self, _: &Call) -> Place {
        Place::at(&["chat", "completions"])
    }

    fn body(&self, call: &Call) -> Value {
        let parameters = &call.parameters;
        let mut body = json!({
            "model": call.model,
            "messages": self.messages(call),
            "stream": true,
        });
        if let Some(body) = body.as_object_mut() {
            let options = self.ask_for_usage.then(|| json!({"include_usage": true}));
            set(body, "stream_options", options);
            set(body, "temperature", parameters.temperature);
            set(body, "top_p", parameters.top_p);
            set(body, self.max_tokens, parameters.max_tokens);
            set(body, "stop", parameters.stop.as_ref());
            set(body, self.seed, parameters.seed);
            set(body, "reasoning_effort", parameters.reasoning_effort);
        }
        body
    }

    fn parser(&self) -> Box<dyn Parser> {
        Box::new(Chunks)
    }

    fn models_at(&self) -> Place {
        Place::at(&["models"])
    }

    fn listed(&self, listing: &Value) -> Option<Vec<ListedModel>> {
        listed(listing)
    }
}

/// The models of `GET /models`. How long a conversation may be, each server says in its own words.
pub(super) fn listed(listing: &Value) -> Option<Vec<ListedModel>> {
    // Some servers leave out the wrapping.
    let models = listing["data"].as_array().or_else(|| listing.as_array())?;
    let first = |values: &[&Value]| {
        let count = values.iter().find_map(|value| value.as_u64())?;
        u32::try_from(count).ok().filter(|count| *count > 0)
    };
    let model = |model: &Value| {
        let id = text_of(&model["id"])?;
        Some(ListedModel {
            id: id.to_owned(),
            name: text_of(&model["name"])
                .filter(|name| *name != id)
                .map(str::to_owned),
            context_window: first(&[
                &model["context_length"],
                &model["context_window"],
                &model["max_context_length"],
                &model["max_model_len"],
            ]),
            max_output: first(&[
                &model["top_provider"]["max_completion_tokens"],
                &model["max_completion_tokens"],
            ]),
        })
    };
    Some(models.iter().filter_map(model).collect())
}

/// Chunks keep nothing for each other.
struct Chunks;

/// A chunk that says nothing but more text: whatever else could be in one is missing or null.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "what stands there is of no interest, but it is known"
)]
struct PlainChunk {
    choices: [PlainChoice; 1],
    object: Option<PlainObject>,
    id: Option<IgnoredAny>,
    created: Option<IgnoredAny>,
    model: Option<IgnoredAny>,
    provider: Option<IgnoredAny>,
    system_fingerprint: Option<IgnoredAny>,
    service_tier: Option<IgnoredAny>,
    obfuscation: Option<IgnoredAny>,
    usage: Option<Never>,
}

#[derive(Deserialize)]
enum PlainObject {
    #[serde(rename = "chat.completion.chunk")]
    Chunk,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "what stands there is of no interest, but it is known"
)]
struct PlainChoice {
    delta: PlainDelta,
    index: Option<IgnoredAny>,
    logprobs: Option<IgnoredAny>,
    finish_reason: Option<Never>,
    native_finish_reason: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "what stands there is of no interest, but it is known"
)]
struct PlainDelta {
    content: String,
    role: Option<IgnoredAny>,
    refusal: Option<Never>,
    reasoning: Option<Never>,
    reasoning_content: Option<Never>,
    tool_calls: Option<Never>,
    function_call: Option<Never>,
}

/// What can only be missing or null.
#[derive(Deserialize)]
enum Never {}

impl Parser for Chunks {
    fn plain(&mut self, chunk: &str) -> Option<Event> {
        let chunk: PlainChunk = serde_json::from_str(chunk).ok()?;
        let [choice] = chunk.choices;
        let text = choice.delta.content;
        (!text.is_empty()).then_some(Event::Text(text))
    }

    /// A chunk of the stream, or a whole completion: what differs is `delta` or `message`.
    fn piece(
        &mut self,
        chunk: &Value,
        events: &mut Vec<Event>,
    ) -> Result<ControlFlow<()>, Trouble> {
        // Groq had it here before it followed `stream_options`.
        let counted = [&chunk["usage"], &chunk["x_groq"]["usage"]];
        events.extend(counted.into_iter().find_map(usage).map(Event::Usage));
        let choice = &chunk["choices"][0];
        let said = if choice["delta"].is_object() {
            &choice["delta"]
        } else {
            &choice["message"]
        };
        said_by(said, events);
        match choice["finish_reason"].as_str() {
            None | Some("") => Ok(ControlFlow::Continue(())),
            Some("content_filter") => Err(Trouble::Filtered),
            Some("error") => Err(Trouble::Reported(choice["error"].clone())),
            Some(reason) => {
                events.push(finished(match reason {
                    "function_call" => "tool_calls",
                    "model_length" => "length",
                    other => other,
                }));
                Ok(ControlFlow::Continue(()))
            }
        }
    }
}

fn said_by(said: &Value, events: &mut Vec<Event>) {
    if let Some(thought) = thought(said) {
        events.push(Event::Reasoning(thought));
    }
    match &said["content"] {
        Value::Array(parts) => events.extend(parts.iter().filter_map(part)),
        content => events.extend(text_of(content).map(|text| Event::Text(text.to_owned()))),
    }
    events.extend(text_of(&said["refusal"]).map(|text| Event::Text(text.to_owned())));
    let calls = said["tool_calls"].as_array().into_iter().flatten();
    let called = calls.enumerate().map(|(at, call)| {
        let index = call["index"].as_u64().and_then(|n| usize::try_from(n).ok());
        tool_call(index.unwrap_or(at), &call["function"])
    });
    events.extend(called);
    // What came before tools, one at a time.
    if said["function_call"].is_object() {
        events.push(tool_call(0, &said["function_call"]));
    }
}

fn tool_call(index: usize, function: &Value) -> Event {
    let arguments = match &function["arguments"] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        // Some servers send an object instead of its text.
        other => other.to_string(),
    };
    Event::ToolCall(ToolCall {
        index,
        name: text_of(&function["name"]).map(str::to_owned),
        arguments,
    })
}

/// What the model thinks, under whichever name, but once: gateways repeat it under several.
fn thought(said: &Value) -> Option<String> {
    let named = text_of(&said["reasoning_content"]).or_else(|| text_of(&said["reasoning"]));
    if let Some(text) = named {
        return Some(text.to_owned());
    }
    let details = said["reasoning_details"].as_array()?;
    let texts = details
        .iter()
        .filter_map(|detail| text_of(&detail["text"]).or_else(|| text_of(&detail["summary"])));
    let text: String = texts.collect();
    (!text.is_empty()).then_some(text)
}

/// A part of a content that is a list, as Mistral sends it.
fn part(part: &Value) -> Option<Event> {
    if part["type"] == "thinking" {
        let thought: String = match &part["thinking"] {
            Value::Array(parts) => parts
                .iter()
                .filter_map(|part| text_of(&part["text"]))
                .collect(),
            other => text_of(other)?.to_owned(),
        };
        return (!thought.is_empty()).then_some(Event::Reasoning(thought));
    }
    text_of(&part["text"]).map(|text| Event::Text(text.to_owned()))
}

fn usage(usage: &Value) -> Option<Usage> {
    let prompt = tokens(&usage["prompt_tokens"]);
    let completion = tokens(&usage["completion_tokens"]);
    let reasoning = tokens(&usage["completion_tokens_details"]["reasoning_tokens"]);
    let cached = tokens(&usage["prompt_tokens_details"]["cached_tokens"])
        // DeepSeek's word for it.
        .or_else(|| tokens(&usage["prompt_cache_hit_tokens"]));
    prompt.or(completion).or(cached)?;
    let output = match (
        prompt,
        completion,
        reasoning,
        tokens(&usage["total_tokens"]),
    ) {
        // xAI counts what the model thinks beside what it says; the total tells.
        (Some(prompt), Some(said), Some(thought), Some(total))
            if thought > 0 && prompt + said + thought == total =>
        {
            Some(said + thought)
        }
        _ => completion,
    };
    Some(Usage {
        input_tokens: prompt,
        output_tokens: output,
        reasoning_tokens: reasoning,
        cached_tokens: cached,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(chunk: &str) -> Option<Event> {
        Chunks.plain(chunk)
    }

    #[test]
    fn a_chunk_that_is_read_as_plain_says_the_same_as_when_it_is_taken_apart() {
        let chunks = [
            r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","system_fingerprint":"f",
                "choices":[{"index":0,"delta":{"content":" w\u00f6rd\n"},"logprobs":null,"finish_reason":null}]}"#,
            r#"{"choices":[{"delta":{"role":"assistant","content":"a","refusal":null}}],"usage":null}"#,
            r#"{"choices":[{"delta":{"content":"a","reasoning_content":null,"tool_calls":null}}]}"#,
        ];
        for chunk in chunks {
            let value: Value = serde_json::from_str(chunk).unwrap();
            let mut events = Vec::new();
            assert!(Chunks.piece(&value, &mut events).unwrap().is_continue());
            assert_eq!([plain(chunk).unwrap()], *events, "{chunk}");
        }
    }

    #[test]
    fn whatever_else_a_chunk_may_hold_is_taken_apart() {
        let chunks = [
            r#"{"choices":[{"delta":{"content":""}}]}"#,
            r#"{"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}"#,
            r#"{"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":1}}"#,
            r#"{"choices":[{"delta":{"content":"a"}}],"error":"out of order"}"#,
            r#"{"object":"error","choices":[{"delta":{"content":"a"}}]}"#,
            r#"{"choices":[{"delta":{"content":"a","reasoning":"b"}}]}"#,
            r#"{"choices":[{"delta":{"content":"a","refusal":"no"}}]}"#,
            r#"{"choices":[{"delta":{"content":"a","tool_calls":[]}}]}"#,
            r#"{"choices":[{"delta":{"content":"a","something_new":1}}]}"#,
            r#"{"choices":[{"delta":{"content":[{"type":"text","text":"a"}]}}]}"#,
            r#"{"choices":[{"delta":{"content":"a"}},{"delta":{"content":"b"}}]}"#,
            r#"{"choices":[]}"#,
            r#"{"choices":[{"delta":{"content":"a"}}]"#,
            "[DONE]",
        ];
        for chunk in chunks {
            assert_eq!(plain(chunk), None, "{chunk}");
        }
    }
}

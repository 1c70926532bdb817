//! OpenAI's responses, streamed, with nothing kept on their side:
//! <https://platform.openai.com/docs/api-reference/responses-streaming>.
//!
//! What an event is, its `type` says. An answer is finished by `response.completed` or
//! `response.incomplete`, which carry the usage too.

use std::ops::ControlFlow;

use serde_json::{Value, json};

use super::conversation::instructions;
use super::openai::listed;
use super::wire::{Format, Framing, Parser, Place, Trouble, finished, set, text_of, tokens};
use super::{Call, Capabilities, Event, ListedModel, Speaker, ToolCall};
use crate::model::usage::Usage;

const MAX_TEMPERATURE: f64 = 2.0;
/// Between the parts of what the model thinks.
const BETWEEN_PARTS: &str = "\n\n";

/// OpenAI's responses.
pub(super) struct Responses;

impl Format for Responses {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            max_temperature: MAX_TEMPERATURE,
            max_stop: 0,
            seed: false,
            reasoning_effort: true,
        }
    }

    fn framing(&self) -> Framing {
        Framing::Events
    }

    fn answer_at(&self, _: &Call) -> Place {
        Place::at(&["responses"])
    }

    fn body(&self, call: &Call) -> Value {
        let parameters = &call.parameters;
        let input: Vec<Value> = call
            .turns
            .iter()
            .filter(|turn| turn.speaker != Speaker::System)
            .map(|turn| json!({"role": turn.speaker, "content": turn.content}))
            .collect();
        let mut body = json!({
            "model": call.model,
            "input": input,
            "stream": true,
            "store": false,
        });
        if let Some(body) = body.as_object_mut() {
            set(body, "instructions", instructions(&call.turns));
            set(body, "temperature", parameters.temperature);
            set(body, "top_p", parameters.top_p);
            set(body, "max_output_tokens", parameters.max_tokens);
            let reasoning = parameters
                .reasoning_effort
                .map(|effort| json!({"effort": effort, "summary": "auto"}));
            set(body, "reasoning", reasoning);
        }
        body
    }

    fn parser(&self) -> Box<dyn Parser> {
        Box::new(Events::default())
    }

    fn models_at(&self) -> Place {
        Place::at(&["models"])
    }

    fn listed(&self, listing: &Value) -> Option<Vec<ListedModel>> {
        listed(listing)
    }
}

/// What has to be remembered from event to event.
#[derive(Default)]
struct Events {
    /// Which part of which item the model thinks at: a next one begins after a blank line.
    thinking_at: Option<(u64, u64)>,
    /// The output indexes of the tool calls, in their order.
    calls: Vec<u64>,
}

impl Parser for Events {
    fn piece(
        &mut self,
        event: &Value,
        events: &mut Vec<Event>,
    ) -> Result<ControlFlow<()>, Trouble> {
        let delta = text_of(&event["delta"]);
        let output = event["output_index"].as_u64().unwrap_or_default();
        match event["type"].as_str().unwrap_or_default() {
            "response.output_text.delta" | "response.refusal.delta" => {
                events.extend(delta.map(|text| Event::Text(text.to_owned())));
            }
            "response.reasoning_summary_text.delta" => {
                let part = event["summary_index"].as_u64().unwrap_or_default();
                self.think((output, part), delta, events);
            }
            "response.reasoning_text.delta" => {
                let part = event["content_index"].as_u64().unwrap_or_default();
                self.think((output, part), delta, events);
            }
            "response.output_item.added" if event["item"]["type"] == "function_call" => {
                self.call(output, &event["item"], events);
            }
            "response.function_call_arguments.delta" => {
                let index = self.index_of(output);
                events.extend(delta.map(|arguments| {
                    Event::ToolCall(ToolCall {
                        index,
                        name: None,
                        arguments: arguments.to_owned(),
                    })
                }));
            }
            "response.completed" => return self.end("completed", &event["response"], events),
            "response.incomplete" => return self.end("incomplete", &event["response"], events),
            "response.failed" => return self.end("failed", &event["response"], events),
            "error" => return Err(Trouble::Reported(event.clone())),
            // Everything else repeats what came in deltas, or is of tools that are not offered.
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    }

    fn whole(&mut self, body: &Value, events: &mut Vec<Event>) -> Result<ControlFlow<()>, Trouble> {
        let items = body["output"].as_array().into_iter().flatten();
        for (output, item) in (0_u64..).zip(items) {
            let said = item["content"].as_array().into_iter().flatten();
            match item["type"].as_str().unwrap_or_default() {
                "message" => events.extend(
                    said.filter_map(|part| {
                        text_of(&part["text"]).or_else(|| text_of(&part["refusal"]))
                    })
                    .map(|text| Event::Text(text.to_owned())),
                ),
                "reasoning" => {
                    let summary = item["summary"].as_array().into_iter().flatten();
                    for (at, part) in (0_u64..).zip(summary.chain(said)) {
                        self.think((output, at), text_of(&part["text"]), events);
                    }
                }
                "function_call" => self.call(output, item, events),
                _ => {}
            }
        }
        match body["status"].as_str() {
            Some(status) => self.end(status, body, events),
            None => Ok(ControlFlow::Break(())),
        }
    }
}

impl Events {
    fn think(&mut self, at: (u64, u64), text: Option<&str>, events: &mut Vec<Event>) {
        let Some(text) = text else { return };
        let before = self.thinking_at.replace(at);
        let is_next_part = before.is_some_and(|before| before != at);
        let gap = if is_next_part { BETWEEN_PARTS } else { "" };
        events.push(Event::Reasoning(format!("{gap}{text}")));
    }

    fn call(&mut self, output: u64, item: &Value, events: &mut Vec<Event>) {
        events.push(Event::ToolCall(ToolCall {
            index: self.index_of(output),
            name: text_of(&item["name"]).map(str::to_owned),
            arguments: item["arguments"].as_str().unwrap_or_default().to_owned(),
        }));
    }

    fn index_of(&mut self, output: u64) -> usize {
        let known = self.calls.iter().position(|call| *call == output);
        known.unwrap_or_else(|| {
            self.calls.push(output);
            self.calls.len() - 1
        })
    }

    fn end(
        &self,
        status: &str,
        response: &Value,
        events: &mut Vec<Event>,
    ) -> Result<ControlFlow<()>, Trouble> {
        events.extend(usage(&response["usage"]).map(Event::Usage));
        let reason = match status {
            "completed" if self.calls.is_empty() => "stop",
            "completed" => "tool_calls",
            "incomplete" => match response["incomplete_details"]["reason"].as_str() {
                Some("max_output_tokens") | None => "length",
                Some("content_filter") => return Err(Trouble::Filtered),
                Some(other) => other,
            },
            "failed" => return Err(Trouble::Reported(response["error"].clone())),
            // Cancelled, or not there yet: no finish.
            _ => return Ok(ControlFlow::Break(())),
        };
        events.push(finished(reason));
        Ok(ControlFlow::Break(()))
    }
}

fn usage(usage: &Value) -> Option<Usage> {
    usage.is_object().then(|| Usage {
        input_tokens: tokens(&usage["input_tokens"]),
        output_tokens: tokens(&usage["output_tokens"]),
        reasoning_tokens: tokens(&usage["output_tokens_details"]["reasoning_tokens"]),
        cached_tokens: tokens(&usage["input_tokens_details"]["cached_tokens"]),
    })
}

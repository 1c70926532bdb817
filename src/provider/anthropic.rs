//! Anthropic's messages, streamed: <https://docs.anthropic.com/en/api/messages-streaming>.
//!
//! What an event is, its `type` says. The `stop_reason` comes in a `message_delta`, and
//! `message_stop` ends the stream. Anthropic does not count what it had in its cache as input; we do.

use std::ops::ControlFlow;

use serde_json::{Value, json};

use super::conversation::Conversation;
use super::wire::{Format, Framing, Parser, Place, Trouble, finished, set, text_of, tokens};
use super::{Call, Capabilities, Event, ListedModel, ToolCall};
use crate::model::parameters::Effort;
use crate::model::usage::Usage;

/// The version of the API, which each request names.
pub(super) const VERSION: &str = "2023-06-01";
pub(super) const KEY_HEADER: &str = "x-api-key";

const MAX_TEMPERATURE: f64 = 1.0;
/// The API names no limit; more than this is a mistake.
const MAX_STOP: usize = 64;
/// Longest answer where nobody says how long it may be: the API wants a number, and every model
/// can do this many tokens.
const DEFAULT_MAX_TOKENS: u32 = 4_096;
/// Tokens to think with.
const BUDGET_LOW: u32 = 2_048;
const BUDGET_MEDIUM: u32 = 8_192;
const BUDGET_HIGH: u32 = 16_384;
/// The API takes no smaller budget.
const MIN_BUDGET: u32 = 1_024;
/// What thinking may take of the answer's tokens: the budget counts towards them.
const BUDGET_SHARE: u32 = 2;
/// While it thinks, the API takes a `top_p` from here to 1 and no temperature.
const MIN_THINKING_TOP_P: f64 = 0.95;
/// From this version on a model decides by itself how many tokens it thinks with.
const ADAPTIVE_SINCE: (u32, u32) = (4, 6);
/// From this version on it shows what it thinks only when asked to.
const HIDDEN_SINCE: (u32, u32) = (4, 7);

/// Anthropic's messages.
pub(super) struct Anthropic;

impl Format for Anthropic {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            max_temperature: MAX_TEMPERATURE,
            max_stop: MAX_STOP,
            seed: false,
            reasoning_effort: true,
        }
    }

    fn framing(&self) -> Framing {
        Framing::Events
    }

    fn answer_at(&self, _: &Call) -> Place {
        Place::at(&["messages"])
    }

    fn body(&self, call: &Call) -> Value {
        let parameters = &call.parameters;
        let conversation = Conversation::of(&call.turns);
        let messages: Vec<Value> = conversation
            .turns
            .into_iter()
            .map(|(speaker, content)| json!({"role": speaker, "content": content}))
            .collect();
        let asked = parameters.max_tokens.or(call.max_output);
        let thinking = Thinking::of(&call.model, parameters.reasoning_effort, asked);
        let budget = match thinking {
            Thinking::Budget(budget) if asked.is_none() => budget,
            _ => 0,
        };
        let mut body = json!({
            "model": call.model,
            "messages": messages,
            "max_tokens": asked.unwrap_or(DEFAULT_MAX_TOKENS + budget),
            "stream": true,
        });
        if let Some(body) = body.as_object_mut() {
            set(body, "system", conversation.instructions);
            set(body, "stop_sequences", parameters.stop.as_ref());
            let temperature = parameters.temperature.map(|t| t.min(MAX_TEMPERATURE));
            match thinking {
                Thinking::None => {
                    set(body, "temperature", temperature);
                    // Newer models take only one of the two.
                    let top_p = parameters.top_p.filter(|_| temperature.is_none());
                    set(body, "top_p", top_p);
                }
                Thinking::Budget(budget) => {
                    let top_p = parameters.top_p.filter(|p| *p >= MIN_THINKING_TOP_P);
                    set(body, "top_p", top_p);
                    let thinking = json!({"type": "enabled", "budget_tokens": budget});
                    set(body, "thinking", Some(thinking));
                }
                Thinking::Adaptive { effort, is_hidden } => {
                    let mut thinking = json!({"type": "adaptive"});
                    if is_hidden {
                        thinking["display"] = json!("summarized");
                    }
                    set(body, "thinking", Some(thinking));
                    set(body, "output_config", Some(json!({"effort": effort})));
                }
            }
        }
        body
    }

    fn parser(&self) -> Box<dyn Parser> {
        Box::new(Message::default())
    }

    fn models_at(&self) -> Place {
        Place::at(&["models"]).with(&[("limit", "1000")])
    }

    fn listed(&self, listing: &Value) -> Option<Vec<ListedModel>> {
        let model = |model: &Value| {
            let count = |value: &Value| value.as_u64().and_then(|n| u32::try_from(n).ok());
            Some(ListedModel {
                id: text_of(&model["id"])?.to_owned(),
                name: text_of(&model["display_name"]).map(str::to_owned),
                context_window: count(&model["max_input_tokens"]).filter(|n| *n > 0),
                max_output: count(&model["max_tokens"]).filter(|n| *n > 0),
            })
        };
        Some(
            listing["data"]
                .as_array()?
                .iter()
                .filter_map(model)
                .collect(),
        )
    }
}

/// How a model is asked to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thinking {
    None,
    /// With so many tokens.
    Budget(u32),
    /// As much as it finds right for this effort.
    Adaptive {
        effort: &'static str,
        is_hidden: bool,
    },
}

impl Thinking {
    fn of(model: &str, effort: Option<Effort>, max_tokens: Option<u32>) -> Self {
        let (budget, effort) = match effort {
            None | Some(Effort::None) => return Self::None,
            Some(Effort::Minimal) => (MIN_BUDGET, "low"),
            Some(Effort::Low) => (BUDGET_LOW, "low"),
            Some(Effort::Medium) => (BUDGET_MEDIUM, "medium"),
            Some(Effort::High) => (BUDGET_HIGH, "high"),
        };
        let version = version(model);
        if version >= Some(ADAPTIVE_SINCE) {
            let is_hidden = version >= Some(HIDDEN_SINCE);
            return Self::Adaptive { effort, is_hidden };
        }
        let budget = max_tokens.map_or(budget, |limit| budget.min(limit / BUDGET_SHARE));
        if budget < MIN_BUDGET {
            // So short an answer leaves no room to think.
            return Self::None;
        }
        Self::Budget(budget)
    }
}

/// The version in names like `claude-opus-4-7` and `claude-sonnet-4-5-20250929`. Older names have
/// it before the family, and other servers' models have none.
fn version(model: &str) -> Option<(u32, u32)> {
    let (_, name) = model.split_once("claude-")?;
    let mut parts = name.split(['-', '.']);
    let family = parts.next()?;
    if !family.chars().all(char::is_alphabetic) {
        return None;
    }
    // A date is no version.
    let mut number = || parts.next().filter(|part| part.len() <= 2)?.parse().ok();
    Some((number()?, number().unwrap_or(0)))
}

/// What has to be remembered from event to event.
#[derive(Default)]
struct Message {
    input: Option<i64>,
    cache_read: Option<i64>,
    cache_written: Option<i64>,
    /// The content blocks that call tools, in their order.
    calls: Vec<u64>,
    has_thought: bool,
    is_finished: bool,
}

impl Parser for Message {
    fn piece(
        &mut self,
        event: &Value,
        events: &mut Vec<Event>,
    ) -> Result<ControlFlow<()>, Trouble> {
        match event["type"].as_str().unwrap_or_default() {
            "message_start" => self.count(&event["message"]["usage"], events),
            "content_block_start" => self.block(&event["index"], &event["content_block"], events),
            "content_block_delta" => self.delta(&event["index"], &event["delta"], events),
            "message_delta" => {
                self.count(&event["usage"], events);
                self.stop(&event["delta"]["stop_reason"], events)?;
            }
            "message_stop" => {
                if !self.is_finished {
                    events.push(finished("stop"));
                }
                return Ok(ControlFlow::Break(()));
            }
            // A ping, the end of a block, or something newer than this.
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    }

    fn whole(&mut self, body: &Value, events: &mut Vec<Event>) -> Result<ControlFlow<()>, Trouble> {
        self.count(&body["usage"], events);
        for (index, block) in body["content"].as_array().into_iter().flatten().enumerate() {
            self.block(&json!(index), block, events);
        }
        self.stop(&body["stop_reason"], events)?;
        Ok(ControlFlow::Break(()))
    }
}

impl Message {
    fn block(&mut self, index: &Value, block: &Value, events: &mut Vec<Event>) {
        match block["type"].as_str().unwrap_or_default() {
            "text" => say(&block["text"], events),
            "thinking" => {
                if self.has_thought {
                    events.push(Event::Reasoning("\n\n".to_owned()));
                }
                self.has_thought = true;
                think(&block["thinking"], events);
            }
            "tool_use" => {
                let arguments = match &block["input"] {
                    // It comes in deltas.
                    Value::Object(input) if input.is_empty() => String::new(),
                    Value::Null => String::new(),
                    input => input.to_string(),
                };
                events.push(Event::ToolCall(ToolCall {
                    index: self.call(index),
                    name: text_of(&block["name"]).map(str::to_owned),
                    arguments,
                }));
            }
            // Thoughts that nobody is to read (`redacted_thinking`), or something newer than this.
            _ => {}
        }
    }

    fn delta(&mut self, index: &Value, delta: &Value, events: &mut Vec<Event>) {
        match delta["type"].as_str().unwrap_or_default() {
            "text_delta" => say(&delta["text"], events),
            "thinking_delta" => think(&delta["thinking"], events),
            "input_json_delta" => {
                let call = self.call(index);
                events.extend(text_of(&delta["partial_json"]).map(|arguments| {
                    Event::ToolCall(ToolCall {
                        index: call,
                        name: None,
                        arguments: arguments.to_owned(),
                    })
                }));
            }
            // Signatures are for those who send thoughts back.
            _ => {}
        }
    }

    fn call(&mut self, index: &Value) -> usize {
        let block = index.as_u64().unwrap_or_default();
        let known = self.calls.iter().position(|call| *call == block);
        known.unwrap_or_else(|| {
            self.calls.push(block);
            self.calls.len() - 1
        })
    }

    /// The counts are totals; a later one may leave out what has not changed.
    fn count(&mut self, usage: &Value, events: &mut Vec<Event>) {
        let now = |name: &str, before: Option<i64>| tokens(&usage[name]).or(before);
        self.input = now("input_tokens", self.input);
        self.cache_read = now("cache_read_input_tokens", self.cache_read);
        self.cache_written = now("cache_creation_input_tokens", self.cache_written);
        let cached = self.cache_read.unwrap_or_default() + self.cache_written.unwrap_or_default();
        let usage = Usage {
            input_tokens: self.input.map(|input| input + cached),
            output_tokens: tokens(&usage["output_tokens"]),
            reasoning_tokens: None,
            cached_tokens: self.cache_read,
        };
        if usage != Usage::default() {
            events.push(Event::Usage(usage));
        }
    }

    fn stop(&mut self, reason: &Value, events: &mut Vec<Event>) -> Result<(), Trouble> {
        let Some(reason) = text_of(reason) else {
            return Ok(());
        };
        let reason = match reason {
            "end_turn" | "stop_sequence" | "pause_turn" => "stop",
            "max_tokens" | "model_context_window_exceeded" => "length",
            "tool_use" => "tool_calls",
            "refusal" => return Err(Trouble::Filtered),
            other => other,
        };
        self.is_finished = true;
        events.push(finished(reason));
        Ok(())
    }
}

fn say(text: &Value, events: &mut Vec<Event>) {
    events.extend(text_of(text).map(|text| Event::Text(text.to_owned())));
}

fn think(text: &Value, events: &mut Vec<Event>) {
    events.extend(text_of(text).map(|text| Event::Reasoning(text.to_owned())));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_where_the_newer_names_have_it() {
        for (name, expected) in [
            ("claude-opus-4-7", Some((4, 7))),
            ("claude-sonnet-4-5-20250929", Some((4, 5))),
            ("claude-opus-4-20250514", Some((4, 0))),
            ("anthropic/claude-sonnet-4.6", Some((4, 6))),
            ("claude-3-7-sonnet-20250219", None),
            ("kimi-k2", None),
        ] {
            assert_eq!(version(name), expected, "{name}");
        }
    }

    #[test]
    fn a_budget_stays_below_the_answer() {
        let of = |effort, limit| Thinking::of("claude-sonnet-4-5", Some(effort), limit);
        assert_eq!(of(Effort::High, None), Thinking::Budget(BUDGET_HIGH));
        assert_eq!(of(Effort::High, Some(4_096)), Thinking::Budget(2_048));
        assert_eq!(of(Effort::Low, Some(2_000)), Thinking::None);
        assert_eq!(of(Effort::None, Some(9_000)), Thinking::None);
    }
}

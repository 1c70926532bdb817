//! Ollama's own chat, a JSON object a line:
//! <https://github.com/ollama/ollama/blob/main/docs/api.md#generate-a-chat-completion>.
//! Other than its copy of OpenAI's format it can be told how large the context window is.
//!
//! An answer is finished by the object with `done: true`, which carries the usage too.

use std::ops::ControlFlow;

use serde_json::{Map, Value, json};

use super::wire::{Format, Framing, Parser, Place, Trouble, finished, set, text_of, tokens};
use super::{Call, Capabilities, Event, ListedModel, ToolCall};
use crate::model::parameters::Effort;
use crate::model::usage::Usage;

const MAX_TEMPERATURE: f64 = 2.0;
/// Ollama names no limit; more than this is a mistake.
const MAX_STOP: usize = 64;

/// Ollama's chat.
pub(super) struct Ollama;

impl Format for Ollama {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            max_temperature: MAX_TEMPERATURE,
            max_stop: MAX_STOP,
            seed: true,
            reasoning_effort: true,
        }
    }

    /// `num_ctx`: its cache has room for that many tokens from the start.
    fn reserves_window(&self) -> bool {
        true
    }

    fn framing(&self) -> Framing {
        Framing::Lines
    }

    fn answer_at(&self, _: &Call) -> Place {
        Place::at(&["api", "chat"])
    }

    fn body(&self, call: &Call) -> Value {
        let messages: Vec<Value> = call
            .turns
            .iter()
            .map(|turn| json!({"role": turn.speaker, "content": turn.content}))
            .collect();
        let mut body = json!({"model": call.model, "messages": messages, "stream": true});
        if let Some(body) = body.as_object_mut() {
            let options = options(call);
            set(body, "options", (!options.is_empty()).then_some(options));
            let think = call.parameters.reasoning_effort.map(|effort| match effort {
                Effort::None => json!(false),
                // It knows three words.
                Effort::Minimal => json!(Effort::Low),
                effort => json!(effort),
            });
            set(body, "think", think);
        }
        body
    }

    fn parser(&self) -> Box<dyn Parser> {
        Box::new(Objects::default())
    }

    fn models_at(&self) -> Place {
        Place::at(&["api", "tags"])
    }

    fn listed(&self, listing: &Value) -> Option<Vec<ListedModel>> {
        let model = |model: &Value| {
            let id = text_of(&model["model"]).or_else(|| text_of(&model["name"]))?;
            Some(ListedModel {
                id: id.to_owned(),
                ..ListedModel::default()
            })
        };
        let models = listing["models"].as_array()?;
        Some(models.iter().filter_map(model).collect())
    }
}

fn options(call: &Call) -> Map<String, Value> {
    let parameters = &call.parameters;
    let mut options = Map::new();
    set(&mut options, "temperature", parameters.temperature);
    set(&mut options, "top_p", parameters.top_p);
    set(&mut options, "num_predict", parameters.max_tokens);
    set(&mut options, "stop", parameters.stop.as_ref());
    set(&mut options, "seed", parameters.seed);
    set(&mut options, "num_ctx", call.context_window);
    options
}

/// What has to be remembered from object to object.
#[derive(Default)]
struct Objects {
    calls: usize,
}

impl Parser for Objects {
    fn piece(
        &mut self,
        object: &Value,
        events: &mut Vec<Event>,
    ) -> Result<ControlFlow<()>, Trouble> {
        let message = &object["message"];
        let thought = text_of(&message["thinking"]);
        events.extend(thought.map(|text| Event::Reasoning(text.to_owned())));
        let said = text_of(&message["content"]);
        events.extend(said.map(|text| Event::Text(text.to_owned())));
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            let function = &call["function"];
            events.push(Event::ToolCall(ToolCall {
                index: self.calls,
                name: text_of(&function["name"]).map(str::to_owned),
                arguments: match &function["arguments"] {
                    Value::Null => String::new(),
                    Value::String(text) => text.clone(),
                    arguments => arguments.to_string(),
                },
            }));
            self.calls += 1;
        }
        if object["done"] != true {
            return Ok(ControlFlow::Continue(()));
        }
        let usage = Usage {
            input_tokens: tokens(&object["prompt_eval_count"]),
            output_tokens: tokens(&object["eval_count"]),
            ..Usage::default()
        };
        if usage != Usage::default() {
            events.push(Event::Usage(usage));
        }
        // Older ones give no reason.
        let reason = text_of(&object["done_reason"]).unwrap_or("stop");
        events.push(finished(reason));
        Ok(ControlFlow::Break(()))
    }
}

//! Google's Gemini, streamed: <https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent>.
//!
//! Each event is a whole response with the next parts in it. An answer is finished by a
//! `finishReason`; nothing is sent to say that the stream is over. The usage comes in every event.

use std::ops::ControlFlow;

use serde_json::{Map, Value, json};

use super::conversation::Conversation;
use super::wire::{Format, Framing, Parser, Place, Trouble, finished, set, text_of, tokens};
use super::{Call, Capabilities, Event, ListedModel, Speaker, ToolCall};
use crate::model::parameters::{Effort, Parameters};
use crate::model::usage::Usage;

pub(super) const KEY_HEADER: &str = "x-goog-api-key";

const MAX_TEMPERATURE: f64 = 2.0;
const MAX_STOP: usize = 5;
/// Tokens to think with, as Google's own translation of efforts has them; for the smallest it has
/// none, and this is what its smallest model wants at least.
const BUDGET_MINIMAL: u32 = 512;
const BUDGET_LOW: u32 = 1_024;
const BUDGET_MEDIUM: u32 = 8_192;
const BUDGET_HIGH: u32 = 24_576;
/// What the names of listed models begin with.
const MODELS: &str = "models/";

/// Google's Gemini.
pub(super) struct Gemini;

impl Format for Gemini {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            max_temperature: MAX_TEMPERATURE,
            max_stop: MAX_STOP,
            seed: true,
            reasoning_effort: true,
        }
    }

    fn framing(&self) -> Framing {
        Framing::Events
    }

    fn answer_at(&self, call: &Call) -> Place {
        let model = call.model.strip_prefix(MODELS).unwrap_or(&call.model);
        let method = format!("{model}:streamGenerateContent");
        Place::at(&["models", &method]).with(&[("alt", "sse")])
    }

    fn body(&self, call: &Call) -> Value {
        let conversation = Conversation::of(&call.turns);
        let contents: Vec<Value> = conversation
            .turns
            .into_iter()
            .map(|(speaker, content)| {
                let role = match speaker {
                    Speaker::Assistant => "model",
                    Speaker::User | Speaker::System => "user",
                };
                json!({"role": role, "parts": [{"text": content}]})
            })
            .collect();
        let mut body = json!({"contents": contents});
        if let Some(body) = body.as_object_mut() {
            let instructions = conversation.instructions;
            let instructions = instructions.map(|text| json!({"parts": [{"text": text}]}));
            set(body, "systemInstruction", instructions);
            let generation = generation(&call.parameters);
            set(
                body,
                "generationConfig",
                (!generation.is_empty()).then_some(generation),
            );
        }
        body
    }

    fn parser(&self) -> Box<dyn Parser> {
        Box::new(Responses::default())
    }

    fn models_at(&self) -> Place {
        Place::at(&["models"]).with(&[("pageSize", "1000")])
    }

    fn listed(&self, listing: &Value) -> Option<Vec<ListedModel>> {
        let model = |model: &Value| {
            let methods = model["supportedGenerationMethods"].as_array()?;
            if !methods.iter().any(|method| method == "generateContent") {
                return None;
            }
            let count = |value: &Value| value.as_u64().and_then(|n| u32::try_from(n).ok());
            let name = text_of(&model["name"])?;
            Some(ListedModel {
                id: name.strip_prefix(MODELS).unwrap_or(name).to_owned(),
                name: text_of(&model["displayName"]).map(str::to_owned),
                context_window: count(&model["inputTokenLimit"]),
                max_output: count(&model["outputTokenLimit"]),
            })
        };
        let models = listing["models"].as_array()?;
        Some(models.iter().filter_map(model).collect())
    }
}

fn generation(parameters: &Parameters) -> Map<String, Value> {
    let mut generation = Map::new();
    set(&mut generation, "temperature", parameters.temperature);
    set(&mut generation, "topP", parameters.top_p);
    set(&mut generation, "maxOutputTokens", parameters.max_tokens);
    set(&mut generation, "stopSequences", parameters.stop.as_ref());
    set(&mut generation, "seed", parameters.seed.map(seed));
    let thinking = parameters.reasoning_effort.map(|effort| {
        let budget = match effort {
            Effort::None => 0,
            Effort::Minimal => BUDGET_MINIMAL,
            Effort::Low => BUDGET_LOW,
            Effort::Medium => BUDGET_MEDIUM,
            Effort::High => BUDGET_HIGH,
        };
        json!({"thinkingBudget": budget, "includeThoughts": budget > 0})
    });
    set(&mut generation, "thinkingConfig", thinking);
    generation
}

/// Gemini's seeds have 32 bits: a longer one becomes one of these, always the same.
fn seed(seed: i64) -> i32 {
    let folded = seed.rem_euclid(i64::from(i32::MAX));
    i32::try_from(seed).unwrap_or_else(|_| i32::try_from(folded).unwrap_or_default())
}

/// What has to be remembered from response to response.
#[derive(Default)]
struct Responses {
    calls: usize,
}

impl Parser for Responses {
    fn piece(
        &mut self,
        response: &Value,
        events: &mut Vec<Event>,
    ) -> Result<ControlFlow<()>, Trouble> {
        events.extend(usage(&response["usageMetadata"]).map(Event::Usage));
        if text_of(&response["promptFeedback"]["blockReason"]).is_some() {
            return Err(Trouble::Blocked);
        }
        let candidate = &response["candidates"][0];
        let parts = candidate["content"]["parts"].as_array();
        for part in parts.into_iter().flatten() {
            self.part(part, events);
        }
        let Some(reason) = text_of(&candidate["finishReason"]) else {
            return Ok(ControlFlow::Continue(()));
        };
        events.push(finished(match reason {
            "FINISH_REASON_UNSPECIFIED" => return Ok(ControlFlow::Continue(())),
            "STOP" => "stop",
            "MAX_TOKENS" => "length",
            "SAFETY"
            | "RECITATION"
            | "BLOCKLIST"
            | "PROHIBITED_CONTENT"
            | "SPII"
            | "IMAGE_SAFETY"
            | "IMAGE_PROHIBITED_CONTENT"
            | "IMAGE_RECITATION" => return Err(Trouble::Filtered),
            _ => "other",
        }));
        Ok(ControlFlow::Continue(()))
    }
}

impl Responses {
    fn part(&mut self, part: &Value, events: &mut Vec<Event>) {
        if let Some(text) = text_of(&part["text"]) {
            let text = text.to_owned();
            events.push(if part["thought"] == true {
                Event::Reasoning(text)
            } else {
                Event::Text(text)
            });
        }
        let call = &part["functionCall"];
        if call.is_object() {
            events.push(Event::ToolCall(ToolCall {
                index: self.calls,
                name: text_of(&call["name"]).map(str::to_owned),
                arguments: match &call["args"] {
                    Value::Null => String::new(),
                    args => args.to_string(),
                },
            }));
            self.calls += 1;
        }
    }
}

/// What the model says and what it thinks are counted apart; we count both as output.
fn usage(usage: &Value) -> Option<Usage> {
    if !usage.is_object() {
        return None;
    }
    let said = tokens(&usage["candidatesTokenCount"]);
    let thought = tokens(&usage["thoughtsTokenCount"]);
    let output = match (said, thought) {
        (None, None) => None,
        (said, thought) => Some(said.unwrap_or_default() + thought.unwrap_or_default()),
    };
    Some(Usage {
        input_tokens: tokens(&usage["promptTokenCount"]),
        output_tokens: output,
        reasoning_tokens: thought,
        cached_tokens: tokens(&usage["cachedContentTokenCount"]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_seed_becomes_a_short_one() {
        assert_eq!((seed(7), seed(-7)), (7, -7));
        let long = seed(i64::MAX);
        assert!(long >= 0 && seed(i64::MAX) == long);
    }
}

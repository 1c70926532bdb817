//! What the model says to each question of the programs.

use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::upstream::{Received, delta, finish};
use crate::support::{Script, Upstream};

/// The model, and the answers that wait for a word.
#[derive(Clone, Default)]
pub struct Model {
    waiting: Arc<Mutex<Vec<CancellationToken>>>,
}

impl Model {
    pub async fn start() -> (Self, Upstream) {
        let model = Self::default();
        let says = model.clone();
        let upstream = Upstream::start(move |request| says.answer(request)).await;
        (model, upstream)
    }

    /// Has every answer go on that waits.
    pub fn go_on(&self) {
        for gate in self.waiting.lock().unwrap().drain(..) {
            gate.cancel();
        }
    }

    fn answer(&self, request: &Received) -> Script {
        match request.asked().as_str() {
            "Grow" => {
                let gate = CancellationToken::new();
                self.waiting.lock().unwrap().push(gate.clone());
                Script::stream()
                    .say(["Half ", "of it, "])
                    .wait(&gate)
                    .say(["and ", "the rest."])
                    .finish()
            }
            "Stall" => Script::stream().say(["Half "]).stall(),
            "Think" => Script::stream()
                .raw(thought("Hm, "))
                .raw(thought("yes."))
                .say(["So it is."])
                .raw(finish("stop"))
                .raw(usage()),
            "Break" => Script::stream().say(["Broken "]).cut(),
            "Rate" => Script::json(429, &json!({"error": {"message": "too often"}})),
            "Refuse" => Script::json(400, &json!({"error": {"message": "too <much>"}})),
            "Long" => ended("Too long", "length"),
            "Filtered" => ended("Not for", "content_filter"),
            other => Script::answer([format!("You said: {other}")]),
        }
    }
}

fn thought(text: &str) -> String {
    let chunk = json!({"choices": [{"index": 0, "delta": {"reasoning_content": text}}]});
    format!("data: {chunk}\n\n")
}

fn usage() -> String {
    let chunk = json!({"choices": [], "usage": {
        "prompt_tokens": 7, "prompt_tokens_details": {"cached_tokens": 3},
        "completion_tokens": 11, "completion_tokens_details": {"reasoning_tokens": 5}}});
    format!("data: {chunk}\n\ndata: [DONE]\n\n")
}

fn ended(text: &str, reason: &str) -> Script {
    Script::stream().raw(delta(text)).raw(finish(reason)).raw(
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":16}}\n\ndata: [DONE]\n\n",
    )
}

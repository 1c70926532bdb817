//! The main job over every wire format: what a model of each kind thinks and says arrives, its usage
//! is counted, and the next question carries the history in the words of that format.

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::database::Kind;
use crate::support::{Database, Script, TestApp, Upstream, app::eventually};

const THOUGHT: &str = "Höchstens Bienen.";
const SAID: [&str; 2] = ["Bees 🐝, ", "with 花粉."];
const WHOLE: &str = "Bees 🐝, with 花粉.";

/// How one format says what a test wants to hear.
struct Words {
    kind: &'static str,
    /// Of the base address.
    version: &'static str,
    thought: String,
    said: [String; 2],
    /// The finish, with 26 tokens in and 11 out.
    end: String,
    /// Where the turns stand in a request's body, and what they are to be.
    history: (&'static str, Value),
}

fn event(value: &Value) -> String {
    format!("data: {value}\n\n")
}

/// The turns of most formats.
fn turns() -> Value {
    json!([{"role": "user", "content": "one"}, {"role": "assistant", "content": WHOLE}, {"role": "user", "content": "two"}])
}

fn openai() -> Words {
    let chunk = |delta: &Value| {
        event(&json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]}))
    };
    let end = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 26, "completion_tokens": 11}});
    Words {
        kind: "openai",
        version: "/v1",
        thought: chunk(&json!({"reasoning_content": THOUGHT})),
        said: SAID.map(|text| chunk(&json!({"content": text}))),
        end: event(&end) + "data: [DONE]\n\n",
        history: ("messages", turns()),
    }
}

fn responses() -> Words {
    let delta = |kind: &str, text: &str| {
        event(&json!({"type": format!("response.{kind}.delta"), "output_index": 0, "delta": text}))
    };
    let response =
        json!({"status": "completed", "usage": {"input_tokens": 26, "output_tokens": 11}});
    Words {
        kind: "openai-responses",
        version: "/v1",
        thought: delta("reasoning_summary_text", THOUGHT),
        said: SAID.map(|text| delta("output_text", text)),
        end: event(&json!({"type": "response.completed", "response": response})),
        history: ("input", turns()),
    }
}

fn anthropic() -> Words {
    let delta =
        |delta: &Value| event(&json!({"type": "content_block_delta", "index": 0, "delta": delta}));
    let start = json!({"type": "message_start", "message": {"usage": {"input_tokens": 26, "output_tokens": 1}}});
    let end = json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 11}});
    Words {
        kind: "anthropic",
        version: "/v1",
        thought: event(&start) + &delta(&json!({"type": "thinking_delta", "thinking": THOUGHT})),
        said: SAID.map(|text| delta(&json!({"type": "text_delta", "text": text}))),
        end: event(&end) + &event(&json!({"type": "message_stop"})),
        history: ("messages", turns()),
    }
}

fn gemini() -> Words {
    let part = |part: &Value| event(&json!({"candidates": [{"content": {"parts": [part]}}]}));
    let end = json!({"candidates": [{"finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 26, "candidatesTokenCount": 11}});
    let turn = |role: &str, text: &str| json!({"role": role, "parts": [{"text": text}]});
    Words {
        kind: "gemini",
        version: "/v1beta",
        thought: part(&json!({"text": THOUGHT, "thought": true})),
        said: SAID.map(|text| part(&json!({"text": text}))),
        end: event(&end),
        history: (
            "contents",
            json!([
                turn("user", "one"),
                turn("model", WHOLE),
                turn("user", "two")
            ]),
        ),
    }
}

fn ollama() -> Words {
    let line = |message: &Value| format!("{}\n", json!({"message": message, "done": false}));
    let end =
        json!({"done": true, "done_reason": "stop", "prompt_eval_count": 26, "eval_count": 11});
    Words {
        kind: "ollama",
        version: "",
        thought: line(&json!({"role": "assistant", "content": "", "thinking": THOUGHT})),
        said: SAID.map(|text| line(&json!({"role": "assistant", "content": text}))),
        end: format!("{end}\n"),
        history: ("messages", turns()),
    }
}

/// An app with one provider, of this kind.
async fn start(kind: Kind, words: &Words, gate: &CancellationToken) -> TestApp {
    let begin = match words.kind {
        "ollama" => Script::stream_of("application/x-ndjson"),
        _ => Script::stream(),
    };
    let [first, second] = words.said.clone();
    let script = begin.raw(words.thought.clone()).wait(gate);
    let script = script.raw(first).raw(second).raw(words.end.clone());
    let upstream = Upstream::start(move |_| script.clone()).await;
    let file = format!(
        "[[provider]]\nname = \"it\"\nkind = \"{}\"\nbase_url = \"{}{}\"\napi_key = \"sk-it\"\n\
         [[model]]\nid = \"m\"\nprovider = \"it\"\nupstream = \"their-m\"\n",
        words.kind,
        upstream.root(),
        words.version
    );
    let database = Database::create(kind).await;
    let path = database.dir().join("pollen.toml");
    std::fs::write(&path, file).unwrap();
    let settings = [("default_provider", "auto")];
    TestApp::start_with_file_and(database, upstream, &path, &settings).await
}

async fn main_job(kind: Kind, words: Words) {
    let gate = CancellationToken::new();
    let app = start(kind, &words, &gate).await;
    let chat = app.create_chat().await;
    let message = app.send(&chat, "one").await;
    let answer = app.answer_to(&chat, &message).await;
    let thoughts = eventually("thoughts come", async || {
        let path = format!("/chat/message/{answer}/tokens/0?reasoning=0");
        let poll = app.get(&path).await.expect(200).json();
        (poll["reasoning"]["tokens"] == THOUGHT).then_some(poll)
    })
    .await;
    let shown = (&thoughts["tokens"], &thoughts["status"]);
    assert_eq!(shown, (&json!(""), &json!("pending")));
    gate.cancel();
    let reader = app.read(&answer).await;
    assert_eq!(
        (
            reader.status.as_str(),
            reader.text.as_str(),
            reader.replaced
        ),
        ("completed", WHOLE, 0)
    );
    let told = app.message(&answer).await;
    assert_eq!(
        (&told["model"], &told["finish_reason"]),
        (&json!("m"), &json!("stop"))
    );
    assert_eq!(
        (&told["content"], &told["reasoning"]["content"]),
        (&json!(WHOLE), &json!(THOUGHT))
    );
    let total = app.get("/usage").await.expect(200).json()["total"].clone();
    let counted = ["attempts", "estimated", "input_tokens", "output_tokens"];
    let counted = counted.map(|name| total[name].clone());
    assert_eq!(counted, [1, 0, 26, 11].map(Value::from), "{total}");
    // The next question carries what was said, and not what was thought.
    let next = app.send(&chat, "two").await;
    let answer = app.answer_to(&chat, &next).await;
    assert_eq!(app.read(&answer).await.text, WHOLE);
    let received = app.upstream.received();
    assert_eq!(received.len(), 2, "one call for each question");
    let (place, history) = &words.history;
    assert_eq!(received[1].body[place], *history);
    assert!(!received[1].body.to_string().contains(THOUGHT));
    // Gemini names the model in the address.
    let asked = format!("{} {}", received[1].head, received[1].body);
    assert!(asked.contains("their-m"), "{asked}");
    app.stop().await;
}

on_both_databases! {
    async fn over_openais_chat(kind: Kind) {
        main_job(kind, openai()).await;
    }

    async fn over_openais_responses(kind: Kind) {
        main_job(kind, responses()).await;
    }

    async fn over_anthropics_messages(kind: Kind) {
        main_job(kind, anthropic()).await;
    }

    async fn over_gemini(kind: Kind) {
        main_job(kind, gemini()).await;
    }

    async fn over_ollama(kind: Kind) {
        main_job(kind, ollama()).await;
    }
}

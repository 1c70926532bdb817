//! The main job and its faults over every wire format, through the app: one configuration file names
//! the mock as a provider of each kind, and a chat chooses by its model.

use serde_json::{Value, json};

use super::{Mock, fixture, mock};
use crate::support::database::Kind;
use crate::support::{Database, Reader, TestApp, Upstream, app::eventually};

/// Each kind with the path of its version, and a model that thinks.
const KINDS: [(&str, &str, &str); 5] = [
    ("openai", "/v1", "gpt-5"),
    ("openai-responses", "/v1", "gpt-5"),
    ("anthropic", "/v1", "claude-sonnet-4-5"),
    ("gemini", "/v1beta", "gemini-2.5-flash"),
    ("ollama", "", "qwen3"),
];

/// Providers and models, both called as their kinds are.
fn file_of(mock: &Mock) -> String {
    let table = |(kind, version, model): (&str, &str, &str)| {
        let root = mock.root();
        format!(
            "[[provider]]\nname = \"{kind}\"\nkind = \"{kind}\"\nbase_url = \"{root}{version}\"\napi_key = \"sk-mock\"\n\
             [[model]]\nid = \"{kind}\"\nprovider = \"{kind}\"\nupstream = \"{model}\"\n"
        )
    };
    KINDS.map(table).concat()
}

async fn start(kind: Kind, mock: &Mock, settings: &[(&str, &str)]) -> TestApp {
    let database = Database::create(kind).await;
    let path = database.dir().join("pollen.toml");
    std::fs::write(&path, file_of(mock)).unwrap();
    let all = [&[("default_provider", "auto")], settings].concat();
    TestApp::start_with_file_and(database, Upstream::echo().await, &path, &all).await
}

/// Asks in a new chat of this model: (chat, answer).
async fn begin(app: &TestApp, model: &str, question: &str) -> (String, String) {
    let body = json!({"model": model, "message": question});
    let chat = app.post("/chat/create", &body).await.expect(201).json();
    let uuid = chat["uuid"].as_str().unwrap().to_owned();
    let message = chat["message"]["uuid"].as_str().unwrap();
    let answer = app.answer_to(&uuid, message).await;
    (uuid, answer)
}

/// Asks and reads to the end: (answer, what was read, the message as it is stored).
async fn ask(app: &TestApp, model: &str, question: &str) -> (Reader, Value) {
    let (_, answer) = begin(app, model, question).await;
    let reader = app.read(&answer).await;
    (reader, app.message(&answer).await)
}

on_both_databases! {
    async fn the_main_job_over_every_format(kind: Kind) {
        let mock = mock().await;
        let app = start(kind, &mock, &[]).await;
        for (model, ..) in KINDS {
            let (chat, answer) = begin(&app, model, "Tell me about bees").await;
            let reader = app.read(&answer).await;
            let expected = ("completed".to_owned(), fixture("Tell me about bees"));
            assert_eq!((reader.status, reader.text), expected, "{model}");
            let told = app.message(&answer).await;
            assert_eq!(told["content"], expected.1, "{model}");
            assert_eq!((&told["model"], &told["finish_reason"]), (&json!(model), &json!("stop")));
            let next = app.send(&chat, "And wasps?").await;
            let answer = app.answer_to(&chat, &next).await;
            assert_eq!(app.read(&answer).await.text, fixture("And wasps?"), "{model}");
            // The mock's Ollama names thoughts as Ollama does not.
            if model != "ollama" {
                let (reader, told) = ask(&app, model, "Think about bees").await;
                assert_eq!(reader.text, fixture("Think about bees"), "{model}");
                let thoughts = "What carries pollen? Höchstens Bienen.";
                assert_eq!(told["reasoning"]["content"], thoughts, "{model}");
            }
        }
        app.stop().await;
    }

    async fn a_slow_answer_is_seen_to_grow_over_every_format(kind: Kind) {
        let mock = mock().await;
        let app = start(kind, &mock, &[]).await;
        let whole = fixture("Slowly, please");
        for (model, ..) in KINDS {
            let (_, answer) = begin(&app, model, "Slowly, please").await;
            let mut reader = Reader::default();
            let mut lengths = Vec::new();
            eventually("the answer ends", async || {
                reader.apply(&app.tokens(&answer, reader.position).await);
                assert!(whole.starts_with(&reader.text), "{model}: {}", reader.text);
                let is_new = lengths.last() != Some(&reader.text.len());
                if is_new && !reader.text.is_empty() && reader.status == "pending" {
                    lengths.push(reader.text.len());
                }
                reader.is_done().then_some(())
            }).await;
            assert_eq!((reader.status.as_str(), &reader.text), ("completed", &whole), "{model}");
            assert!(lengths.len() >= 2 && lengths.is_sorted(), "{model} grew not: {lengths:?}");
            assert_eq!(reader.replaced, 0, "{model}");
        }
        app.stop().await;
    }

    async fn a_cut_stream_keeps_its_text_and_fails_over_every_format(kind: Kind) {
        let mock = mock().await;
        let app = start(kind, &mock, &[]).await;
        let whole = fixture("Break off");
        for (model, ..) in KINDS {
            let (reader, told) = ask(&app, model, "Break off").await;
            assert_eq!(reader.status, "failed", "{model}");
            let is_begun = !reader.text.is_empty() && whole.starts_with(&reader.text);
            assert!(is_begun && reader.text != whole, "{model}: {:?}", reader.text);
            assert_eq!(told["error"]["code"], "provider_broke_off", "{model}");
            assert_eq!(told["content"], reader.text, "{model}");
        }
        app.stop().await;
    }

    async fn a_limit_is_explained_over_every_format(kind: Kind) {
        let mock = mock().await;
        let app = start(kind, &mock, &[]).await;
        for (model, ..) in KINDS {
            let (reader, told) = ask(&app, model, "Too often").await;
            assert_eq!((reader.status.as_str(), reader.text.as_str()), ("failed", ""), "{model}");
            assert_eq!(told["error"]["code"], "provider_rate_limited", "{model}");
            let words = told["error"]["message"].as_str().unwrap();
            assert!(words.contains("Rate limit reached"), "{model}: {words}");
        }
        app.stop().await;
    }

    async fn a_limit_that_passes_is_waited_for_over_every_format(kind: Kind) {
        for (model, ..) in KINDS {
            // A mock of its own: it counts how often it was asked.
            let mock = mock().await;
            let app = start(kind, &mock, &[("upstream.max_retries", "2")]).await;
            let (reader, told) = ask(&app, model, "Once too often").await;
            let expected = ("completed", fixture("Once too often"));
            assert_eq!((reader.status.as_str(), reader.text), expected, "{model}: {told}");
            app.stop().await;
        }
    }
}

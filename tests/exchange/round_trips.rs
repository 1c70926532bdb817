//! What was exported and imported is exported as it was: over chats of all sorts.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use super::{document, export, normalised};
use crate::support::{TestApp, Upstream, database::Kind};

const SCHEMA: &str = "/schemas/chat-export-1.json";

/// Text of many scripts, with all that could be mistaken for something else.
fn text() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        "[a-z]{1,9}",
        "[\u{400}-\u{45f}]{1,6}",
        "[\u{621}-\u{63a}]{1,6}",
        "[\u{4e00}-\u{4fff}]{1,4}",
        "[\u{1f600}-\u{1f64f}]",
        Just("\"}],\\u0000{<b>&amp;`*_|#-".to_owned()),
        Just("\n\n".to_owned()),
        Just("\u{301}\u{200d}\u{fe0f}".to_owned()),
    ];
    prop::collection::vec(word, 1..8).prop_map(|words| words.join(" "))
}

fn time() -> impl Strategy<Value = String> {
    // From 1970 to November 2026, with milliseconds.
    (0_i64..1_795_000_000_000).prop_map(|ms| {
        let at = chrono::DateTime::from_timestamp_millis(ms).unwrap();
        at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
    })
}

fn ended() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("completed"), Just("failed"), Just("cancelled")]
}

fn maybe<S: Strategy + 'static>(strategy: S) -> impl Strategy<Value = Value>
where
    S::Value: serde::Serialize,
{
    prop::option::of(strategy).prop_map(|value| json!(value))
}

prop_compose! {
    fn origin()(
        model in maybe("[a-z0-9./-]{1,40}"), provider in maybe("[a-z]{1,12}"), reason in maybe("stop|length|content_filter"),
        cached in any::<bool>(), left_out in 0_u32..9, summarised in any::<bool>(),
    ) -> [Value; 6] {
        [model, provider, reason, json!(cached), json!(left_out), json!(summarised)]
    }
}

fn with_origin(mut value: Value, origin: [Value; 6]) -> Value {
    let names = [
        "model",
        "provider",
        "finish_reason",
        "cached",
        "left_out",
        "summarised",
    ];
    for (name, part) in names.into_iter().zip(origin) {
        value[name] = part;
    }
    value
}

prop_compose! {
    fn turn()(
        question in text(), asked in ended(), has_answer in any::<bool>(), answer in text(), thoughts in maybe(text()),
        status in ended(), origin in origin(), other in origin(), times in (time(), time(), time()),
        reaction in prop::option::of((prop_oneof![Just("like"), Just("dislike")], maybe("[a-zж茶]{1,20}"))),
        error in prop::option::of(("[a-z_]{1,20}", text())), earlier in prop::collection::vec((ended(), text()), 0..3),
    ) -> Vec<Value> {
        let (asker, answerer) = (uuid::Uuid::now_v7(), uuid::Uuid::now_v7());
        let question = with_origin(json!({
            "uuid": asker, "role": "user", "status": asked, "reply_to": null, "content": format!("?{question}"), "reasoning": "",
            "error": null, "reaction": null, "version": 1, "versions": [],
            "created_at": times.0, "completed_at": times.1,
        }), [Value::Null, Value::Null, Value::Null, json!(false), json!(0), json!(false)]);
        if !has_answer {
            return vec![question];
        }
        let versions: Vec<Value> = earlier.into_iter().enumerate().map(|(place, (status, text))| with_origin(json!({
            "version": place + 1, "status": status, "content": text, "reasoning": "", "error": null, "reaction": null,
            "completed_at": times.1,
        }), other.clone())).collect();
        let answer = with_origin(json!({
            "uuid": answerer, "role": "assistant", "status": status, "reply_to": asker, "content": answer,
            "reasoning": thoughts.as_str().unwrap_or_default(),
            "error": error.map(|(code, message)| json!({"code": code, "message": message})),
            "reaction": reaction.map(|(reaction, comment)| json!({"reaction": reaction, "comment": comment})),
            "version": versions.len() + 1, "versions": versions,
            "created_at": times.1, "completed_at": times.2,
        }), origin);
        vec![question, answer]
    }
}

prop_compose! {
    fn chat()(
        title in "[a-zA-Zж茶ا][a-zA-Zж茶ا ]{0,30}[a-z]", turns in prop::collection::vec(turn(), 0..6), times in (time(), time()),
        metadata in prop::collection::btree_map("[a-z_ж\"$.]{1,12}", "[a-z0-9茶'\\\\]{0,20}", 0..5),
        on_busy in maybe(prop_oneof![Just("enqueue"), Just("reject"), Just("interrupt"), Just("rollback")]),
        temperature in prop::option::of(0_u8..3), max_tokens in prop::option::of(1_u32..4_000),
    ) -> Value {
        let mut parameters = json!({});
        if let Some(temperature) = temperature { parameters["temperature"] = json!(f64::from(temperature) / 2.0); }
        if let Some(tokens) = max_tokens { parameters["max_tokens"] = json!(tokens); }
        json!({
            "schema": SCHEMA, "version": 1, "uuid": uuid::Uuid::now_v7(), "title": title, "agent": null, "model": null,
            "parameters": parameters, "on_busy": on_busy, "metadata": metadata,
            "created_at": times.0, "updated_at": times.1, "expires_at": null,
            "messages": turns.concat(),
        })
    }
}

/// Imports a document; the chat that it became.
async fn import(app: &TestApp, document: &Value) -> String {
    let made = app.post("/chats/import", document).await.expect(201).json();
    assert_eq!(made["chats"][0]["notes"], json!([]), "{document}");
    assert_eq!(
        made["chats"][0]["messages"],
        document["messages"].as_array().unwrap().len()
    );
    made["chats"][0]["uuid"].as_str().unwrap().to_owned()
}

fn round_trips_on(kind: Kind, cases: u32) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let settings = [
        ("limits.changes_per_minute", "0"),
        ("limits.unknown_per_minute", "0"),
    ];
    let app = runtime
        .block_on(async { TestApp::start_with(kind, Upstream::echo().await, &settings).await });
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&chat(), |document| {
            runtime.block_on(async {
                let first = import(&app, &document).await;
                let exported = export(&app, &first).await;
                prop_assert_eq!(normalised(exported.clone()), normalised(document));
                let second = import(&app, &exported).await;
                prop_assert_ne!(&first, &second, "a chat of its own");
                let again = export(&app, &second).await;
                prop_assert_eq!(normalised(again), normalised(exported));
                Ok(())
            })
        })
        .unwrap();
    runtime.block_on(app.stop());
}

#[test]
fn what_is_exported_and_imported_is_equal_on_sqlite() {
    round_trips_on(Kind::Sqlite, 60);
}

#[test]
fn what_is_exported_and_imported_is_equal_on_postgres() {
    round_trips_on(Kind::Postgres, 60);
}

on_both_databases! {
    /// Not a document that somebody wrote, but a chat that somebody had.
    async fn a_chat_that_was_had_here_comes_back_as_it_was(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let body = json!({"title": "Tea", "metadata": {"project_id": "7"}, "parameters": {"temperature": 0.5}, "on_busy": "reject"});
        let chat = app.post("/chat/create", &body).await.expect(201).json()["uuid"].as_str().unwrap().to_owned();
        let (answer, _) = app.ask_in(&chat, "你好, مرحبا?").await;
        app.post_bare(&format!("/chat/message/{answer}/regenerate")).await.expect(202);
        app.settle().await;
        app.put(&format!("/chat/message/{answer}/reaction"), &json!({"reaction": "dislike", "comment": "cold"})).await.expect(200);
        let (gone, _) = app.ask_in(&chat, "two").await;
        app.delete(&format!("/chat/message/{gone}")).await.expect(204);
        app.send(&chat, "/title Tea, again").await;
        let exported = export(&app, &chat).await;
        let messages = exported["messages"].as_array().unwrap();
        assert_eq!(messages.len(), 3, "{exported}");
        assert_eq!((&messages[1]["version"], messages[1]["versions"].as_array().unwrap().len()), (&json!(2), 1));
        assert_eq!(messages[1]["reaction"], json!({"reaction": "dislike", "comment": "cold"}));
        assert_eq!(messages[1]["model"], "scripted-model");
        let copy = import(&app, &exported).await;
        assert_eq!(normalised(export(&app, &copy).await), normalised(exported));
        // It is a chat like any other: it goes on, and its model is told what was said.
        let (_, reader) = app.ask_in(&copy, "and now?").await;
        assert_eq!(reader.text, "You said: and now?");
        let told = app.upstream.received().last().unwrap().turns();
        let told: Vec<_> = told.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(told, ["你好, مرحبا?", "You said: 你好, مرحبا?", "two", "and now?"]);
        let found = app.get("/chat/search?q=%E4%BD%A0%E5%A5%BD").await.expect(200).json();
        assert_eq!(found["found"].as_array().unwrap().len(), 2, "it can be found");
        // Its answer can be asked for again, and shown as it was.
        let messages = app.messages(&copy).await;
        let answer = messages[1]["uuid"].as_str().unwrap();
        app.post_bare(&format!("/chat/message/{answer}/versions/1/select")).await.expect(200);
        app.post_bare(&format!("/chat/message/{answer}/regenerate")).await.expect(202);
        app.settle().await;
        assert_eq!(app.message(answer).await["versions"], 3);
        app.stop().await;
    }

    async fn what_was_pending_is_cancelled_where_it_comes_to(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let mut document = document();
        document["messages"][1]["status"] = json!("pending");
        document["messages"][1]["completed_at"] = Value::Null;
        let chat = import(&app, &document).await;
        let exported = export(&app, &chat).await;
        assert_eq!(exported["messages"][1]["status"], "cancelled");
        assert!(exported["messages"][1]["completed_at"].is_string());
        assert_eq!(exported["messages"][1]["content"], "Yes, 请.");
        let (_, reader) = app.ask_in(&chat, "on").await;
        assert_eq!(reader.text, "You said: on");
        app.stop().await;
    }
}

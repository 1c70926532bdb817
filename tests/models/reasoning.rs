//! What a model thinks is a text of its own.

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::database::Kind;
use crate::support::upstream::{delta, finish};
use crate::support::{Database, Script, TestApp, Upstream};

fn thought(text: &str) -> String {
    let chunk = json!({"choices": [{"index": 0, "delta": {"reasoning_content": text}}]});
    format!("data: {chunk}\n\n")
}

async fn poll(app: &TestApp, answer: &str, text: u64, reasoning: u64) -> Value {
    let path = format!("/chat/message/{answer}/tokens/{text}?reasoning={reasoning}");
    app.get(&path).await.expect(200).json()
}

/// The model `wants-m`, whose provider is sent its thoughts, and `not-m`, whose is not.
async fn wants_and_not(kind: Kind, upstream: Upstream, more: &str) -> TestApp {
    let url = upstream.base_url();
    let table = |name: &str, sends: bool| {
        format!(
            "[[provider]]\nname = \"{name}\"\nkind = \"openai\"\nbase_url = \"{url}\"\nsend_reasoning = {sends}\n\
             [[model]]\nid = \"{name}-m\"\nprovider = \"{name}\"\n{more}"
        )
    };
    let database = Database::create(kind).await;
    let path = database.dir().join("pollen.toml");
    std::fs::write(&path, table("wants", true) + &table("not", false)).unwrap();
    let settings = [("default_provider", "auto")];
    TestApp::start_with_file_and(database, upstream, &path, &settings).await
}

on_both_databases! {
    async fn thoughts_have_positions_of_their_own_and_are_not_sent_back(kind: Kind) {
        let gate = CancellationToken::new();
        let held = gate.clone();
        let upstream = Upstream::start(move |_| {
            Script::stream().raw(thought("Hm, ")).raw(thought("é.")).wait(&held).raw(delta("Yes")).raw(finish("stop"))
        }).await;
        let app = TestApp::start(kind, upstream).await;
        let chat = app.create_chat().await;
        let message = app.send(&chat, "one").await;
        let answer = app.answer_to(&chat, &message).await;
        let other = app.another_node_or_none().await;
        let first = crate::support::app::eventually("thoughts come", async || {
            let poll = poll(&app, &answer, 0, 0).await;
            (poll["reasoning"]["tokens"] == "Hm, é.").then_some(poll)
        }).await;
        assert_eq!((&first["tokens"], &first["status"]), (&json!(""), &json!("pending")));
        assert_eq!(first["reasoning"]["position"], 7);
        if let Some(other) = &other {
            crate::support::app::eventually("another node shows them too", async || {
                (poll(other, &answer, 0, 4).await["reasoning"]["tokens"] == "é.").then_some(())
            }).await;
        }
        assert!(app.tokens(&answer, 0).await.get("reasoning").is_none(), "only who asks is told");
        gate.cancel();
        assert_eq!(app.read(&answer).await.text, "Yes");
        let last = poll(&app, &answer, 3, 7).await;
        assert_eq!((&last["tokens"], &last["reasoning"]["tokens"], &last["status"]), (&json!(""), &json!(""), &json!("completed")));
        let healed = poll(&app, &answer, 3, 5).await;
        assert_eq!((&healed["reasoning"]["append"], &healed["reasoning"]["tokens"]), (&json!(false), &json!("Hm, é.")), "inside a character");
        let stored = app.message(&answer).await;
        assert_eq!((&stored["content"], &stored["reasoning"]), (&json!("Yes"), &json!({"content": "Hm, é.", "position": 7})));
        let again = app.send(&chat, "two").await;
        app.read(&app.answer_to(&chat, &again).await).await;
        assert!(!app.upstream.received().pop().unwrap().body.to_string().contains("Hm, "));
        let page = app.get_page(&format!("/chat/{chat}")).await;
        assert!(page.text.contains("<details class=\"thoughts\">") && page.text.contains("Hm, é."));
        app.get(&format!("/chat/message/{answer}/tokens/0?reasoning=x")).await.expect(400);
        if let Some(other) = other {
            other.abandon().await;
        }
        app.stop().await;
    }

    async fn a_stopped_answer_keeps_its_thoughts_and_a_regenerated_one_has_its_own(kind: Kind) {
        let gate = CancellationToken::new();
        let held = gate.clone();
        let upstream = Upstream::scripted([
            Script::stream().raw(thought("old")).wait(&held),
            Script::stream().raw(thought("new")).raw(delta("x")).raw(finish("stop")),
        ]).await;
        let app = TestApp::start(kind, upstream).await;
        let chat = app.create_chat().await;
        let message = app.send(&chat, "one").await;
        let answer = app.answer_to(&chat, &message).await;
        crate::support::app::eventually("thoughts come", async || {
            (poll(&app, &answer, 0, 0).await["reasoning"]["tokens"] == "old").then_some(())
        }).await;
        app.post_bare(&format!("/chat/message/{answer}/cancel")).await.expect(200);
        assert_eq!(app.message(&answer).await["reasoning"]["content"], "old");
        app.post_bare(&format!("/chat/message/{answer}/retry")).await.expect(202);
        app.read(&answer).await;
        let poll = poll(&app, &answer, 0, 3).await;
        assert_eq!((&poll["reasoning"]["append"], &poll["reasoning"]["tokens"]), (&json!(false), &json!("new")));
        app.post_bare(&format!("/chat/message/{answer}/versions/1/select")).await.expect(200);
        assert_eq!(app.message(&answer).await["reasoning"]["content"], "old");
        app.stop().await;
    }

    async fn a_provider_that_wants_them_is_sent_its_thoughts(kind: Kind) {
        let upstream = Upstream::start(|_| {
            Script::stream().raw(thought("Hm, é.")).raw(delta("Yes")).raw(finish("stop"))
        }).await;
        let app = wants_and_not(kind, upstream, "").await;
        let (chat, ..) = app.ask("one").await;
        let mut last = Value::Null;
        for model in ["wants-m", "not-m"] {
            let body = json!({"message": "again", "model": model});
            let sent = app.post(&format!("/chat/{chat}/send"), &body).await.expect(202).json();
            let answer = app.answer_to(&chat, sent["message"]["uuid"].as_str().unwrap()).await;
            assert_eq!(app.read(&answer).await.text, "Yes");
            let asked = app.upstream.received().pop().unwrap().body;
            let is_sent = (model == "wants-m").then_some("Hm, é.");
            assert_eq!(asked["model"], model);
            assert_eq!(asked["messages"][1]["content"], "Yes");
            assert_eq!(asked["messages"][1]["reasoning_content"].as_str(), is_sent, "{asked}");
            last = asked;
        }
        assert_eq!(last["messages"].as_array().unwrap().len(), 5);
        app.stop().await;
    }

    async fn thoughts_take_of_the_window_where_they_are_sent(kind: Kind) {
        let long = "hm ".repeat(500);
        let upstream = Upstream::start(move |_| {
            Script::stream().raw(thought(&long)).raw(delta("Yes")).raw(finish("stop"))
        }).await;
        let app = wants_and_not(kind, upstream, "context_window = 2000\n").await;
        for (model, is_cut) in [("wants-m", true), ("not-m", false)] {
            let chat = app.post("/chat/create", &json!({"model": model})).await.expect(201).json();
            let chat = chat["uuid"].as_str().unwrap();
            for n in 0..6 {
                app.ask_in(chat, &n.to_string()).await;
            }
            let last = app.messages(chat).await.pop().unwrap();
            assert_eq!(last["left_out"].as_u64().unwrap() > 0, is_cut, "{model}: {last}");
        }
        app.stop().await;
    }

    async fn a_call_of_a_tool_that_nobody_offered_is_explained(kind: Kind) {
        let call = json!({"choices": [{"delta": {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "search", "arguments": "{}"}}]}}]});
        let script = Script::stream().raw(format!("data: {call}\n\n")).raw(finish("tool_calls"));
        let app = TestApp::start(kind, Upstream::scripted([script]).await).await;
        let (_, answer, reader) = app.ask("one").await;
        assert_eq!(reader.status, "failed");
        let error = app.message(&answer).await["error"].clone();
        assert_eq!(error["code"], "tool_called");
        assert!(error["message"].as_str().unwrap().contains("search"));
        app.stop().await;
    }

    async fn what_a_model_says_before_it_calls_a_tool_is_its_answer(kind: Kind) {
        let call = json!({"choices": [{"delta": {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "search", "arguments": "{}"}}]}}]});
        let script = Script::stream().say(["Let me see."]).raw(format!("data: {call}\n\n")).raw(finish("tool_calls"));
        let app = TestApp::start(kind, Upstream::scripted([script]).await).await;
        let (_, answer, reader) = app.ask("one").await;
        assert_eq!((reader.status.as_str(), reader.text.as_str()), ("completed", "Let me see."));
        assert_eq!(app.message(&answer).await["finish_reason"], "tool_calls");
        app.stop().await;
    }
}

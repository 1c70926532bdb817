//! Sending while an answer is under way: `on_busy`.

use reqwest::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::database::Kind;
use crate::support::upstream::Received;
use crate::support::{Script, TestApp, Upstream};

/// A chat whose answer to "one" never ends by itself: (app, chat, its question, its answer).
async fn busy(kind: Kind, settings: &[(&str, &str)]) -> (TestApp, String, String, String) {
    let upstream = Upstream::start(|request| match request.asked().as_str() {
        "one" => Script::stream()
            .say(["half "])
            .wait(&CancellationToken::new())
            .finish(),
        other => Script::answer([format!("to {other}")]),
    })
    .await;
    let app = TestApp::start_with(kind, upstream, settings).await;
    let chat = app.create_chat().await;
    let message = app.send(&chat, "one").await;
    let answer = app.answer_to(&chat, &message).await;
    app.read_until(&answer, "half ").await;
    (app, chat, message, answer)
}

async fn send(app: &TestApp, chat: &str, text: &str, on_busy: &str) -> crate::support::Answer {
    let body = json!({"message": text, "on_busy": on_busy});
    app.post(&format!("/chat/{chat}/send"), &body).await
}

fn shown(messages: &[Value]) -> Vec<(String, String)> {
    let text = |m: &Value, key: &str| m[key].as_str().unwrap().to_owned();
    messages
        .iter()
        .map(|m| (text(m, "content"), text(m, "status")))
        .collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected
        .iter()
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect()
}

on_both_databases! {
    async fn reject_refuses_while_something_is_under_way(kind: Kind) {
        let (app, chat, _, answer) = busy(kind, &[]).await;
        let refused = send(&app, &chat, "two", "reject").await.expect(409);
        assert_eq!(refused.json()["type"], "/problems/chat-busy");
        assert_eq!(refused.header("retry-after"), "1");
        assert_eq!(app.messages(&chat).await.len(), 2, "nothing of it was stored");
        app.post_bare(&format!("/chat/message/{answer}/cancel")).await.expect(200);
        send(&app, &chat, "two", "reject").await.expect(202);
        app.stop().await;
    }

    async fn of_many_sends_at_once_that_reject_one_gets_through(kind: Kind) {
        let gate = CancellationToken::new();
        let held = gate.clone();
        let upstream = Upstream::start(move |_| Script::stream().wait(&held).say(["x"]).finish()).await;
        let app = TestApp::start(kind, upstream).await;
        let chat = app.create_chat().await;
        let all = futures::future::join_all((0..8).map(|_| send(&app, &chat, "go", "reject"))).await;
        let accepted = all.iter().filter(|answer| answer.status == 202).count();
        let refused = all.iter().filter(|answer| answer.status == 409).count();
        assert_eq!((accepted, refused), (1, 7));
        gate.cancel();
        app.stop().await;
    }

    async fn interrupt_keeps_the_partial_text_and_runs(kind: Kind) {
        let (app, chat, _, answer) = busy(kind, &[]).await;
        let sent = send(&app, &chat, "two", "interrupt").await.expect(202).json();
        app.upstream.received()[0].gone.cancelled().await;
        let second = app.answer_to(&chat, sent["message"]["uuid"].as_str().unwrap()).await;
        assert_eq!(app.read(&second).await.text, "to two");
        let reader = app.read(&answer).await;
        assert_eq!((reader.text.as_str(), reader.status.as_str()), ("half ", "cancelled"));
        let turns = app.upstream.received().pop().unwrap().turns();
        assert_eq!(turns.len(), 2, "a cancelled answer is not sent as history: {turns:?}");
        app.stop().await;
    }

    async fn rollback_removes_the_turn_and_runs(kind: Kind) {
        let (app, chat, question, answer) = busy(kind, &[]).await;
        let seen = app.get(&format!("/chat/{chat}")).await.json()["revision"].clone();
        let sent = send(&app, &chat, "two", "rollback").await.expect(202).json();
        let second = app.answer_to(&chat, sent["message"]["uuid"].as_str().unwrap()).await;
        app.read(&second).await;
        assert_eq!(shown(&app.messages(&chat).await), pairs(&[("two", "completed"), ("to two", "completed")]));
        let poll = app.get(&format!("/chat/{chat}/messages/{answer}?revision={seen}")).await.json();
        let gone: Vec<&str> = poll["messages"].as_array().unwrap().iter()
            .filter(|m| m["deleted"] == true).map(|m| m["uuid"].as_str().unwrap()).collect();
        assert_eq!(gone, [question.as_str(), answer.as_str()]);
        let turns = app.upstream.received().pop().unwrap().turns();
        assert_eq!(turns, [("user".to_owned(), "two".to_owned())]);
        app.stop().await;
    }

    async fn what_has_not_been_claimed_yet_is_interrupted_too(kind: Kind) {
        // No node has room for a second answer, so that the first one of this chat stays queued.
        let (app, _, _, answer) = busy(kind, &[("worker.max_running", "1")]).await;
        let chat = app.create_chat().await;
        let first = app.send(&chat, "never").await;
        send(&app, &chat, "instead", "interrupt").await.expect(202);
        assert_eq!(app.message(&first).await["status"], "cancelled");
        app.post_bare(&format!("/chat/message/{answer}/cancel")).await.expect(200);
        app.settle().await;
        let asked: Vec<String> = app.upstream.received().iter().map(Received::asked).collect();
        assert_eq!(asked, ["one", "instead"]);
        app.stop().await;
    }

    async fn the_chat_and_the_configuration_have_defaults(kind: Kind) {
        let (app, chat, _, _) = busy(kind, &[("chat.on_busy", "reject")]).await;
        let path = format!("/chat/{chat}");
        assert_eq!(app.get(&path).await.json()["on_busy"], "reject");
        app.post(&format!("{path}/send"), &json!({"message": "two"})).await.expect(409);
        let changed = app.request(Method::PATCH, &path, |r| r.json(&json!({"on_busy": "interrupt"}))).await.expect(200);
        assert_eq!(changed.json()["on_busy"], "interrupt");
        app.post(&format!("{path}/send"), &json!({"message": "two"})).await.expect(202);
        app.settle().await;
        let own = app.post("/chat/create", &json!({"on_busy": "rollback"})).await.expect(201).json();
        assert_eq!(own["on_busy"], "rollback");
        let unknown = app.post("/chat/create", &json!({"on_busy": "shout"})).await.expect(422);
        assert!(unknown.text.contains("enqueue"), "it names what there is: {}", unknown.text);
        app.stop().await;
    }

    async fn queued_messages_are_visible(kind: Kind) {
        let (app, chat, _, answer) = busy(kind, &[]).await;
        send(&app, &chat, "two", "enqueue").await.expect(202);
        let messages = app.messages(&chat).await;
        assert_eq!(shown(&messages), pairs(&[("one", "completed"), ("half ", "pending"), ("two", "pending")]));
        app.post_bare(&format!("/chat/message/{answer}/cancel")).await.expect(200);
        app.stop().await;
    }

    async fn of_many_interrupts_at_once_one_is_answered(kind: Kind) {
        let (app, chat, _, answer) = busy(kind, &[]).await;
        let words: Vec<String> = (0..6).map(|n| format!("word {n}")).collect();
        let all = futures::future::join_all(words.iter().map(|text| send(&app, &chat, text, "interrupt"))).await;
        assert!(all.iter().all(|sent| sent.status == 202), "{all:?}");
        app.settle().await;
        assert_eq!(app.message(&answer).await["status"], "cancelled");
        let messages = app.messages(&chat).await;
        let completed = messages.iter().filter(|m| m["role"] == "assistant" && m["status"] == "completed").count();
        assert!(completed >= 1, "the last one is answered: {messages:?}");
        let asked = messages.iter().filter(|m| m["role"] == "user").count();
        assert_eq!(asked, 7, "no message was lost");
        app.stop().await;
    }

    async fn a_rollback_of_a_regenerate_brings_the_version_before_back(kind: Kind) {
        let upstream = Upstream::start(|request| {
            if request.asked() == "one" {
                Script::stream().say(["good "]).wait(&CancellationToken::new()).finish()
            } else {
                Script::answer([format!("to {}", request.asked())])
            }
        })
        .await;
        let app = TestApp::start(kind, upstream).await;
        let chat = app.create_chat().await;
        let message = app.send(&chat, "one").await;
        let answer = app.answer_to(&chat, &message).await;
        app.read_until(&answer, "good ").await;
        app.post_bare(&format!("/chat/message/{answer}/cancel")).await.expect(200);
        app.post_bare(&format!("/chat/message/{answer}/retry")).await.expect(202);
        app.read_until(&answer, "good ").await;
        send(&app, &chat, "two", "rollback").await.expect(202);
        app.settle().await;
        let back = app.message(&answer).await;
        assert_eq!((&back["version"], &back["content"], &back["status"]), (&json!(1), &json!("good "), &json!("cancelled")));
        assert_eq!(app.message(&message).await["content"], "one", "the turn is still there");
        app.stop().await;
    }
}

//! `Prefer: wait=N`: a poll that would find nothing is answered as soon as there is something, or when its time is over.

use std::time::Duration;

use entity::api_token::Scope;
use reqwest::Method;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::security::callers::{As, COOKIE_SECRET, token};
use crate::support::app::PATIENCE;
use crate::support::upstream::Script;
use crate::support::{Answer, TestApp, Upstream};

/// A poll that may take so many seconds, under way.
fn hold(app: &TestApp, path: &str, seconds: u64, by: &As) -> JoinHandle<Answer> {
    let mut request = app
        .client
        .request(Method::GET, format!("{}{path}", app.base));
    for (name, value) in &by.0 {
        request = request.header(name, value);
    }
    let request = request.header("prefer", format!("wait={seconds}"));
    tokio::spawn(async move {
        let response = request.send().await.unwrap();
        Answer {
            status: response.status(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    })
}

/// Some other requests are answered meanwhile, and the poll is not.
async fn is_held(app: &TestApp, poll: &JoinHandle<Answer>) {
    for _ in 0..20 {
        app.get("/readyz").await.expect(200);
    }
    assert!(!poll.is_finished());
}

async fn answered(poll: JoinHandle<Answer>) -> Answer {
    tokio::time::timeout(PATIENCE, poll).await.unwrap().unwrap()
}

/// Polls of the tests are held for as long as it takes.
const LONG: (&str, &str) = ("limits.longest_wait_ms", "50000");

on_both_databases! {
    async fn a_held_poll_is_answered_as_soon_as_there_is_something(kind: Kind) {
        let (begin, more, end) = (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        let slow = Script::stream().wait(&begin).say(["One"]).wait(&more).say([" two"]).wait(&end).finish();
        let app = TestApp::start_with(kind, Upstream::scripted([slow]).await, &[LONG]).await;
        let nobody = As::nobody();
        let chat = app.create_chat().await;
        let page = app.get(&format!("/chat/{chat}")).await.expect(200).json();
        let revision = &page["revision"];
        let poll = hold(&app, &format!("/chat/{chat}/messages?revision={revision}"), 50, &nobody);
        let batch = hold(&app, &format!("/poll?chat={chat}::{revision}"), 50, &nobody);
        is_held(&app, &poll).await;
        let sent = app.send(&chat, "count").await;
        let said = answered(poll).await.expect(200);
        assert_eq!(said.json()["messages"][0]["content"], "count");
        assert_eq!(said.header("preference-applied"), "wait=50");
        assert_eq!(answered(batch).await.expect(200).json()["chats"][0]["messages"][0]["content"], "count");
        let answer = app.answer_to(&chat, &sent).await;
        let path = format!("/chat/message/{answer}/tokens");
        for (position, gate, tokens, status) in [(0, &begin, "One", "pending"), (3, &more, " two", "pending"), (7, &end, "", "completed")] {
            let polls = [
                hold(&app, &format!("{path}/{position}"), 50, &nobody),
                hold(&app, &format!("/poll?message={answer}:{position}"), 50, &nobody),
            ];
            for poll in &polls {
                is_held(&app, poll).await;
            }
            gate.cancel();
            let [poll, batch] = polls;
            let said = answered(poll).await.expect(200).json();
            assert_eq!((&said["tokens"], &said["status"]), (&json!(tokens), &json!(status)));
            let said = answered(batch).await.expect(200).json();
            assert_eq!(said["messages"][0]["tokens"], tokens);
        }
        app.stop().await;
    }

    async fn a_poll_on_another_node_is_held_too(kind: Kind) {
        let (begin, end) = (CancellationToken::new(), CancellationToken::new());
        let slow = Script::stream().wait(&begin).say(["One"]).wait(&end).finish();
        let app = TestApp::start_with(kind, Upstream::scripted([slow]).await, &[LONG]).await;
        let Some(other) = app.another_node_or_none().await else {
            return app.stop().await;
        };
        let nobody = As::nobody();
        let chat = app.create_chat().await;
        let revision = app.get(&format!("/chat/{chat}")).await.expect(200).json()["revision"].clone();
        let poll = hold(&other, &format!("/chat/{chat}/messages?revision={revision}"), 50, &nobody);
        is_held(&other, &poll).await;
        let sent = app.send(&chat, "count").await;
        assert_eq!(answered(poll).await.expect(200).json()["messages"][0]["uuid"], sent);
        let answer = app.answer_to(&chat, &sent).await;
        let poll = hold(&other, &format!("/chat/message/{answer}/tokens/0"), 50, &nobody);
        is_held(&other, &poll).await;
        begin.cancel();
        assert_eq!(answered(poll).await.expect(200).json()["tokens"], "One");
        let poll = hold(&other, &format!("/chat/message/{answer}/tokens/3"), 50, &nobody);
        is_held(&other, &poll).await;
        end.cancel();
        assert_eq!(answered(poll).await.expect(200).json()["status"], "completed");
        other.abandon().await;
        app.stop().await;
    }

    async fn when_the_time_is_over_there_is_an_answer_all_the_same(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (chat, answer, reader) = app.ask("one").await;
        let page = app.get(&format!("/chat/{chat}/messages")).await.expect(200);
        let state = page.json();
        let quiet = format!("/chat/{chat}/messages/{}?revision={}", state["last_uuid"].as_str().unwrap(), state["revision"]);
        let begun = Instant::now();
        let said = answered(hold(&app, &quiet, 1, &As::nobody())).await.expect(200);
        assert!(begun.elapsed() >= Duration::from_secs(1));
        assert_eq!((&said.json()["messages"], said.header("preference-applied")), (&json!([]), "wait=1"));
        // What is over is news, unless the client says that it knows.
        let over = format!("/chat/message/{answer}/tokens/{}", reader.position);
        assert_eq!(answered(hold(&app, &over, 50, &As::nobody())).await.expect(200).json()["status"], "completed");
        let known = As(vec![("if-none-match".to_owned(), app.get(&over).await.header("etag").to_owned())]);
        answered(hold(&app, &over, 1, &known)).await.expect(304);
        // In HTML, too.
        let page = As(vec![("hx-request".to_owned(), "true".to_owned())]);
        answered(hold(&app, &quiet, 1, &page)).await.expect(204);
        app.stop().await;
    }

    async fn who_is_held_is_let_go_when_the_server_ends(kind: Kind) {
        let mut app = TestApp::start_with(kind, Upstream::echo().await, &[LONG, ("shutdown.limit_ms", "40000")]).await;
        let chat = app.create_chat().await;
        let revision = app.get(&format!("/chat/{chat}")).await.expect(200).json()["revision"].clone();
        let poll = hold(&app, &format!("/chat/{chat}/messages?revision={revision}"), 50, &As::nobody());
        is_held(&app, &poll).await;
        app.shut_down().await;
        let said = answered(poll).await.expect(200);
        assert_eq!((&said.json()["messages"], &said.json()["revision"]), (&json!([]), &revision));
    }

    async fn a_server_that_holds_nobody_answers_at_once(kind: Kind) {
        let app = TestApp::start_with(kind, Upstream::echo().await, &[("limits.longest_wait_ms", "0")]).await;
        let chat = app.create_chat().await;
        let revision = app.get(&format!("/chat/{chat}")).await.expect(200).json()["revision"].clone();
        let said = answered(hold(&app, &format!("/chat/{chat}/messages?revision={revision}"), 10_000, &As::nobody())).await.expect(200);
        assert!(!said.headers.contains_key("preference-applied"));
        app.stop().await;
    }

    /// What lets somebody in may end while they wait.
    async fn who_may_not_come_in_any_more_is_told_nothing(kind: Kind) {
        let settings = [LONG, ("auth.modes", "token"), ("auth.secret", COOKIE_SECRET), ("auth.recheck_ms", "0")];
        let app = TestApp::start_with(kind, Upstream::echo().await, &settings).await;
        let alice = As::bearer(&token(&app, "alice", Scope::Write).await);
        let made = alice.post(&app, "/tokens", &json!({"name": "to be revoked", "scope": "read"})).await.expect(201).json();
        let reader = As::bearer(made["secret"].as_str().unwrap());
        let chat = alice.post(&app, "/chat/create", &json!({})).await.expect(201).json();
        let (uuid, revision) = (chat["uuid"].as_str().unwrap(), &chat["revision"]);
        let share = alice.post(&app, &format!("/chat/{uuid}/shares"), &json!({})).await.expect(201).json();
        let by_link = format!("{}/messages?revision={revision}", share["url"].as_str().unwrap());
        let by_link = hold(&app, &by_link, 50, &As::nobody());
        let by_token = hold(&app, &format!("/chat/{uuid}/messages?revision={revision}"), 50, &reader);
        is_held(&app, &by_link).await;
        is_held(&app, &by_token).await;
        alice.delete(&app, &format!("/share/{}", share["uuid"].as_str().unwrap())).await.expect(204);
        alice.delete(&app, &format!("/token/{}", made["uuid"].as_str().unwrap())).await.expect(204);
        alice.post(&app, &format!("/chat/{uuid}/send"), &json!({"message": "secret"})).await.expect(202);
        let by_link = answered(by_link).await.expect(404);
        let by_token = answered(by_token).await.expect(401);
        assert!(!by_link.text.contains("secret") && !by_token.text.contains("\"secret\""));
        app.stop().await;
    }
}

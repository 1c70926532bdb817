//! What the model is sent: the server's own history, in order, and nothing that was queued later.

use tokio_util::sync::CancellationToken;

use crate::support::upstream::Received;
use crate::support::{Script, TestApp, Upstream};

fn turns(turns: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(role, content): &(&str, &str)| ((*role).to_owned(), (*content).to_owned());
    turns.iter().map(owned).collect()
}

on_both_databases! {
    async fn the_history_comes_from_the_database(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (chat, ..) = app.ask("one").await;
        let second = app.send(&chat, "two").await;
        let answer = app.answer_to(&chat, &second).await;
        app.read(&answer).await;
        let received = app.upstream.received();
        assert_eq!(received[1].turns(), turns(&[
            ("user", "one"), ("assistant", "You said: one"), ("user", "two"),
        ]));
        assert_eq!(received[1].body["stream"], true);
        assert_eq!(received[1].body["stream_options"]["include_usage"], true);
        app.stop().await;
    }

    async fn what_was_queued_later_is_not_sent_and_answers_stand_behind_their_questions(kind: Kind) {
        let gate = CancellationToken::new();
        let scripts = [
            Script::stream().wait(&gate).say(["a1"]).finish(),
            Script::answer(["a2"]),
            Script::answer(["a3"]),
        ];
        let app = TestApp::start(kind, Upstream::scripted(scripts).await).await;
        let chat = app.create_chat().await;
        let first = app.send(&chat, "q1").await;
        app.answer_to(&chat, &first).await;
        app.send(&chat, "q2").await;
        app.send(&chat, "q3").await;
        gate.cancel();
        app.settle().await;
        let sent: Vec<_> = app.upstream.received().iter().map(Received::turns).collect();
        assert_eq!(sent[0], turns(&[("user", "q1")]));
        assert_eq!(sent[1], turns(&[("user", "q1"), ("assistant", "a1"), ("user", "q2")]));
        assert_eq!(sent[2], turns(&[
            ("user", "q1"), ("assistant", "a1"), ("user", "q2"), ("assistant", "a2"), ("user", "q3"),
        ]));
        app.stop().await;
    }

    async fn one_chat_runs_one_request_at_a_time_and_chats_run_side_by_side(kind: Kind) {
        let gate = CancellationToken::new();
        let held = gate.clone();
        let upstream = Upstream::start(move |request| {
            Script::stream().wait(&held).say([request.asked()]).finish()
        })
        .await;
        let app = TestApp::start(kind, upstream).await;
        let (left, right) = (app.create_chat().await, app.create_chat().await);
        let first = app.send(&left, "l1").await;
        app.send(&left, "l2").await;
        let other = app.send(&right, "r1").await;
        app.answer_to(&left, &first).await;
        app.answer_to(&right, &other).await;
        let waiting: Vec<_> = app.messages(&left).await.into_iter()
            .filter(|m| m["role"] == "user" && m["status"] == "pending").collect();
        assert_eq!(waiting.len(), 1, "the second message of a chat waits for the first");
        gate.cancel();
        app.settle().await;
        assert_eq!(app.upstream.received().len(), 3);
        app.stop().await;
    }

    async fn a_node_runs_no_more_answers_at_once_than_it_may(kind: Kind) {
        let gate = CancellationToken::new();
        let held = gate.clone();
        let upstream = Upstream::start(move |_| Script::stream().say(["x"]).wait(&held).finish()).await;
        let app = TestApp::start_with(kind, upstream, &[("worker.max_running", "2")]).await;
        let mut chats = Vec::new();
        for _ in 0..4 {
            let chat = app.create_chat().await;
            let message = app.send(&chat, "go").await;
            chats.push((chat, message));
        }
        for (chat, message) in &chats[..2] {
            app.answer_to(chat, message).await;
        }
        assert!(app.upstream.received().len() <= 2);
        let statuses: Vec<_> = app.messages(&chats[3].0).await.iter().map(|m| m["status"].clone()).collect();
        assert_eq!(statuses, ["pending"], "the youngest waits");
        gate.cancel();
        app.settle().await;
        assert_eq!(app.upstream.received().len(), 4);
        app.stop().await;
    }

    async fn the_key_goes_to_the_model_and_nowhere_else(kind: Kind) {
        const KEY: &str = "sk-planted-secret-0123456789";
        let refusal = serde_json::json!({"error": {"message": format!("{}{KEY} is wrong", "x".repeat(290))}});
        let upstream = Upstream::scripted([Script::answer(["ok"]), Script::json(400, &refusal)]).await;
        let app = TestApp::start_with(kind, upstream, &[("openai.api_key", KEY)]).await;
        let (chat, ..) = app.ask("one").await;
        assert!(app.upstream.received()[0].head.contains(&format!("authorization: Bearer {KEY}")));
        let second = app.send(&chat, "two").await;
        let answer = app.answer_to(&chat, &second).await;
        app.read(&answer).await;
        let message = app.message(&answer).await;
        assert_eq!(message["error"]["code"], "provider_refused");
        let shown = format!("{message}{}", app.get_page(&format!("/chat/{chat}")).await.text);
        assert!(!shown.contains("sk-planted") && shown.contains("[key]"), "{shown}");
        app.stop().await;
    }
}

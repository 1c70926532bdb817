//! Calls of the model that fail before the first token are made again; what fails after it ends
//! or starts over, as configured; and nothing takes longer than it may.

use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::upstream::Received;
use crate::support::{Script, TestApp, Upstream, app::eventually};

fn busy() -> Script {
    Script::json(503, &json!({"error": "overloaded"}))
}

on_both_databases! {
    async fn a_call_that_fails_before_the_first_token_is_made_again(kind: Kind) {
        let scripts = [busy(), Script::stream().cut(), Script::json(429, &json!({})), Script::json(408, &json!({})),
            Script::answer(["at last"])];
        let app = TestApp::start_with(kind, Upstream::scripted(scripts).await, &[("upstream.max_retries", "4")]).await;
        let (_, _, reader) = app.ask("one").await;
        assert_eq!((reader.status.as_str(), reader.text.as_str(), reader.replaced), ("completed", "at last", 0));
        assert_eq!(app.upstream.received().len(), 5);
        let usage = app.get("/usage").await.json();
        assert_eq!(usage["total"]["attempts"], 1, "retries are calls of one attempt");
        app.stop().await;
    }

    async fn retries_come_to_an_end_and_the_reason_stays(kind: Kind) {
        let upstream = Upstream::start(|_| busy()).await;
        let app = TestApp::start_with(kind, upstream, &[("upstream.max_retries", "2")]).await;
        let (_, answer, reader) = app.ask("one").await;
        assert_eq!(reader.status, "failed");
        assert_eq!(app.message(&answer).await["error"]["code"], "provider_error");
        assert_eq!(app.upstream.received().len(), 3, "the first call and two more");
        app.stop().await;
    }

    async fn the_servers_retry_after_is_honoured(kind: Kind) {
        let limited = Script::json(429, &json!({})).header("retry-after", "2");
        let upstream = Upstream::scripted([limited, Script::answer(["fine"])]).await;
        let app = TestApp::start_with(kind, upstream, &[("upstream.max_retries", "1")]).await;
        let (_, _, reader) = app.ask("one").await;
        assert_eq!(reader.text, "fine");
        let at: Vec<_> = app.upstream.received().iter().map(|r| r.at).collect();
        assert!(at[1] - at[0] >= Duration::from_secs(2), "{:?}", at[1] - at[0]);
        app.stop().await;
    }

    async fn a_retry_after_beyond_the_time_limit_fails_at_once(kind: Kind) {
        let limited = Script::json(429, &json!({"error": {"message": "come back tomorrow"}})).header("retry-after", "86400");
        let upstream = Upstream::scripted([limited, Script::answer(["too early"])]).await;
        let app = TestApp::start_with(kind, upstream, &[("upstream.max_retries", "3")]).await;
        let (_, answer, reader) = app.ask("one").await;
        assert_eq!(reader.status, "failed");
        let error = &app.message(&answer).await["error"];
        assert_eq!(error["code"], "provider_rate_limited");
        assert!(error["message"].as_str().unwrap().contains("come back tomorrow"), "{error}");
        assert_eq!(app.upstream.received().len(), 1);
        app.stop().await;
    }

    async fn what_will_not_change_is_not_tried_again(kind: Kind) {
        for status in [400, 401, 404] {
            let upstream = Upstream::scripted([Script::json(status, &json!({})), Script::answer(["x"])]).await;
            let app = TestApp::start_with(kind, upstream, &[("upstream.max_retries", "3")]).await;
            assert_eq!(app.ask("one").await.2.status, "failed");
            assert_eq!(app.upstream.received().len(), 1, "after status {status}");
            app.stop().await;
        }
    }

    async fn after_a_token_was_shown_nothing_is_called_again(kind: Kind) {
        let scripts = [Script::stream().say(["shown"]).cut(), Script::answer(["x"])];
        let app = TestApp::start_with(kind, Upstream::scripted(scripts).await, &[("upstream.max_retries", "3")]).await;
        let (_, _, reader) = app.ask("one").await;
        assert_eq!((reader.status.as_str(), reader.text.as_str()), ("failed", "shown"));
        assert_eq!(app.upstream.received().len(), 1);
        app.stop().await;
    }

    async fn or_another_attempt_replaces_what_was_shown(kind: Kind) {
        let gate = CancellationToken::new();
        let broken = Script::stream().say(["half an answer"]).wait(&gate).cut();
        let upstream = Upstream::scripted([broken, Script::answer(["the ", "whole"])]).await;
        let app = TestApp::start_with(kind, upstream, &[("worker.on_broken_answer", "replace")]).await;
        let chat = app.create_chat().await;
        let message = app.send(&chat, "one").await;
        let answer = app.answer_to(&chat, &message).await;
        let reader = app.read_until(&answer, "half an answer").await;
        gate.cancel();
        let reader = app.read_on(&answer, reader).await;
        assert_eq!((reader.status.as_str(), reader.text.as_str(), reader.replaced), ("completed", "the whole", 1));
        assert_eq!(app.messages(&chat).await.len(), 2);
        app.stop().await;
    }

    async fn attempts_come_to_an_end_with_the_text_of_the_last_one_that_had_any(kind: Kind) {
        let scripts = [Script::stream().say(["some text"]).cut(), Script::stream().cut()];
        let settings = [("worker.on_broken_answer", "replace")];
        let app = TestApp::start_with(kind, Upstream::scripted(scripts).await, &settings).await;
        let (_, answer, reader) = app.ask("one").await;
        assert_eq!((reader.status.as_str(), reader.text.as_str()), ("failed", "some text"));
        assert_eq!(app.message(&answer).await["error"]["code"], "provider_broke_off");
        let usage = app.get("/usage").await.json();
        // "some text" is three tokens, and they were said once.
        assert_eq!((&usage["total"]["attempts"], &usage["total"]["output_tokens"]), (&json!(2), &json!(3)));
        app.stop().await;
    }

    async fn a_model_that_says_nothing_is_given_up(kind: Kind) {
        // It sends keep-alives, so that no byte is late; but no token comes.
        let pings = (0..200).fold(Script::stream(), |script, _| script.raw(": ping\n\n"));
        let upstream = Upstream::scripted([pings.paced(Duration::from_millis(50)).stall()]).await;
        let app = TestApp::start_with(kind, upstream, &[("worker.first_token_timeout_ms", "2000")]).await;
        let (_, answer, reader) = app.ask("one").await;
        assert_eq!(reader.status, "failed");
        let error = &app.message(&answer).await["error"];
        assert_eq!(error["code"], "first_token_timeout");
        assert!(error["message"].as_str().unwrap().contains("2 s"), "{error}");
        app.upstream.received()[0].gone.cancelled().await;
        app.stop().await;
    }

    async fn an_answer_without_end_ends_at_the_deadline(kind: Kind) {
        let endless = Script::answer(vec!["on and "; 2_000]).paced(Duration::from_millis(20));
        let upstream = Upstream::scripted([endless]).await;
        let app = TestApp::start_with(kind, upstream, &[("worker.deadline_ms", "3000")]).await;
        let (_, answer, reader) = app.ask("one").await;
        assert_eq!(reader.status, "failed");
        assert!(reader.text.starts_with("on and on and "), "what had come was kept");
        assert_eq!(app.message(&answer).await["error"]["code"], "deadline_exceeded");
        app.upstream.received()[0].gone.cancelled().await;
        app.stop().await;
    }

    async fn a_node_runs_as_many_as_it_may_and_the_oldest_first(kind: Kind) {
        let gate = CancellationToken::new();
        let held = gate.clone();
        let upstream = Upstream::start(move |request| match request.asked().as_str() {
            "0" => Script::stream().wait(&held).say(["x"]).finish(),
            _ => Script::answer(["x"]),
        }).await;
        let app = TestApp::start_with(kind, upstream, &[("worker.max_running", "1")]).await;
        for n in 0..5 {
            let chat = app.create_chat().await;
            app.send(&chat, &n.to_string()).await;
        }
        eventually("the first one runs", async || (app.upstream.received().len() == 1).then_some(())).await;
        gate.cancel();
        app.settle().await;
        let asked: Vec<String> = app.upstream.received().iter().map(Received::asked).collect();
        assert_eq!(asked, ["0", "1", "2", "3", "4"]);
        app.stop().await;
    }

    async fn the_dead_are_rescued_however_long_the_queue_is(kind: Kind) {
        use sea_orm::{EntityTrait, Set, TransactionTrait};
        // Somebody else's request, whose lease has run out, and a queue that never ends by itself.
        let mut app = TestApp::start_with(kind, Upstream::echo().await, &[]).await;
        let (_, answer, _) = app.ask("lost").await;
        app.shut_down().await;
        let db = app.database.connect().await;
        let id: entity::MessageId = answer.parse().unwrap();
        let message = entity::chat_message::Entity::find_by_id(id).one(&db).await.unwrap().unwrap();
        let upstream = Upstream::start(|_| Script::answer(["slow"]).paced(Duration::from_millis(30))).await;
        let settings = [("worker.max_running", "1"), ("worker.max_attempts", "1")];
        let busy = TestApp::start_on(app.database.clone(), upstream, &settings).await;
        let chats = futures::future::join_all((0..80).map(|_| busy.create_chat())).await;
        for chat in &chats {
            busy.send(chat, "go").await;
        }
        let lost = entity::chat_message::ActiveModel {
            id: Set(id),
            status: Set(entity::chat_message::Status::Pending),
            ..Default::default()
        };
        let both = db.begin().await.unwrap();
        entity::chat_message::Entity::update(lost).exec(&both).await.unwrap();
        let request = entity::llm_request::ActiveModel {
            id: Set(message.request_id.unwrap()),
            status: Set(entity::llm_request::Status::Running),
            lease_expires_at: Set(Some(entity::Timestamp(0))),
            ..Default::default()
        };
        entity::llm_request::Entity::update(request).exec(&both).await.unwrap();
        both.commit().await.unwrap();
        assert_eq!(busy.read(&answer).await.status, "failed");
        let left = entity::llm_request::Entity::find().all(&db).await.unwrap();
        let queued = left.iter().filter(|r| r.status == entity::llm_request::Status::Queued).count();
        assert!(queued > 0, "the queue was still there");
        db.close().await.unwrap();
        busy.stop().await;
        drop(app);
    }
}

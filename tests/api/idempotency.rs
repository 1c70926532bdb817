//! The `Idempotency-Key` header, and UUIDs that the client chooses.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::app::eventually;
use crate::support::{Script, TestApp, Upstream};

on_both_databases! {
    async fn the_same_key_and_body_get_the_first_answer(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let chat = app.create_chat().await;
        let (path, body) = (format!("/chat/{chat}/send"), json!({"message": "Hello"}));
        let first = app.post_once(&path, "k1", &body).await.expect(202);
        app.settle().await;
        let second = app.post_once(&path, "k1", &body).await.expect(202);
        assert_eq!(first.text, second.text, "to the letter, though the message has been answered meanwhile");
        assert_eq!(app.messages(&chat).await.len(), 2);
        let other = app.post_once(&path, "k1", &json!({"message": "Bye"})).await.expect(422).json();
        assert_eq!(other["type"], "/problems/idempotency-key-reused");
        app.post_once(&path, "k2", &body).await.expect(202);
        app.settle().await;
        assert_eq!(app.messages(&chat).await.len(), 4, "another key is another message");
        let elsewhere = app.create_chat().await;
        app.post_once(&format!("/chat/{elsewhere}/send"), "k1", &body).await.expect(202);
        app.settle().await;
        assert_eq!(app.messages(&elsewhere).await.len(), 2, "a key counts for its route alone");
        app.stop().await;
    }

    async fn many_sends_at_once_with_one_key_make_one_message(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let chat = app.create_chat().await;
        let (path, body) = (format!("/chat/{chat}/send"), json!({"message": "Hello"}));
        let all = futures::future::join_all((0..16).map(|_| app.post_once(&path, "k", &body))).await;
        let accepted: Vec<_> = all.iter().filter(|answer| answer.status == 202).map(|a| a.text.clone()).collect();
        assert!(!accepted.is_empty());
        assert!(accepted.iter().all(|text| *text == accepted[0]));
        for refused in all.iter().filter(|answer| answer.status != 202) {
            assert_eq!(refused.status, 409);
            assert_eq!(refused.header("retry-after"), "1");
            assert_eq!(refused.json()["type"], "/problems/request-running");
        }
        app.settle().await;
        assert_eq!(app.messages(&chat).await.len(), 2);
        app.stop().await;
    }

    async fn a_create_with_a_key_makes_one_chat(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let body = json!({"message": "Hello"});
        let first = app.post_once("/chat/create", "k", &body).await.expect(201);
        app.settle().await;
        let second = app.post_once("/chat/create", "k", &body).await.expect(201);
        assert_eq!(first.text, second.text);
        assert_eq!(app.get("/chat/list").await.json()["chats"].as_array().unwrap().len(), 1);
        app.stop().await;
    }

    async fn what_was_refused_is_not_remembered(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let chat = app.create_chat().await;
        let path = format!("/chat/{chat}/send");
        app.post_once(&path, "k", &json!({"message": ""})).await.expect(422);
        app.post_once(&path, "k", &json!({"message": "Hello"})).await.expect(202);
        app.stop().await;
    }

    async fn a_repeated_regenerate_asks_once(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (_, answer, _) = app.ask("one").await;
        let path = format!("/chat/message/{answer}/regenerate");
        let first = app.post_once(&path, "k", &json!({})).await.expect(202);
        app.settle().await;
        let second = app.post_once(&path, "k", &json!({})).await.expect(202);
        assert_eq!(first.text, second.text);
        assert_eq!(app.upstream.received().len(), 2);
        assert_eq!(app.message(&answer).await["versions"], 2);
        app.stop().await;
    }

    async fn a_repeated_cancel_or_select_answers_what_it_answered(kind: Kind) {
        let gate = CancellationToken::new();
        let held = gate.clone();
        let upstream = Upstream::start(move |_| Script::stream().say(["x"]).wait(&held).finish()).await;
        let app = TestApp::start(kind, upstream).await;
        let chat = app.create_chat().await;
        let message = app.send(&chat, "one").await;
        let answer = app.answer_to(&chat, &message).await;
        let path = format!("/chat/message/{answer}/cancel");
        let first = app.post_once(&path, "k", &json!({})).await.expect(200).json();
        let second = app.post_once(&path, "k", &json!({})).await.expect(200).json();
        assert_eq!((&first["cancelled"], &second["cancelled"]), (&json!(true), &json!(true)));
        let fresh = app.post_once(&path, "k2", &json!({})).await.expect(200).json();
        assert_eq!(fresh["cancelled"], false);
        gate.cancel();
        // A repeated interrupt must not stop what has begun since.
        let send = format!("/chat/{chat}/send");
        let body = json!({"message": "two", "on_busy": "interrupt"});
        app.post_once(&send, "k", &body).await.expect(202);
        let again = app.post_once(&send, "k", &body).await.expect(202).json();
        let answer = app.answer_to(&chat, again["message"]["uuid"].as_str().unwrap()).await;
        assert_eq!(app.read(&answer).await.status, "completed");
        app.stop().await;
    }

    async fn keys_are_forgotten_after_their_time(kind: Kind) {
        let settings = [("limits.idempotency_ttl_ms", "1000"), ("worker.repair_interval_ms", "100")];
        let app = TestApp::start_with(kind, Upstream::echo().await, &settings).await;
        let chat = app.create_chat().await;
        let (path, body) = (format!("/chat/{chat}/send"), json!({"message": "Hello"}));
        let first = app.post_once(&path, "k", &body).await.expect(202).text;
        eventually("the key expires", async || {
            let again = app.post_once(&path, "k", &body).await.expect(202).text;
            tokio::time::sleep(Duration::from_millis(50)).await;
            (again != first).then_some(())
        }).await;
        let db = app.database.connect().await;
        eventually("expired keys are cleared away", async || {
            use sea_orm::{EntityTrait, PaginatorTrait};
            (entity::idempotency_key::Entity::find().count(&db).await.unwrap() == 0).then_some(())
        }).await;
        db.close().await.unwrap();
        app.stop().await;
    }

    async fn a_key_that_is_none_is_refused(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        for key in ["", "with space", "é", &"x".repeat(256)] {
            let value = reqwest::header::HeaderValue::from_bytes(key.as_bytes()).unwrap();
            let refused = app.request(Method::POST, "/chat/create", |r| r.header("idempotency-key", value)).await;
            assert_eq!(refused.expect(400).json()["type"], "/problems/malformed-idempotency-key", "{key:?}");
        }
        let longest = "x".repeat(255);
        app.request(Method::POST, "/chat/create", |r| r.header("idempotency-key", &longest)).await.expect(201);
        app.stop().await;
    }

    async fn a_uuid_of_the_clients_own_makes_a_send_safe_to_repeat(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let chat = app.create_chat().await;
        let (path, uuid) = (format!("/chat/{chat}/send"), Uuid::now_v7().to_string());
        let body = json!({"uuid": uuid, "message": "Hello"});
        for answer in futures::future::join_all((0..8).map(|_| app.post(&path, &body))).await {
            assert_eq!(answer.expect(202).json()["message"]["uuid"], uuid.as_str());
        }
        app.settle().await;
        assert_eq!(app.messages(&chat).await.len(), 2);
        let other = json!({"uuid": uuid, "message": "Bye"});
        app.post(&path, &other).await.expect(422);
        let elsewhere = app.create_chat().await;
        let taken = app.post(&format!("/chat/{elsewhere}/send"), &body).await.expect(409).json();
        assert_eq!(taken["type"], "/problems/uuid-taken");
        app.stop().await;
    }

    async fn a_repeated_cancel_does_not_stop_what_has_begun_since(kind: Kind) {
        let gate = CancellationToken::new();
        let first = Script::stream().say(["first"]).wait(&CancellationToken::new()).finish();
        let second = Script::stream().say(["second "]).wait(&gate).say(["whole"]).finish();
        let app = TestApp::start(kind, Upstream::scripted([first, second]).await).await;
        let chat = app.create_chat().await;
        let message = app.send(&chat, "one").await;
        let answer = app.answer_to(&chat, &message).await;
        app.read_until(&answer, "first").await;
        let cancel = format!("/chat/message/{answer}/cancel");
        let before = app.post_once(&cancel, "k", &json!({})).await.expect(200).text;
        app.post_bare(&format!("/chat/message/{answer}/retry")).await.expect(202);
        app.read_until(&answer, "second ").await;
        let again = app.post_once(&cancel, "k", &json!({})).await.expect(200).text;
        assert_eq!(before, again, "the first answer once more");
        gate.cancel();
        let reader = app.read(&answer).await;
        assert_eq!((reader.status.as_str(), reader.text.as_str()), ("completed", "second whole"));
        assert_eq!(app.upstream.received().len(), 2, "the second run was left alone");
        app.stop().await;
    }
}

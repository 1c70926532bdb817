//! `POST /chat/create`, `GET`, `PATCH` and `DELETE /chat/{uuid}`.

use reqwest::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::app::{PATIENCE, eventually};
use crate::support::{Script, TestApp, Upstream, masked};

on_both_databases! {
    async fn a_chat_can_be_created_without_a_word(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let answer = app.request(Method::POST, "/chat/create", |r| r).await.expect(201);
        masked().bind(|| insta::allow_duplicates! { insta::assert_snapshot!(answer.text, @r#"{"uuid":"[uuid]","title":"New chat","agent":null,"model":"scripted-model","status":"waiting_for_user","revision":1,"created_at":"[time]","updated_at":"[time]","on_busy":"enqueue","parameters":{},"metadata":{}}"#) });
        app.stop().await;
    }

    async fn creating_the_same_chat_twice_is_the_same_chat(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let uuid = Uuid::now_v7().to_string();
        let body = json!({"uuid": uuid, "title": "Once", "message": "Hello"});
        let first = app.post("/chat/create", &body).await.expect(201).json();
        let second = app.post("/chat/create", &body).await.expect(201).json();
        assert_eq!(first["uuid"], uuid.as_str());
        assert_eq!(second["uuid"], uuid.as_str());
        assert_eq!(first["message"]["uuid"], second["message"]["uuid"]);
        assert_eq!(first["request_uuid"], second["request_uuid"]);
        app.settle().await;
        let roles: Vec<Value> = app.messages(&uuid).await.iter().map(|m| m["role"].clone()).collect();
        assert_eq!(roles, ["user", "assistant"], "the message was sent once");
        app.stop().await;
    }

    async fn a_repeated_create_loses_no_words(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let uuid = Uuid::now_v7().to_string();
        app.post("/chat/create", &json!({"uuid": uuid})).await.expect(201);
        let with_words = json!({"uuid": uuid, "message": "Hello"});
        let sent = app.post("/chat/create", &with_words).await.expect(201).json();
        assert_eq!(sent["message"]["content"], "Hello", "the chat was empty: it is sent");
        assert_eq!(sent["title"], "Hello", "the chat is answered as it now is");
        let again = app.post("/chat/create", &with_words).await.expect(201).json();
        assert_eq!(again["message"]["uuid"], sent["message"]["uuid"], "sent once");
        let others = json!({"uuid": uuid, "message": "Something else"});
        let refused = app.post("/chat/create", &others).await.expect(409).json();
        assert_eq!(refused["type"], "/problems/uuid-taken");
        app.stop().await;
    }

    async fn two_first_messages_at_once_are_one(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let chat = app.create_chat().await;
        let body = json!({"uuid": chat, "message": "Hello"});
        for answer in futures::future::join_all((0..8).map(|_| app.post("/chat/create", &body))).await {
            answer.expect(201);
        }
        app.settle().await;
        assert_eq!(app.messages(&chat).await.len(), 2);
        app.stop().await;
    }

    async fn a_chat_can_be_changed_and_deleted_in_html(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let chat = app.create_chat().await;
        let path = format!("/chat/{chat}");
        let changed = app
            .request(Method::PATCH, &path, |r| r.header("hx-request", "true").form(&[("title", "A <new> name")]))
            .await
            .expect(200);
        assert!(changed.text.starts_with("<main") && changed.text.contains("A &#60;new&#62; name"), "{}", changed.text);
        let shown = format!("{}{path}", app.base);
        let gone = app
            .request(Method::DELETE, &path, |r| r.header("hx-request", "true").header("hx-current-url", &shown))
            .await
            .expect(200);
        assert_eq!((gone.header("hx-push-url"), gone.header("hx-retarget")), ("/", "#main"));
        assert!(gone.text.contains("class=\"home\"") && gone.text.contains("A &#60;new&#62; name"), "{}", gone.text);
        // From any other page only the notice is wanted.
        let other = app.create_chat().await;
        let gone = app
            .request(Method::POST, &format!("/chat/{other}/delete"), |r| r.header("hx-request", "true").header("hx-current-url", &shown))
            .await
            .expect(200);
        assert_eq!((gone.header("hx-push-url"), gone.header("hx-trigger")), ("", "pollen:chats"));
        assert!(gone.text.contains("/restore") && !gone.text.contains("<main"), "{}", gone.text);
        app.stop().await;
    }

    async fn two_creates_at_once_make_one_chat_and_one_message(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let uuid = Uuid::now_v7().to_string();
        let body = json!({"uuid": uuid, "message": "Hello"});
        let answers = futures::future::join_all((0..8).map(|_| app.post("/chat/create", &body))).await;
        for answer in answers {
            answer.expect(201);
        }
        app.settle().await;
        assert_eq!(app.messages(&uuid).await.len(), 2);
        app.stop().await;
    }

    async fn a_first_message_is_sent_with_the_chat(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let created = app
            .post("/chat/create", &json!({"message": "Tea or coffee?\nTell me."}))
            .await
            .expect(201)
            .json();
        assert_eq!(created["title"], "Tea or coffee?");
        assert_eq!(created["message"]["content"], "Tea or coffee?\nTell me.");
        let chat = created["uuid"].as_str().unwrap();
        let answer = app.answer_to(chat, created["message"]["uuid"].as_str().unwrap()).await;
        assert_eq!(app.read(&answer).await.text, "You said: Tea or coffee?\nTell me.");
        app.stop().await;
    }

    async fn a_chat_can_be_changed(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let chat = app.create_chat().await;
        let path = format!("/chat/{chat}");
        let before = app.get(&path).await.expect(200).json();
        let change = json!({"title": "Renamed", "model": "another-model", "agent": "editor"});
        let changed = app
            .request(Method::PATCH, &path, |r| r.json(&change))
            .await
            .expect(200)
            .json();
        for key in ["title", "model", "agent"] {
            assert_eq!(changed[key], change[key]);
        }
        assert!(changed["revision"].as_i64() > before["revision"].as_i64());
        assert_eq!(app.get(&path).await.expect(200).json(), changed);
        let message = app.send(&chat, "who are you?").await;
        let answer = app.answer_to(&chat, &message).await;
        app.read(&answer).await;
        assert_eq!(app.upstream.received()[0].body["model"], "another-model");
        app.stop().await;
    }

    async fn a_deleted_chat_is_gone(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (chat, answer, _) = app.ask("Hello").await;
        app.delete(&format!("/chat/{chat}")).await.expect(204);
        for path in [
            format!("/chat/{chat}"),
            format!("/chat/{chat}/messages"),
            format!("/chat/message/{answer}"),
            format!("/chat/message/{answer}/tokens/0"),
        ] {
            app.get(&path).await.expect(404);
        }
        app.delete(&format!("/chat/{chat}")).await.expect(404);
        app.stop().await;
    }

    async fn deleting_a_chat_stops_its_answer_and_hangs_up_on_the_model(kind: Kind) {
        let gate = CancellationToken::new();
        let script = Script::stream().say(["half an "]).wait(&gate).say(["answer"]).finish();
        // Nothing but the deletion ends the call.
        let settings = [("upstream.stall_timeout_ms", "3600000")];
        let app = TestApp::start_with(kind, Upstream::scripted([script]).await, &settings).await;
        let chat = app.create_chat().await;
        let message = app.send(&chat, "Hello").await;
        let answer = app.answer_to(&chat, &message).await;
        app.read_until(&answer, "half an ").await;
        app.delete(&format!("/chat/{chat}")).await.expect(204);
        let gone = app.upstream.received()[0].gone.clone();
        tokio::time::timeout(PATIENCE, gone.cancelled()).await.expect("the connection is closed");
        eventually("the live answer is forgotten", async || {
            let poll = app.get(&format!("/chat/message/{answer}/tokens/0")).await;
            (poll.status == 404).then_some(())
        })
        .await;
        app.stop().await;
    }
}

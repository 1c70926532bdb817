//! `POST /chat/{uuid}/send`.

use reqwest::Method;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::{Script, TestApp, Upstream, masked};

on_both_databases! {
    async fn a_send_is_answered_before_the_model(kind: Kind) {
        let gate = CancellationToken::new();
        let script = Script::stream().wait(&gate).say(["late"]).finish();
        let app = TestApp::start(kind, Upstream::scripted([script]).await).await;
        let chat = app.create_chat().await;
        let answer = app.post(&format!("/chat/{chat}/send"), &json!({"message": "Hello"})).await.expect(202);
        let sent = answer.json();
        let uuid = sent["message"]["uuid"].as_str().unwrap();
        assert_eq!(sent["poll_url"], format!("/chat/{chat}/messages/{uuid}"));
        masked().bind(|| insta::allow_duplicates! { insta::assert_snapshot!(answer.text, @r#"{"message":{"uuid":"[uuid]","chat_uuid":"[uuid]","reply_to":null,"role":"user","status":"pending","content":"Hello","position":5,"request_uuid":"[uuid]","created_at":"[time]","completed_at":null,"error":null,"truncated":false,"deleted":false,"superseded":false,"version":1,"versions":1,"reasoning":null,"model":null,"finish_reason":null,"cached":false,"left_out":0,"summarised":false,"reaction":null},"request_uuid":"[uuid]","poll_url":"/chat/[uuid]/messages/[uuid]","poll_after_ms":300}"#) });
        gate.cancel();
        app.stop().await;
    }

    async fn a_form_will_do(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let chat = app.create_chat().await;
        let sent = app
            .request(Method::POST, &format!("/chat/{chat}/send"), |r| r.form(&[("message", "Zwölf & drei = 15?")]))
            .await
            .expect(202)
            .json();
        assert_eq!(sent["message"]["content"], "Zwölf & drei = 15?");
        app.stop().await;
    }

    async fn the_message_turns_completed_when_its_request_starts(kind: Kind) {
        let gate = CancellationToken::new();
        let script = Script::stream().say(["a"]).wait(&gate).say(["b"]).finish();
        let app = TestApp::start(kind, Upstream::scripted([script]).await).await;
        let chat = app.create_chat().await;
        let message = app.send(&chat, "Hello").await;
        let answer = app.answer_to(&chat, &message).await;
        let messages = app.messages(&chat).await;
        assert_eq!((&messages[0]["status"], &messages[1]["status"]), (&json!("completed"), &json!("pending")));
        let path = format!("/chat/{chat}");
        assert_eq!(app.get(&path).await.json()["status"], "waiting_for_chatbot");
        gate.cancel();
        app.read(&answer).await;
        assert_eq!(app.get(&path).await.json()["status"], "waiting_for_user");
        assert_eq!(app.message(&answer).await["status"], "completed");
        app.stop().await;
    }

    async fn a_message_of_exactly_the_limit_is_taken(kind: Kind) {
        let app = TestApp::start_with(kind, Upstream::echo().await, &[("limits.message_bytes", "64")]).await;
        let chat = app.create_chat().await;
        let path = format!("/chat/{chat}/send");
        app.post(&path, &json!({"message": "é".repeat(32)})).await.expect(202);
        let refused = app.post(&path, &json!({"message": "é".repeat(33)})).await.expect(422);
        assert!(refused.text.contains("at most 64 bytes"), "{}", refused.text);
        app.stop().await;
    }
}

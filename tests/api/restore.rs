//! `DELETE /chat/{uuid}` taken back: `POST /chat/{uuid}/restore`.

use reqwest::Method;
use sea_orm::{EntityTrait, PaginatorTrait};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::{Script, TestApp, Upstream, app::eventually};

/// Rows of chats and of messages, deleted ones included.
async fn rows(app: &TestApp) -> (u64, u64) {
    let db = app.database.connect().await;
    let chats = entity::chat::Entity::find().count(&db).await.unwrap();
    let messages = entity::chat_message::Entity::find().count(&db).await;
    db.close().await.unwrap();
    (chats, messages.unwrap())
}

async fn listed(app: &TestApp) -> Vec<Value> {
    let list = app.get("/chat/list").await.expect(200).json();
    let chats = list["chats"].as_array().unwrap();
    chats.iter().map(|chat| chat["uuid"].clone()).collect()
}

on_both_databases! {
    async fn a_deleted_chat_can_be_brought_back_as_it_was(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (older, answer, _) = app.ask("one").await;
        let (newer, ..) = app.ask("two").await;
        let (before, messages) = (listed(&app).await, app.messages(&older).await);
        app.delete(&format!("/chat/{older}")).await.expect(204);
        assert_eq!(listed(&app).await, [newer.as_str()]);
        for path in [
            format!("/chat/{older}"),
            format!("/chat/{older}/messages"),
            format!("/chat/{older}/export"),
            format!("/chat/message/{answer}"),
            format!("/chat/message/{answer}/versions"),
            format!("/chat/message/{answer}/tokens/0"),
        ] {
            app.get(&path).await.expect(404);
        }
        for path in [
            format!("/chat/{older}/send"),
            format!("/chat/message/{answer}/regenerate"),
            format!("/chat/message/{answer}/cancel"),
        ] {
            app.request(Method::POST, &path, |r| r.header("content-type", "application/json")).await.expect(404);
        }
        let restored = app.post_bare(&format!("/chat/{older}/restore")).await.expect(200).json();
        assert_eq!((&restored["uuid"], &restored["title"]), (&json!(older), &json!("one")));
        assert_eq!(app.messages(&older).await, messages);
        assert_eq!(listed(&app).await, before, "in its place");
        let (_, reader) = app.ask_in(&older, "three").await;
        assert_eq!(reader.text, "You said: three", "and it goes on");
        app.stop().await;
    }

    async fn what_was_not_deleted_cannot_be_brought_back(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let chat = app.create_chat().await;
        for uuid in [&chat, &Uuid::now_v7().to_string()] {
            let refused = app.post_bare(&format!("/chat/{uuid}/restore")).await.expect(404).json();
            assert_eq!(refused["type"], "/problems/chat-not-found");
        }
        app.post_bare("/chat/nonsense/restore").await.expect(400);
        app.stop().await;
    }

    async fn a_chat_is_brought_back_once_under_one_key(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let chat = app.create_chat().await;
        let path = format!("/chat/{chat}/restore");
        app.delete(&format!("/chat/{chat}")).await.expect(204);
        let first = app.post_once(&path, "k", &json!({})).await.expect(200).json();
        assert_eq!(app.post_once(&path, "k", &json!({})).await.expect(200).json(), first);
        app.post_bare(&path).await.expect(404);
        app.stop().await;
    }

    async fn what_ran_and_what_waited_is_stopped_and_stays_so(kind: Kind) {
        let script = Script::stream().say(["half "]).wait(&CancellationToken::new()).finish();
        let app = TestApp::start(kind, Upstream::scripted([script]).await).await;
        let chat = app.create_chat().await;
        let first = app.send(&chat, "one").await;
        let answer = app.answer_to(&chat, &first).await;
        app.read_until(&answer, "half ").await;
        for words in ["two", "three"] {
            app.send(&chat, words).await;
        }
        app.delete(&format!("/chat/{chat}")).await.expect(204);
        app.upstream.received()[0].gone.cancelled().await;
        app.get(&format!("/chat/message/{answer}/tokens/0")).await.expect(404);
        app.settle().await;
        app.post_bare(&format!("/chat/{chat}/restore")).await.expect(200);
        let messages = app.messages(&chat).await;
        let said: Vec<_> = messages.iter()
            .map(|m| (m["content"].as_str().unwrap(), m["status"].as_str().unwrap()))
            .collect();
        assert_eq!(said, [("one", "completed"), ("half ", "cancelled"), ("two", "cancelled"), ("three", "cancelled")]);
        let usage = app.get("/usage?by=chat").await.expect(200).json();
        assert_eq!(usage["total"]["attempts"], 1, "what it used is not forgotten");
        app.stop().await;
    }

    async fn an_answer_that_waits_to_be_written_again_is_stopped_too(kind: Kind) {
        let gate = CancellationToken::new();
        let scripts = [Script::answer(["one"]), Script::stream().wait(&gate).finish()];
        let app = TestApp::start_with(kind, Upstream::scripted(scripts).await, &[("worker.max_running", "1")]).await;
        let (chat, answer, _) = app.ask("go").await;
        let other = app.create_chat().await;
        let busy = app.send(&other, "hold the only place").await;
        let held = app.answer_to(&other, &busy).await;
        app.post_bare(&format!("/chat/message/{answer}/regenerate")).await.expect(202);
        app.delete(&format!("/chat/{chat}")).await.expect(204);
        app.post_bare(&format!("/chat/{chat}/restore")).await.expect(200);
        assert_eq!(app.message(&answer).await["status"], "cancelled");
        let back = app.post_bare(&format!("/chat/message/{answer}/versions/1/select")).await.expect(200).json();
        assert_eq!(back["content"], "one");
        app.post_bare(&format!("/chat/message/{held}/cancel")).await.expect(200);
        app.stop().await;
    }

    async fn a_deleted_chat_is_erased_after_a_while(kind: Kind) {
        let settings = [("limits.undo_ms", "200"), ("worker.repair_interval_ms", "50")];
        let app = TestApp::start_with(kind, Upstream::echo().await, &settings).await;
        let (chat, ..) = app.ask("one").await;
        app.ask("two").await;
        app.delete(&format!("/chat/{chat}")).await.expect(204);
        eventually("it is erased", async || (rows(&app).await == (1, 2)).then_some(())).await;
        app.post_bare(&format!("/chat/{chat}/restore")).await.expect(404);
        app.stop().await;
    }

    async fn without_time_for_an_undo_a_chat_is_erased_at_once(kind: Kind) {
        let app = TestApp::start_with(kind, Upstream::echo().await, &[("limits.undo_ms", "0")]).await;
        let (chat, ..) = app.ask("one").await;
        app.delete(&format!("/chat/{chat}")).await.expect(204);
        assert_eq!(rows(&app).await, (0, 0));
        app.post_bare(&format!("/chat/{chat}/restore")).await.expect(404);
        app.stop().await;
    }

    async fn the_uuid_of_a_deleted_chat_can_be_taken_for_a_new_one(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (chat, ..) = app.ask("one").await;
        app.delete(&format!("/chat/{chat}")).await.expect(204);
        let body = json!({"uuid": chat, "title": "Another one"});
        let created = app.post("/chat/create", &body).await.expect(201).json();
        assert_eq!((&created["title"], &created["revision"]), (&json!("Another one"), &json!(1)));
        assert_eq!(app.messages(&chat).await.len(), 0);
        app.post_bare(&format!("/chat/{chat}/restore")).await.expect(404);
        app.stop().await;
    }

    async fn a_page_brings_a_chat_back_too(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (chat, ..) = app.ask("one").await;
        let path = format!("/chat/{chat}/restore");
        app.delete(&format!("/chat/{chat}")).await.expect(204);
        let page = app.request(Method::POST, &path, |r| r.header("accept", "text/html")).await.expect(303);
        assert_eq!(page.header("location"), format!("/chat/{chat}"));
        app.delete(&format!("/chat/{chat}")).await.expect(204);
        let view = app.request(Method::POST, &path, |r| r.header("hx-request", "true")).await.expect(200);
        assert!(view.text.contains("<main") && view.text.contains("You said: one"), "{}", view.text);
        app.stop().await;
    }

    async fn a_chat_that_another_node_answers_in_is_gone_there_too(kind: Kind) {
        let script = Script::stream().say(["half "]).wait(&CancellationToken::new()).finish();
        let app = TestApp::start(kind, Upstream::scripted([script]).await).await;
        let Some(other) = app.another_node_or_none().await else { return app.stop().await };
        let chat = app.create_chat().await;
        let message = app.send(&chat, "Hello").await;
        let answer = app.answer_to(&chat, &message).await;
        for node in [&app, &other] {
            node.read_until(&answer, "half ").await;
        }
        other.delete(&format!("/chat/{chat}")).await.expect(204);
        for node in [&app, &other] {
            let path = format!("/chat/message/{answer}/tokens/0");
            eventually("it is gone", async || (node.get(&path).await.status == 404).then_some(())).await;
        }
        other.abandon().await;
        app.stop().await;
    }
}

//! `GET /chat/{uuid}/history`.

use std::time::{Duration, Instant};

use entity::{ChatId, MessageId, OwnerId, Timestamp, chat, chat_message};
use sea_orm::{EntityTrait, IntoActiveModel};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{Script, TestApp, Upstream};

async fn all(app: &TestApp, chat: &str, limit: u64) -> (Vec<Value>, usize) {
    let (mut messages, mut pages) = (Vec::new(), 0);
    let mut path = format!("/chat/{chat}/history?limit={limit}");
    loop {
        let page = app.get(&path).await.expect(200).json();
        pages += 1;
        let new = page["messages"].as_array().unwrap();
        assert!(new.len() as u64 <= limit);
        messages.extend(new.clone());
        assert_eq!(page["has_more"], page["next"].is_string());
        let Some(next) = page["next"].as_str() else {
            return (messages, pages);
        };
        path = format!("/chat/{chat}/history?limit={limit}&cursor={next}");
    }
}

fn texts(messages: &[Value]) -> Vec<&str> {
    messages
        .iter()
        .map(|m| m["content"].as_str().unwrap())
        .collect()
}

on_both_databases! {
    async fn the_whole_conversation_comes_in_order_and_in_pages(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let chat = app.create_chat().await;
        for word in ["one", "two", "three"] {
            app.ask_in(&chat, word).await;
        }
        let (messages, pages) = all(&app, &chat, 2).await;
        assert_eq!(texts(&messages), ["one", "You said: one", "two", "You said: two", "three", "You said: three"]);
        assert_eq!(pages, 3);
        assert_eq!(messages, app.messages(&chat).await, "as they are polled");
        let first = app.get(&format!("/chat/{chat}/history")).await.expect(200).json();
        assert_eq!((first["has_more"].clone(), first["next"].clone()), (json!(false), Value::Null));
        app.stop().await;
    }

    async fn what_is_not_to_be_seen_is_not_in_it_and_its_place_still_leads_on(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let chat = app.create_chat().await;
        let first = app.send(&chat, "one").await;
        let answer = app.answer_to(&chat, &first).await;
        app.read(&answer).await;
        app.ask_in(&chat, "two").await;
        app.delete(&format!("/chat/message/{answer}")).await.expect(204);
        let (messages, _) = all(&app, &chat, 1).await;
        assert_eq!(texts(&messages), ["one", "two", "You said: two"]);
        let rest = app.get(&format!("/chat/{chat}/history?cursor={answer}")).await.expect(200).json();
        assert_eq!(texts(rest["messages"].as_array().unwrap()), ["two", "You said: two"]);
        let path = format!("/chat/message/{first}/edit");
        app.post(&path, &json!({"message": "other"})).await.expect(202);
        app.settle().await;
        let (messages, _) = all(&app, &chat, 50).await;
        assert_eq!(texts(&messages), ["other", "You said: other"], "what was superseded is gone");
        app.stop().await;
    }

    async fn an_answer_under_way_is_in_it_as_far_as_it_is(kind: Kind) {
        let gate = CancellationToken::new();
        let script = Script::stream().say(["half an "]).wait(&gate).say(["answer"]).finish();
        let app = TestApp::start(kind, Upstream::scripted([script]).await).await;
        let chat = app.create_chat().await;
        let question = app.send(&chat, "Hello").await;
        let answer = app.answer_to(&chat, &question).await;
        app.read_until(&answer, "half an ").await;
        let (messages, _) = all(&app, &chat, 50).await;
        assert_eq!((&messages[1]["status"], &messages[1]["content"]), (&json!("pending"), &json!("half an ")));
        gate.cancel();
        app.settle().await;
        let (messages, _) = all(&app, &chat, 50).await;
        assert_eq!((&messages[1]["status"], &messages[1]["content"]), (&json!("completed"), &json!("half an answer")));
        app.stop().await;
    }

    async fn a_cursor_of_another_chat_and_a_bad_one_are_refused(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (chat, other) = (app.create_chat().await, app.create_chat().await);
        let message = app.send(&other, "Hello").await;
        app.settle().await;
        app.get(&format!("/chat/{chat}/history?cursor={message}")).await.expect(404);
        app.get(&format!("/chat/{chat}/history?cursor=yesterday")).await.expect(400);
        app.get(&format!("/chat/{chat}/history?limit=many")).await.expect(400);
        app.get(&format!("/chat/{chat}/history?page=2")).await.expect(400);
        assert_eq!(app.get(&format!("/chat/{chat}/history?limit=0")).await.expect(200).json()["messages"], json!([]));
        app.stop().await;
    }

    async fn a_page_of_a_very_long_chat_costs_as_much_as_one_of_a_short_one(kind: Kind) {
        const MESSAGES: i64 = 10_000;
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let short = fill(&app, 100).await;
        let long = fill(&app, MESSAGES).await;
        let cost = async |chat: ChatId, cursor: &str| {
            let mut best = Duration::MAX;
            for _ in 0..15 {
                let begun = Instant::now();
                app.get(&format!("/chat/{chat}/history?{cursor}")).await.expect(200);
                best = best.min(begun.elapsed());
            }
            best
        };
        let (messages, pages) = all(&app, &long.to_string(), 100).await;
        assert_eq!((messages.len(), pages), (10_000, 100));
        let middle = messages[8_000]["uuid"].as_str().unwrap();
        let (few, many) = (cost(short, "").await, cost(long, &format!("cursor={middle}")).await);
        // Reading all of them takes a hundred times as long as reading a page.
        assert!(many < few * 20 + Duration::from_millis(20), "{few:?} of 100, {many:?} of 10,000");
        app.stop().await;
    }
}

/// A chat with so many messages, past the server.
async fn fill(app: &TestApp, count: i64) -> ChatId {
    let db = app.database.connect().await;
    let (id, now) = (ChatId::generate(), Timestamp(1_795_226_400_000));
    let row = chat::Model {
        id,
        owner_id: OwnerId::LOCAL,
        title: "Long".into(),
        agent: None,
        model: None,
        status: chat::Status::WaitingForUser,
        on_busy: None,
        parameters: None,
        metadata: None,
        summary: None,
        summary_through: None,
        next_sequence: count + 1,
        revision: 1,
        created_at: now,
        updated_at: now,
        deleted_at: None,
        expires_at: None,
    };
    chat::Entity::insert(row.into_active_model())
        .exec_without_returning(&db)
        .await
        .unwrap();
    let messages: Vec<_> = (1..=count)
        .map(|sequence| chat_message::Model {
            id: MessageId::generate(),
            chat_id: id,
            sequence,
            revision: 1,
            role: chat_message::Role::User,
            status: chat_message::Status::Completed,
            reply_to: None,
            request_id: Some(entity::RequestId::generate()),
            content: format!("message {sequence}"),
            reasoning: String::new(),
            origin: None,
            edition: 0,
            version: 1,
            versions: 1,
            error_code: None,
            error_message: None,
            reaction: None,
            reaction_comment: None,
            created_at: now,
            completed_at: Some(now),
            deleted_at: None,
            superseded_at: None,
        })
        .collect();
    for batch in messages.chunks(500) {
        let rows = batch
            .iter()
            .cloned()
            .map(IntoActiveModel::into_active_model);
        chat_message::Entity::insert_many(rows)
            .exec_without_returning(&db)
            .await
            .unwrap();
    }
    db.close().await.unwrap();
    id
}

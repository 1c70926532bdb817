//! Rows whose states disagree, as no transaction leaves them: they are brought into line, and
//! nothing stays pending for ever.

use entity::{MessageId, chat, chat_message, llm_request};
use sea_orm::{ActiveValue::Set, DatabaseConnection, EntityTrait};

use crate::support::{TestApp, Upstream, app::eventually};

const SETTINGS: [(&str, &str); 2] = [
    ("worker.repair_interval_ms", "100"),
    ("worker.max_attempts", "1"),
];

async fn row(db: &DatabaseConnection, message: &str) -> chat_message::Model {
    let id: MessageId = message.parse().unwrap();
    chat_message::Entity::find_by_id(id)
        .one(db)
        .await
        .unwrap()
        .unwrap()
}

async fn set_message(
    db: &DatabaseConnection,
    message: &chat_message::Model,
    status: chat_message::Status,
) {
    let change = chat_message::ActiveModel {
        id: Set(message.id),
        status: Set(status),
        content: Set(String::new()),
        ..Default::default()
    };
    chat_message::Entity::update(change).exec(db).await.unwrap();
}

async fn set_request(
    db: &DatabaseConnection,
    message: &chat_message::Model,
    status: llm_request::Status,
) {
    let change = llm_request::ActiveModel {
        id: Set(message.request_id.unwrap()),
        status: Set(status),
        lease_owner: Set(None),
        lease_expires_at: Set(None),
        ..Default::default()
    };
    llm_request::Entity::update(change).exec(db).await.unwrap();
}

async fn set_chat(db: &DatabaseConnection, message: &chat_message::Model, status: chat::Status) {
    let change = chat::ActiveModel {
        id: Set(message.chat_id),
        status: Set(status),
        ..Default::default()
    };
    chat::Entity::update(change).exec(db).await.unwrap();
}

on_both_databases! {
    async fn a_pending_answer_that_nobody_writes_ends(kind: Kind) {
        let app = TestApp::start_with(kind, Upstream::echo().await, &SETTINGS).await;
        let (chat, answer, _) = app.ask("one").await;
        let db = app.database.connect().await;
        let seen = app.get(&format!("/chat/{chat}")).await.json()["revision"].clone();
        set_message(&db, &row(&db, &answer).await, chat_message::Status::Pending).await;
        // Not by its polls, for what nobody but a test would do to the database is not noticed by them.
        eventually("it is repaired", async || {
            (app.message(&answer).await["status"] == "failed").then_some(())
        }).await;
        let reader = app.read(&answer).await;
        assert_eq!(reader.status, "failed");
        let poll = app.get(&format!("/chat/{chat}/messages/{answer}?revision={seen}")).await.json();
        assert_eq!(poll["messages"][0]["error"]["code"], "interrupted", "P11: {poll}");
        db.close().await.unwrap();
        app.stop().await;
    }

    async fn a_user_message_whose_request_is_over_waits_no_more(kind: Kind) {
        let app = TestApp::start_with(kind, Upstream::echo().await, &SETTINGS).await;
        let chat = app.create_chat().await;
        let message = app.send(&chat, "one").await;
        app.settle().await;
        let db = app.database.connect().await;
        set_message(&db, &row(&db, &message).await, chat_message::Status::Pending).await;
        eventually("it is repaired", async || {
            (app.message(&message).await["status"] == "completed").then_some(())
        }).await;
        db.close().await.unwrap();
        app.stop().await;
    }

    async fn a_request_for_a_message_that_was_taken_back_is_not_run(kind: Kind) {
        let mut app = TestApp::start_with(kind, Upstream::echo().await, &SETTINGS).await;
        let (_, answer, _) = app.ask("one").await;
        app.shut_down().await;
        let db = app.database.connect().await;
        // Queued again, although its answer is there.
        set_request(&db, &row(&db, &answer).await, llm_request::Status::Queued).await;
        db.close().await.unwrap();
        app.run().await;
        app.settle().await;
        assert_eq!(app.message(&answer).await["status"], "completed");
        assert_eq!(app.upstream.received().len(), 1, "the model was not asked again");
        app.stop().await;
    }

    async fn a_chat_that_waits_for_nobody_is_its_users_again(kind: Kind) {
        let app = TestApp::start_with(kind, Upstream::echo().await, &SETTINGS).await;
        let (chat, answer, _) = app.ask("one").await;
        let db = app.database.connect().await;
        set_chat(&db, &row(&db, &answer).await, chat::Status::WaitingForChatbot).await;
        eventually("it is repaired", async || {
            let now = app.get(&format!("/chat/{chat}")).await.json();
            (now["status"] == "waiting_for_user").then_some(())
        }).await;
        db.close().await.unwrap();
        app.stop().await;
    }

    async fn a_running_request_without_a_lease_is_rescued(kind: Kind) {
        let app = TestApp::start_with(kind, Upstream::echo().await, &SETTINGS).await;
        let (chat, answer, _) = app.ask("one").await;
        let db = app.database.connect().await;
        let message = row(&db, &answer).await;
        set_message(&db, &message, chat_message::Status::Pending).await;
        set_request(&db, &message, llm_request::Status::Running).await;
        eventually("it is rescued", async || {
            (app.message(&answer).await["status"] == "failed").then_some(())
        }).await;
        eventually("the chat too", async || {
            let now = app.get(&format!("/chat/{chat}")).await.json();
            (now["status"] == "waiting_for_user").then_some(())
        }).await;
        db.close().await.unwrap();
        app.stop().await;
    }

    async fn the_database_itself_allows_one_running_request_per_chat(kind: Kind) {
        let mut app = TestApp::start(kind, Upstream::echo().await).await;
        let (chat, first, _) = app.ask("one").await;
        let message = app.send(&chat, "two").await;
        let second = app.answer_to(&chat, &message).await;
        app.read(&second).await;
        app.shut_down().await;
        let db = app.database.connect().await;
        set_request(&db, &row(&db, &first).await, llm_request::Status::Running).await;
        let change = llm_request::ActiveModel {
            id: Set(row(&db, &second).await.request_id.unwrap()),
            status: Set(llm_request::Status::Running),
            ..Default::default()
        };
        let refused = llm_request::Entity::update(change).exec(&db).await.unwrap_err();
        let is_duplicate = matches!(refused.sql_err(), Some(sea_orm::SqlErr::UniqueConstraintViolation(_)));
        assert!(is_duplicate, "{refused}");
        set_request(&db, &row(&db, &first).await, llm_request::Status::Completed).await;
        db.close().await.unwrap();
        app.run().await;
        app.stop().await;
    }
}

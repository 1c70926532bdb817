//! What a process leaves when it dies or is told to end, and what the next one makes of it.

use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::database::Kind as DatabaseKind;
use crate::support::{
    Database, Reader, Remote, Script, Server, TestApp, Upstream, app::eventually,
};

const LEASE_MS: &str = "600";

fn variables(database: &Database, upstream: &Upstream) -> Vec<(String, String)> {
    let set = |key: &str, value: String| (format!("POLLEN_{key}"), value);
    vec![
        set("DATABASE_URL", database.url.clone()),
        set("OPENAI__BASE_URL", upstream.base_url()),
        set("LEDGER__FLUSH_INTERVAL_MS", "20".into()),
        set("WORKER__SCAN_INTERVAL_MS", "100".into()),
        set("WORKER__LEASE_MS", LEASE_MS.into()),
    ]
}

async fn start(database: &Database, upstream: &Upstream) -> Server {
    start_with(database, upstream, &[]).await
}

async fn start_with(database: &Database, upstream: &Upstream, more: &[(&str, &str)]) -> Server {
    let variables = variables(database, upstream);
    let mut borrowed: Vec<_> = variables
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    borrowed.extend(more);
    Server::start(&database.dir(), &borrowed).await
}

/// Waits until the database holds this much of the running answer.
async fn flushed(database: &Database, text: &str) {
    use sea_orm::{EntityTrait, QueryOrder};
    let db = database.connect().await;
    eventually("the flush", async || {
        let rows = entity::token_ledger::Entity::find()
            .order_by_asc(entity::token_ledger::Column::Id)
            .all(&db)
            .await
            .unwrap();
        let held: String = rows.into_iter().map(|row| row.text).collect();
        held.starts_with(text).then_some(())
    })
    .await;
    db.close().await.unwrap();
}

on_both_databases! {
    async fn a_killed_server_leaves_nothing_pending_and_loses_nothing_that_was_flushed(kind: Kind) {
        let gate = CancellationToken::new();
        let script = Script::stream().say(["kept ", "text "]).wait(&gate).finish();
        let upstream = Upstream::scripted([script]).await;
        let database = Database::create(kind).await;
        let once = [("POLLEN_WORKER__MAX_ATTEMPTS", "1")];
        let first = start_with(&database, &upstream, &once).await;
        let client = Remote::of(&first.base);
        let created = client.create("one").await;
        let answer = client.answer(&created).await;
        let mut reader = Reader::default();
        client.poll_until(&answer, &mut reader, |r| r.text == "kept text ").await;
        flushed(&database, "kept text ").await;
        first.kill().await;

        let second = start_with(&database, &upstream, &once).await;
        let client = Remote::of(&second.base);
        client.poll_until(&answer, &mut reader, Reader::is_done).await;
        assert_eq!((reader.status.as_str(), reader.text.as_str()), ("failed", "kept text "));
        assert_eq!(reader.replaced, 1, "a new edition replaced the text once");
        let message = client.get(&format!("/chat/message/{answer}")).await;
        assert_eq!(message["error"]["code"], "interrupted");
        assert_eq!(message["content"], reader.text);
        let chat = created["uuid"].as_str().unwrap();
        assert_eq!(client.get(&format!("/chat/{chat}")).await["status"], "waiting_for_user");
        let (status, _) = second.terminate("-TERM").await;
        assert!(status.success());
        database.assert_nothing_left_over().await;
    }

    async fn a_killed_answer_is_written_anew_and_replaces_what_was_shown(kind: Kind) {
        let gate = CancellationToken::new();
        let broken = Script::stream().say(["half ", "an "]).wait(&gate).finish();
        let upstream = Upstream::scripted([broken, Script::answer(["the ", "whole"])]).await;
        let database = Database::create(kind).await;
        let first = start(&database, &upstream).await;
        let client = Remote::of(&first.base);
        let created = client.create("one").await;
        let answer = client.answer(&created).await;
        let mut reader = Reader::default();
        client.poll_until(&answer, &mut reader, |r| r.text == "half an ").await;
        flushed(&database, "half an ").await;
        first.kill().await;

        let second = start(&database, &upstream).await;
        let client = Remote::of(&second.base);
        client.poll_until(&answer, &mut reader, Reader::is_done).await;
        assert_eq!((reader.status.as_str(), reader.text.as_str()), ("completed", "the whole"));
        assert_eq!(reader.replaced, 1, "the new text replaced the old one once");
        assert!(reader.position >> 32 == 1, "in the next edition");
        let usage = client.get("/usage").await;
        assert_eq!(usage["total"]["attempts"], 2, "both attempts are in the usage ledger: {usage}");
        assert_eq!(usage["total"]["estimated"], 1);
        second.terminate("-TERM").await;
        database.assert_nothing_left_over().await;
    }

    async fn a_message_that_was_accepted_is_answered_after_a_kill(kind: Kind) {
        let gate = CancellationToken::new();
        let held = gate.clone();
        let upstream = Upstream::start(move |request| match request.asked().as_str() {
            "one" => Script::stream().say(["x"]).wait(&held).say(["y"]).finish(),
            other => Script::answer([format!("answer to {other}")]),
        })
        .await;
        let database = Database::create(kind).await;
        let first = start(&database, &upstream).await;
        let client = Remote::of(&first.base);
        let created = client.create("one").await;
        client.answer(&created).await;
        let chat = created["uuid"].as_str().unwrap();
        client.post(&format!("/chat/{chat}/send"), &json!({"message": "two"}), 202).await;
        first.kill().await;
        gate.cancel();

        let second = start(&database, &upstream).await;
        let client = Remote::of(&second.base);
        let text = eventually("the queued message is answered", async || {
            let messages = client.get(&format!("/chat/{chat}/messages")).await;
            let last = messages["messages"].as_array()?.last()?.clone();
            (last["status"] == "completed" && last["role"] == "assistant").then(|| last["content"].clone())
                .filter(|text| text != "xy")
        })
        .await;
        assert_eq!(text, "answer to two");
        second.terminate("-TERM").await;
        database.assert_nothing_left_over().await;
    }

    async fn a_server_that_is_told_to_end_does_so_in_order(kind: Kind) {
        let gate = CancellationToken::new();
        let script = Script::stream().say(["shown "]).wait(&gate).finish();
        let upstream = Upstream::scripted([script]).await;
        let database = Database::create(kind).await;
        let once = [("POLLEN_WORKER__MAX_ATTEMPTS", "1")];
        let first = start_with(&database, &upstream, &once).await;
        let client = Remote::of(&first.base);
        let created = client.create("one").await;
        let answer = client.answer(&created).await;
        let mut reader = Reader::default();
        client.poll_until(&answer, &mut reader, |r| r.text == "shown ").await;
        let ended = tokio::time::timeout(Duration::from_secs(9), first.terminate("-TERM")).await;
        let (status, log) = ended.expect("it ends within its limit");
        assert!(status.success(), "{log}");
        upstream.received()[0].gone.cancelled().await;

        // Its lease was let go of, so that the next one need not wait for it.
        let second = start_with(&database, &upstream, &once).await;
        let client = Remote::of(&second.base);
        let message = client.get(&format!("/chat/message/{answer}")).await;
        assert_eq!((&message["status"], &message["content"]), (&json!("failed"), &json!("shown ")));
        second.terminate("-INT").await;
        database.assert_nothing_left_over().await;
    }

    async fn chunks_of_a_finished_answer_are_purged_at_the_next_start(kind: Kind) {
        use sea_orm::{EntityTrait, Set};
        let mut app = TestApp::start(kind, Upstream::echo().await).await;
        let (_, answer, reader) = app.ask("one").await;
        app.shut_down().await;
        let db = app.database.connect().await;
        let message = entity::chat_message::Entity::find_by_id(answer.parse::<entity::MessageId>().unwrap())
            .one(&db).await.unwrap().unwrap();
        entity::token_ledger::Entity::insert(entity::token_ledger::ActiveModel {
            request_id: Set(message.request_id.unwrap()),
            attempt: Set(0),
            start_offset: Set(0),
            text: Set("left over".into()),
            ..Default::default()
        })
        .exec(&db).await.unwrap();
        db.close().await.unwrap();
        app.run().await;
        assert_eq!(app.read(&answer).await.text, reader.text);
        app.stop().await;
    }

    async fn a_request_whose_node_has_gone_is_ended_by_a_node_that_is_up(kind: Kind) {
        use sea_orm::{EntityTrait, Set, SqliteTransactionMode, TransactionOptions, TransactionTrait};
        let mut app = TestApp::start_with(kind, Upstream::echo().await, &[("worker.max_attempts", "1")]).await;
        let (chat, answer, _) = app.ask("one").await;
        // The node that rescues is not the one that wrote: it has nothing of the request in memory, and
        // nothing of it yet to purge.
        app.shut_down().await;
        app.run().await;
        // As a node leaves it that was cut off from everything: running, its lease run out. All of it is
        // there at once, as a scan may fall between any two writes.
        let connection = app.database.connect().await;
        let message = entity::chat_message::Entity::find_by_id(answer.parse::<entity::MessageId>().unwrap())
            .one(&connection).await.unwrap().unwrap();
        // As a writer from the start: the server writes too while it starts.
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let db = connection.begin_with_options(options).await.unwrap();
        let mut lost: entity::chat_message::ActiveModel = message.clone().into();
        lost.status = Set(entity::chat_message::Status::Pending);
        lost.content = Set(String::new());
        entity::chat_message::Entity::update(lost).exec(&db).await.unwrap();
        let request = entity::llm_request::ActiveModel {
            id: Set(message.request_id.unwrap()),
            status: Set(entity::llm_request::Status::Running),
            lease_owner: Set(Some("a node that is gone".into())),
            lease_expires_at: Set(Some(entity::Timestamp(0))),
            ..Default::default()
        };
        entity::llm_request::Entity::update(request).exec(&db).await.unwrap();
        entity::token_ledger::Entity::insert(entity::token_ledger::ActiveModel {
            request_id: Set(message.request_id.unwrap()),
            attempt: Set(0),
            start_offset: Set(0),
            text: Set("what was flushed".into()),
            ..Default::default()
        })
        .exec(&db).await.unwrap();
        db.commit().await.unwrap();
        connection.close().await.unwrap();
        let reader = app.read(&answer).await;
        assert_eq!((reader.status.as_str(), reader.text.as_str()), ("failed", "what was flushed"));
        assert_eq!(app.get(&format!("/chat/{chat}")).await.json()["status"], "waiting_for_user");
        app.stop().await;
    }
}

#[tokio::test]
async fn a_sqlite_file_belongs_to_one_process() {
    let upstream = Upstream::echo().await;
    let database = Database::create(DatabaseKind::Sqlite).await;
    let first = start(&database, &upstream).await;
    let variables = variables(&database, &upstream);
    let borrowed: Vec<_> = variables
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    let second =
        crate::support::process::run(&database.dir(), &borrowed, &["--listen", "127.0.0.1:0"])
            .await;
    assert!(!second.status.success());
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains("in use by another Pollen process"), "{said}");
    first.terminate("-TERM").await;
}

//! The database goes away and comes back: what is running goes on in memory, what is sent is told
//! to come again, and nothing half-done remains.

use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::database::Kind;
use crate::support::proxy::Proxy;
use crate::support::{Database, Reader, Script, TestApp, Upstream, app::eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_goes_away_is_waited_for() {
    let gates = [CancellationToken::new(), CancellationToken::new()];
    let script = Script::stream()
        .say(["before "])
        .wait(&gates[0])
        .say(["meanwhile "])
        .wait(&gates[1])
        .say(["after"])
        .finish();
    let database = Database::create(Kind::Postgres).await;
    let (_, rest) = database.url.split_once('@').unwrap();
    let (server, name) = rest.split_once('/').unwrap();
    let proxy = Proxy::to(server.to_owned()).await;
    let url = format!("postgres://postgres@{}/{name}", proxy.address);
    let settings = [
        ("database_url", url.as_str()),
        ("database.acquire_timeout_ms", "300"),
    ];
    let app = TestApp::start_on(database, Upstream::scripted([script]).await, &settings).await;
    let chat = app.create_chat().await;
    let message = app.send(&chat, "one").await;
    let answer = app.answer_to(&chat, &message).await;
    let mut reader: Reader = app.read_until(&answer, "before ").await;

    proxy.cut();
    gates[0].cancel();
    // The answer grows on, in memory, and is read from there.
    eventually("the text grows", async || {
        reader.apply(&app.tokens(&answer, reader.position).await);
        (reader.text == "before meanwhile ").then_some(())
    })
    .await;
    let refused = app
        .post(&format!("/chat/{chat}/send"), &json!({"message": "two"}))
        .await
        .expect(503);
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(refused.json()["type"], "/problems/unavailable");
    assert_eq!(
        refused.json()["detail"],
        json!(null),
        "nothing of the database is told"
    );
    app.get("/readyz").await.expect(503);
    app.get("/healthz").await.expect(200);
    gates[1].cancel();
    eventually("the model has said all", async || {
        reader.apply(&app.tokens(&answer, reader.position).await);
        (reader.text == "before meanwhile after").then_some(())
    })
    .await;

    proxy.mend();
    let reader = app.read_on(&answer, reader).await;
    assert_eq!(
        (reader.status.as_str(), reader.text.as_str()),
        ("completed", "before meanwhile after")
    );
    assert_eq!(reader.replaced, 0);
    app.get("/readyz").await.expect(200);
    assert_eq!(
        app.messages(&chat).await.len(),
        2,
        "what was refused was not stored"
    );
    app.stop().await;
}

/// A PostgreSQL behind a wire that can be cut, and the settings that lead through it.
async fn behind_a_wire() -> (Database, Proxy, String) {
    let database = Database::create(Kind::Postgres).await;
    let (_, rest) = database.url.split_once('@').unwrap();
    let (server, name) = rest.split_once('/').unwrap();
    let proxy = Proxy::to(server.to_owned()).await;
    let url = format!("postgres://postgres@{}/{name}", proxy.address);
    (database, proxy, url)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_database_does_not_have_yet_has_a_limit_and_nothing_is_lost_at_it() {
    const LIMIT: usize = 4_096;
    let (pieces, piece) = (400, "0123456789abcdef".repeat(4));
    let whole = piece.repeat(pieces);
    let script = Script::answer(vec![piece; pieces]).paced(Duration::from_millis(1));
    let (database, proxy, url) = behind_a_wire().await;
    let settings = [
        ("database_url", url.as_str()),
        ("database.acquire_timeout_ms", "200"),
        ("ledger.max_unflushed_bytes", "4096"),
    ];
    let app = TestApp::start_on(database, Upstream::scripted([script]).await, &settings).await;
    let chat = app.create_chat().await;
    let message = app.send(&chat, "one").await;
    let answer = app.answer_to(&chat, &message).await;
    app.read_until(&answer, "0123").await;
    proxy.cut();
    let mut reader = Reader::default();
    let mut still = 0;
    eventually("the model is listened to no more", async || {
        let before = reader.text.len();
        reader.apply(&app.tokens(&answer, reader.position).await);
        still = if reader.text.len() == before {
            still + 1
        } else {
            0
        };
        (still > 20).then_some(())
    })
    .await;
    assert!(
        reader.text.len() < whole.len(),
        "it was stopped in the middle"
    );
    assert!(reader.text.len() >= LIMIT, "not before the limit");
    proxy.mend();
    let reader = app.read_on(&answer, reader).await;
    assert_eq!((reader.status.as_str(), reader.replaced), ("completed", 0));
    assert_eq!(reader.text, whole);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_longer_than_the_lease_costs_no_text() {
    let gate = CancellationToken::new();
    let script = Script::stream()
        .say(["before "])
        .wait(&gate)
        .say(["after"])
        .finish();
    let (database, proxy, url) = behind_a_wire().await;
    let settings = [
        ("database_url", url.as_str()),
        ("database.acquire_timeout_ms", "100"),
        ("worker.lease_ms", "4000"),
    ];
    let upstream = Upstream::scripted([script]).await;
    let app = TestApp::start_on(database, upstream, &settings).await;
    let other = app.another_node(&[]).await;
    let chat = app.create_chat().await;
    let message = app.send(&chat, "one").await;
    let answer = app.answer_to(&chat, &message).await;
    let reader = app.read_until(&answer, "before ").await;
    proxy.cut();
    // Longer than the lease, shorter than two: the leases of all nodes have run out.
    tokio::time::sleep(Duration::from_millis(4_800)).await;
    proxy.mend();
    gate.cancel();
    let reader = app.read_on(&answer, reader).await;
    assert_eq!(
        (
            reader.status.as_str(),
            reader.text.as_str(),
            reader.replaced
        ),
        ("completed", "before after", 0)
    );
    assert_eq!(
        app.upstream.received().len(),
        1,
        "nobody took it for abandoned"
    );
    other.abandon().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_sqlite_is_waited_for_and_then_told_of() {
    use sea_orm::ConnectionTrait;
    let gate = CancellationToken::new();
    let script = Script::stream()
        .say(["before "])
        .wait(&gate)
        .say(["meanwhile"])
        .finish();
    let settings = [("database.acquire_timeout_ms", "300")];
    let upstream = Upstream::scripted([script, Script::answer(["x"])]).await;
    let app = TestApp::start_with(Kind::Sqlite, upstream, &settings).await;
    let chat = app.create_chat().await;
    let message = app.send(&chat, "one").await;
    let answer = app.answer_to(&chat, &message).await;
    let mut reader = app.read_until(&answer, "before ").await;
    let intruder = app.database.connect().await;
    intruder
        .execute_unprepared("BEGIN IMMEDIATE")
        .await
        .unwrap();
    gate.cancel();
    eventually("the answer grows in memory", async || {
        reader.apply(&app.tokens(&answer, reader.position).await);
        (reader.text == "before meanwhile").then_some(())
    })
    .await;
    let refused = app
        .post(&format!("/chat/{chat}/send"), &json!({"message": "two"}))
        .await
        .expect(503);
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(app.messages(&chat).await.len(), 2, "reading goes on");
    intruder.execute_unprepared("ROLLBACK").await.unwrap();
    intruder.close().await.unwrap();
    let reader = app.read_on(&answer, reader).await;
    assert_eq!((reader.status.as_str(), reader.replaced), ("completed", 0));
    assert_eq!(
        app.messages(&chat).await.len(),
        2,
        "nothing half-done remains"
    );
    app.post(&format!("/chat/{chat}/send"), &json!({"message": "two"}))
        .await
        .expect(202);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_write_ahead_log_of_sqlite_is_moved_into_the_file_and_stays_small() {
    const CHATS: usize = 600;
    const WORDS: usize = 30_000;
    let upstream = Upstream::start(|_| Script::answer(["ok"])).await;
    let app = TestApp::start(Kind::Sqlite, upstream).await;
    let words = "x".repeat(WORDS);
    for _ in 0..CHATS {
        let body = json!({"message": words});
        app.post("/chat/create", &body).await.expect(201);
    }
    let size = |name: &str| {
        let file = app.database.dir().join(name);
        std::fs::metadata(file).unwrap().len()
    };
    let (file, log) = (size("pollen.db"), size("pollen.db-wal"));
    assert!(
        file + log > (CHATS * WORDS) as u64,
        "{file} and {log} bytes"
    );
    assert!(
        log < 80 << 20,
        "{log} bytes of a log that begins anew at 64 MiB"
    );
    eventually("all but the last 32 MiB is in the file", async || {
        (size("pollen.db") > 1 << 20).then_some(())
    })
    .await;
    app.stop().await;
}

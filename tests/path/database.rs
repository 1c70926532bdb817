//! The database goes away and comes back: what is running goes on in memory, what is sent is told
//! to come again, and nothing half-done remains.

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

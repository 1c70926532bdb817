//! The database is away: who was known goes on to read what grows in memory, for no longer than what
//! they came with is good, and nobody else comes in. When it is back, only that counts.

use std::time::{Duration, Instant};

use entity::api_token::Scope;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::callers::{ALL_WAYS, As, JWT_SECRET, at, cookie_of, jwt, token};
use crate::support::app::eventually;
use crate::support::database::Kind;
use crate::support::proxy::Proxy;
use crate::support::{Database, Reader, Script, TestApp, Upstream};

/// Somebody who reads an answer.
struct Reading {
    who: As,
    path: String,
    reader: Reader,
}

impl Reading {
    /// Of an answer to their own question, which has begun.
    async fn begin(app: &TestApp, who: As) -> Self {
        let chat = who.chat(app).await;
        let (path, body) = (format!("/chat/{chat}/send"), json!({"message": "one"}));
        let sent = who.post(app, &path, &body).await.expect(202).json();
        let answer = eventually("the answer appears", async || {
            let page = who.get(app, &format!("/chat/{chat}/messages")).await;
            let page = page.expect(200).json();
            let messages = page["messages"].as_array().unwrap().clone();
            messages
                .into_iter()
                .find(|m| m["reply_to"] == sent["message"]["uuid"])
        })
        .await;
        let uuid = answer["uuid"].as_str().unwrap();
        let mut reading = Self {
            who,
            path: format!("/chat/message/{uuid}/tokens"),
            reader: Reader::default(),
        };
        reading.until(app, "before ").await;
        reading
    }

    async fn poll(&mut self, app: &TestApp) -> u16 {
        let path = format!("{}/{}", self.path, self.reader.position);
        let answer = self.who.get(app, &path).await;
        if answer.status == 200 {
            self.reader.apply(&answer.json());
        }
        answer.status.as_u16()
    }

    async fn until(&mut self, app: &TestApp, text: &str) {
        eventually("the text grows", async || {
            assert_eq!(self.poll(app).await, 200);
            (self.reader.text == text).then_some(())
        })
        .await;
    }
}

fn claims(subject: &str, end: i64) -> Value {
    json!({"sub": subject, "exp": end})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_known_reads_on_while_the_database_is_away() {
    let (first, second) = (CancellationToken::new(), CancellationToken::new());
    let script = Script::stream()
        .say(["before "])
        .wait(&first)
        .say(["meanwhile "])
        .wait(&second)
        .say(["after"])
        .finish();
    let database = Database::create(Kind::Postgres).await;
    let (_, rest) = database.url.split_once('@').unwrap();
    let (server, name) = rest.split_once('/').unwrap();
    let wire = Proxy::to(server.to_owned()).await;
    let url = format!("postgres://postgres@{}/{name}", wire.address);
    let upstream = Upstream::start(move |_| script.clone()).await;
    let ways = [
        &ALL_WAYS[..],
        &[("auth.recheck_ms", "100"), ("auth.jwt.leeway_ms", "0")],
    ]
    .concat();
    let behind = [("database_url", url.as_str())];
    let app = TestApp::start_on(database, upstream, &[&ways[..], &behind].concat()).await;

    let by_token = token(&app, "alice", Scope::Write).await;
    let to_revoke = token(&app, "bob", Scope::Write).await;
    let never_seen = token(&app, "carol", Scope::Write).await;
    let short = token(&app, "dora", Scope::Read).await;
    let (nobody, body) = (As::nobody(), json!({"token": by_token}));
    let signed_in = nobody.post(&app, "/sign-in", &body).await.expect(204);
    let cookie = cookie_of(&signed_in).unwrap();
    let visitor = cookie_of(&As::nobody().get(&app, "/chats").await).unwrap();
    let ends_at = at(4);
    let mut readings = Vec::new();
    for who in [
        As::bearer(&by_token),
        As::cookie(&cookie),
        As::cookie(&visitor),
        As::vouched("erin"),
        As::bearer(&jwt(&claims("frank", at(600)), JWT_SECRET)),
    ] {
        readings.push(Reading::begin(&app, who).await);
    }
    let mut revoked = Reading::begin(&app, As::bearer(&to_revoke)).await;
    let ending = As::bearer(&jwt(&claims("gus", ends_at), JWT_SECRET));
    let mut ending = Reading::begin(&app, ending).await;
    // One that ends soon, as the database says.
    let end = format!(
        "UPDATE api_token SET expires_at = {} WHERE scope = 'read'",
        ends_at * 1000
    );
    app.database.execute(&end).await;
    let short = As::bearer(&short);
    short.get(&app, "/tokens").await.expect(200);

    wire.cut();
    first.cancel();
    for reading in readings.iter_mut().chain([&mut revoked]) {
        reading.until(&app, "before meanwhile ").await;
    }
    // One after the other, and each of them for much longer than `auth.recheck_ms`.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        for reading in readings.iter_mut().chain([&mut revoked]) {
            assert_eq!(reading.poll(&app).await, 200);
        }
    }
    let stranger = As::bearer(&never_seen);
    stranger.get(&app, &readings[0].path).await.expect(503);
    // What has ended by itself is not good because nobody can be asked.
    eventually("the time is over", async || (at(0) > ends_at).then_some(())).await;
    assert_eq!(ending.poll(&app).await, 401);
    short.get(&app, "/tokens").await.expect(503);
    // Past the wire.
    app.database
        .execute("UPDATE api_token SET revoked_at = 1 WHERE user_id = (SELECT id FROM \"user\" WHERE subject = 'bob')")
        .await;
    assert_eq!(revoked.poll(&app).await, 200, "it cannot be known");

    wire.mend();
    let mended = Instant::now();
    eventually("the revoked one is out", async || {
        (revoked.poll(&app).await == 401).then_some(())
    })
    .await;
    assert!(mended.elapsed() < Duration::from_secs(10));
    wire.cut();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_ne!(revoked.poll(&app).await, 200, "and stays out");
    wire.mend();
    second.cancel();
    for mut reading in readings {
        eventually("the answer ends", async || {
            reading.poll(&app).await;
            reading.reader.is_done().then_some(())
        })
        .await;
        assert_eq!(reading.reader.text, "before meanwhile after");
    }
    app.stop().await;
}

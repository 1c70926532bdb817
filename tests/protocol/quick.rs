//! Polls that are answered before the router is asked: nobody can tell. What a page of another site asks for is always
//! the router's, so its answer is what the other one has to be.

use entity::api_token::Scope;
use reqwest::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::security::callers::{As, COOKIE_SECRET, token};
use crate::support::upstream::Script;
use crate::support::{Answer, TestApp, Upstream};

/// What two answers to the same question have in common.
fn common(answer: &Answer) -> (u16, Vec<(String, String)>, Value) {
    let headers = answer.headers.iter().map(|(name, value)| {
        let value = match name.as_str() {
            "x-request-id" | "date" => "",
            _ => value.to_str().unwrap(),
        };
        (name.to_string(), value.to_owned())
    });
    let mut headers: Vec<_> = headers.collect();
    headers.sort();
    // It may be compressed.
    let body = serde_json::from_str(&answer.text);
    let id = answer.header("x-request-id");
    let mut body = body.unwrap_or_else(|_| json!(answer.text.replace(id, "")));
    if body["request_id"].is_string() {
        body["request_id"] = json!(null);
    }
    (answer.status.as_u16(), headers, body)
}

struct Asker<'a> {
    app: &'a TestApp,
    headers: Vec<(&'static str, &'static str)>,
}

impl Asker<'_> {
    async fn get(&self, path: &str, by: &[(&str, &str)]) -> Answer {
        let ask = |mut request: reqwest::RequestBuilder| {
            for (name, value) in self.headers.iter().chain(by) {
                request = request.header(*name, *value);
            }
            request
        };
        self.app.request(Method::GET, path, ask).await
    }

    /// The same from both, also once it is remembered. What it is.
    async fn agree(&self, path: &str) -> Value {
        let by_router = self
            .get(path, &[("origin", "http://elsewhere.example")])
            .await;
        let mut answer = self.get(path, &[]).await;
        for _ in 0..2 {
            let (one, other) = (common(&answer), common(&by_router));
            assert_eq!(one, other, "{path} {:?}", self.headers);
            answer = self.get(path, &[]).await;
        }
        common(&answer).2
    }
}

on_both_databases! {
    async fn polls_are_answered_alike_with_the_router_and_without_it(kind: Kind) {
        let (gate, long) = (CancellationToken::new(), "words and words ".repeat(200));
        let slow = Script::stream().say(["Three", " words — "]).wait(&gate).say(["more"]).finish();
        let upstream = Upstream::scripted([Script::answer([long]), slow]).await;
        // What nobody may ask is asked often.
        let app = TestApp::start_with(kind, upstream, &[("limits.unknown_per_minute", "0")]).await;
        let (chat, finished, reader) = app.ask("one").await;
        let sent = app.send(&chat, "two").await;
        let live = app.answer_to(&chat, &sent).await;
        let live_reader = app.read_until(&live, "Three words — ").await;
        let other = app.create_chat().await;
        let page = app.get(&format!("/chat/{chat}/messages")).await.expect(200).json();
        let (cursor, revision) = (page["last_uuid"].as_str().unwrap(), page["revision"].as_i64().unwrap());
        let mut paths = Vec::new();
        for (message, end) in [(&finished, reader.position), (&live, live_reader.position)] {
            // In the middle of a character, too; and of an edition that there is not.
            for position in [0, 1, end / 2, end - 2, end, end + 1, end + (1 << 32)] {
                let path = format!("/chat/message/{message}/tokens/{position}");
                for query in ["", "?reasoning=0", "?reasoning=0&open=9&after=300", "?reasoning=0&open=0&after=2000", "?reasoning=x"] {
                    paths.push(format!("{path}{query}"));
                }
            }
        }
        for (chat, cursor) in [(&chat, cursor), (&chat, &sent), (&other, cursor), (&sent, cursor)] {
            paths.push(format!("/chat/{chat}/messages/{cursor}"));
            for revision in [revision - 1, revision, revision + 1] {
                let path = format!("/chat/{chat}/messages/{cursor}?revision={revision}");
                paths.push(format!("{path}&after=300"));
                paths.push(format!("{path}&after=2000"));
                paths.push(path);
            }
        }
        paths.push(format!("/chat/message/{chat}/tokens/0"));
        for headers in [
            vec![],
            vec![("accept-encoding", "gzip")],
            vec![("accept", "application/json"), ("cookie", "pollen_session=none; theme=dark")],
            vec![("hx-request", "true")],
            vec![("hx-request", "true"), ("accept-encoding", "gzip")],
            vec![("accept", "text/html")],
            vec![("if-none-match", "*")],
            vec![("if-none-match", "W/\"other\""), ("accept-encoding", "gzip")],
            vec![("host", "evil.example")],
            vec![("x-forwarded-for", "192.0.2.7")],
        ] {
            let asker = Asker { app: &app, headers };
            for path in &paths {
                asker.agree(path).await;
            }
        }
        let plain = Asker { app: &app, headers: vec![] };
        let poll = plain.agree(&format!("/chat/message/{live}/tokens/5")).await;
        assert_eq!(poll["tokens"], " words — ");
        let quiet = plain.agree(&format!("/chat/{chat}/messages/{cursor}?revision={revision}")).await;
        assert_eq!((&quiet["messages"], &quiet["revision"]), (&json!([]), &json!(revision)));
        let said = app.request(Method::GET, &paths[0], |r| r.header("x-request-id", "mine")).await;
        assert_eq!(said.header("x-request-id"), "mine");
        gate.cancel();
        app.settle().await;
        app.stop().await;
    }

    /// Each poll counts once, whoever answers it, and the one too many is refused.
    async fn polls_count_alike_with_the_router_and_without_it(kind: Kind) {
        let settings = [("auth.modes", "token"), ("auth.secret", COOKIE_SECRET), ("limits.polls_per_minute", "9")];
        let app = TestApp::start_with(kind, Upstream::echo().await, &settings).await;
        let alice = As::bearer(&token(&app, "alice", Scope::Write).await);
        let made = alice.post(&app, "/chat/create", &json!({"message": "Hi"})).await.expect(201).json();
        let chat = made["uuid"].as_str().unwrap();
        app.settle().await;
        let first = alice.get(&app, &format!("/chat/{chat}/messages")).await.expect(200);
        assert!(first.header("ratelimit").starts_with("\"polls\";r=8;"), "{:?}", first.headers);
        let page = first.json();
        let path = format!("/chat/{chat}/messages/{}", page["last_uuid"].as_str().unwrap());
        for left in (0..8).rev() {
            let poll = alice.get(&app, &path).await.expect(200);
            let told = poll.header("ratelimit");
            // Seven seconds earn one more.
            let (same, more) = (format!("\"polls\";r={left};"), format!("\"polls\";r={};", left + 1));
            assert!(told.starts_with(&same) || told.starts_with(&more), "{left}: {told}");
        }
        let mut refused = alice.get(&app, &path).await;
        for _ in 0..3 {
            if refused.status == 200 {
                refused = alice.get(&app, &path).await;
            }
        }
        let refused = refused.expect(429);
        assert_eq!(refused.header("ratelimit-policy"), "\"polls\";q=9;w=60");
        As::nobody().get(&app, &path).await.expect(401);
        app.stop().await;
    }
}

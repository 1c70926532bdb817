//! `ETag` and `If-None-Match`: a poll of a client that says what it has is a 304 where nothing has changed, and never
//! where something has.

use reqwest::Method;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::upstream::Script;
use crate::support::{Answer, TestApp, Upstream};

async fn ask(app: &TestApp, path: &str, tag: &str) -> Answer {
    app.request(Method::GET, path, |r| r.header("if-none-match", tag))
        .await
}

/// The same poll once more is a 304 without a word; its tag stays.
async fn is_unchanged(app: &TestApp, path: &str) -> String {
    let first = app.get(path).await.expect(200);
    let tag = first.header("etag").to_owned();
    assert!(
        tag.starts_with("W/\"") && tag.ends_with('"'),
        "{path}: {tag}"
    );
    for seen in [tag.clone(), format!("\"other\", {tag}"), "*".to_owned()] {
        let again = ask(app, path, &seen).await.expect(304);
        assert_eq!(
            (again.text.as_str(), again.header("etag")),
            ("", tag.as_str())
        );
        assert_eq!(again.header("cache-control"), "no-store");
        if again.headers.contains_key("poll-after-ms") {
            let hint = first.json()["poll_after_ms"].to_string();
            assert_eq!(again.header("poll-after-ms"), hint, "{path}");
        }
    }
    ask(app, path, "W/\"other\"").await.expect(200);
    tag
}

on_both_databases! {
    async fn what_has_not_changed_is_a_304_and_what_has_is_not(kind: Kind) {
        let (gate, end) = (CancellationToken::new(), CancellationToken::new());
        let slow = Script::stream().say(["One"]).wait(&gate).say([" two"]).wait(&end).finish();
        let app = TestApp::start(kind, Upstream::scripted([slow]).await).await;
        let chat = app.create_chat().await;
        let sent = app.send(&chat, "count").await;
        let answer = app.answer_to(&chat, &sent).await;
        app.read_until(&answer, "One").await;
        let share = app.post(&format!("/chat/{chat}/shares"), &json!({})).await.expect(201).json();
        let shared = share["url"].as_str().unwrap();
        let page = app.get(&format!("/chat/{chat}/messages")).await.expect(200).json();
        let (last, revision) = (page["last_uuid"].as_str().unwrap(), page["revision"].as_i64().unwrap());
        // What tells how the answer grows, and what only tells of the chat.
        let growing = [
            format!("/chat/message/{answer}/tokens/0"),
            format!("/chat/message/{answer}/tokens/3"),
            format!("/chat/message/{answer}/tokens/3?reasoning=0"),
            format!("{shared}/message/{answer}/tokens/3"),
            format!("/chat/{chat}/messages"),
            format!("{shared}/messages"),
            format!("/chat/message/{answer}"),
            format!("/poll?message={answer}:3"),
        ];
        let standing = [
            format!("/chat/{chat}/messages/{last}?revision={revision}"),
            format!("{shared}/messages/{last}?revision={revision}"),
            format!("/chat/{chat}"),
            format!("/poll?chat={chat}:{last}:{revision}&chat_list="),
        ];
        let mut tags = Vec::new();
        for path in growing.iter().chain(&standing) {
            tags.push((path, is_unchanged(&app, path).await));
        }
        gate.cancel();
        app.read_until(&answer, "One two").await;
        for (path, tag) in &mut tags {
            if growing.contains(path) {
                ask(&app, path, tag).await.expect(200);
                *tag = is_unchanged(&app, path).await;
            }
        }
        let listed = is_unchanged(&app, "/chat/list").await;
        end.cancel();
        app.settle().await;
        for (path, tag) in &tags {
            ask(&app, path, tag).await.expect(200);
            is_unchanged(&app, path).await;
        }
        ask(&app, "/chat/list", &listed).await.expect(200);
        app.stop().await;
    }

    /// A client that sends the tag of its last answer along is told by a 304 at the next address, too.
    async fn the_tag_of_one_poll_goes_with_the_next(kind: Kind) {
        let gate = CancellationToken::new();
        let slow = Script::stream().say(["One"]).wait(&gate).finish();
        let app = TestApp::start(kind, Upstream::scripted([slow, Script::answer(["Two"])]).await).await;
        let chat = app.create_chat().await;
        let sent = app.send(&chat, "count").await;
        let answer = app.answer_to(&chat, &sent).await;
        app.read_until(&answer, "One").await;
        let first = app.get(&format!("/chat/message/{answer}/tokens/0")).await.expect(200);
        let next = format!("/chat/message/{answer}/tokens/{}", first.json()["position"]);
        let tag = first.header("etag").to_owned();
        ask(&app, &next, &tag).await.expect(304);
        gate.cancel();
        app.settle().await;
        let ended = ask(&app, &next, &tag).await.expect(200);
        assert_eq!(ended.json()["status"], "completed");
        ask(&app, &next, ended.header("etag")).await.expect(304);

        let read = app.get(&format!("/chat/{chat}/messages")).await.expect(200);
        let page = read.json();
        let next = format!("/chat/{chat}/messages/{}?revision={}", page["last_uuid"].as_str().unwrap(), page["revision"]);
        ask(&app, &next, read.header("etag")).await.expect(304);
        let (other, ..) = app.ask("other").await;
        let elsewhere = format!("/chat/{other}/messages");
        ask(&app, &elsewhere, read.header("etag")).await.expect(200);
        app.stop().await;
    }
}

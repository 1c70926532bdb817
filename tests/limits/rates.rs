//! Too many requests, as a client sees it.

use std::time::Duration;

use serde_json::json;

use crate::support::database::Kind;
use crate::support::{Answer, Database, Redis, TestApp, Upstream};

/// Sends until one is refused: how many were not, and the refusal.
async fn sent_until_refused(app: &TestApp, chat: &str) -> (usize, Answer) {
    let path = format!("/chat/{chat}/send");
    for count in 0..1_000 {
        let answer = app
            .post(&path, &json!({"message": format!("number {count}")}))
            .await;
        if answer.status == 429 {
            return (count, answer);
        }
        answer.expect(202);
    }
    panic!("it is never limited");
}

on_both_databases! {
    async fn sends_are_limited_and_polls_go_on(kind: Kind) {
        let settings = [("limits.requests_per_minute", "30")];
        let app = TestApp::start_with(kind, Upstream::echo().await, &settings).await;
        let (chat, answer, _) = app.ask("one").await;
        let (sent, refused) = sent_until_refused(&app, &chat).await;
        // One more for each two seconds that it took.
        assert!((29..=40).contains(&sent), "{sent}");
        assert_eq!(refused.json()["type"], "/problems/rate-limited");
        assert_eq!(refused.header("ratelimit-policy"), "\"sends\";q=30;w=60");
        assert!(refused.header("ratelimit").starts_with("\"sends\";r=0;t="), "{:?}", refused.headers);
        let wait: u64 = refused.header("retry-after").parse().unwrap();
        assert!((1..=2).contains(&wait), "{wait}");
        for _ in 0..50 {
            app.get(&format!("/chat/{chat}/messages")).await.expect(200);
            app.get(&format!("/chat/message/{answer}/tokens/0")).await.expect(200);
            app.get("/chat/list").await.expect(200);
        }
        app.post("/chat/create", &json!({"title": "empty"})).await.expect(201);
        // It waits as long as it was told.
        tokio::time::sleep(Duration::from_secs(wait)).await;
        app.post(&format!("/chat/{chat}/send"), &json!({"message": "again"})).await.expect(202);
        app.stop().await;
    }

    async fn whatever_begins_an_answer_counts(kind: Kind) {
        let database = Database::create(kind).await;
        let path = database.dir().join("pollen.toml");
        let file = "default_tier = \"basic\"\n[[tier]]\nname = \"basic\"\nrequests_per_minute = 2\n";
        std::fs::write(&path, file).unwrap();
        let app = TestApp::start_with_file(database, Upstream::echo().await, &path).await;
        let (chat, answer, _) = app.ask("one").await;
        app.post("/chat/create", &json!({"message": "two"})).await.expect(201);
        let question = app.messages(&chat).await[0]["uuid"].as_str().unwrap().to_owned();
        for refused in [
            app.post("/chat/create", &json!({"message": "three"})).await,
            app.post(&format!("/chat/{chat}/send"), &json!({"message": "three"})).await,
            app.post_bare(&format!("/chat/message/{answer}/regenerate")).await,
            app.post_bare(&format!("/chat/message/{answer}/retry")).await,
            app.put(&format!("/chat/message/{question}"), &json!({"message": "three"})).await,
        ] {
            let refused = refused.expect(429);
            assert_eq!(refused.header("ratelimit-policy"), "\"sends\";q=2;w=60");
        }
        let page = app.get_page(&format!("/chat/{chat}")).await.expect(200);
        assert!(page.header("ratelimit").is_empty(), "the local user polls as he likes");
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_share_one_budget_and_go_on_without_redis() {
    let mut redis = Redis::start().await;
    let url = redis.url();
    let settings = [
        ("limits.requests_per_minute", "40"),
        ("redis_url", url.as_str()),
        // The machine is busy with other tests.
        ("cache.timeout_ms", "10000"),
    ];
    let first = TestApp::start_with(Kind::Postgres, Upstream::echo().await, &settings).await;
    let nodes = [
        first.another_node(&[]).await,
        first.another_node(&[]).await,
        first,
    ];
    let mut chats = Vec::new();
    for node in &nodes {
        chats.push(node.create_chat().await);
    }
    let begun = tokio::time::Instant::now();
    let (mut sent, mut number) = (0.0, 0);
    for _ in 0..30 {
        for (node, chat) in nodes.iter().zip(&chats) {
            number += 1;
            let path = format!("/chat/{chat}/send");
            let answer = node
                .post(&path, &json!({"message": format!("number {number}")}))
                .await;
            match answer.status.as_u16() {
                202 => sent += 1.0,
                status => assert_eq!(status, 429, "{}", answer.text),
            }
        }
    }
    let allowed = 40.0 + begun.elapsed().as_secs_f64() * 40.0 / 60.0;
    assert!(sent >= 40.0 && sent <= allowed * 1.1, "{sent} of {allowed}");
    redis.kill().await;
    for (node, chat) in nodes.iter().zip(&chats) {
        let path = format!("/chat/{chat}/send");
        node.get(&format!("/chat/{chat}/messages"))
            .await
            .expect(200);
        // What Redis said last holds until it is over.
        let answer = node.post(&path, &json!({"message": "on my own"})).await;
        if answer.status == 429 {
            let wait: u64 = answer.header("retry-after").parse().unwrap();
            tokio::time::sleep(Duration::from_secs(wait)).await;
            node.post(&path, &json!({"message": "on my own"}))
                .await
                .expect(202);
        }
    }
    let [first, second, third] = nodes;
    first.settle().await;
    second.abandon().await;
    third.abandon().await;
    first.stop().await;
}

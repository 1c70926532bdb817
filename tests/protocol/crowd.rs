//! Two hundred chats at once, each answered at 50 tokens a second and polled every 300 ms by a
//! client of its own: everybody ends with exactly what the model said.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Reader, Script, TestApp, Upstream, app::PATIENCE, http_client};

const CHATS: usize = 200;
const TOKENS: usize = 100;
const TOKEN_PAUSE: Duration = Duration::from_millis(20);
const POLL_PAUSE: Duration = Duration::from_millis(300);

fn tokens(question: &str) -> Vec<String> {
    (0..TOKENS).map(|n| format!("{question}·{n} ")).collect()
}

async fn get(client: &reqwest::Client, url: String) -> Value {
    client
        .get(url)
        .send()
        .await
        .unwrap()
        .error_for_status()
        .unwrap()
        .json()
        .await
        .unwrap()
}

/// One client, which knows nothing but the protocol.
async fn chat(base: String, question: String) -> (String, String) {
    let client = http_client();
    let created: Value = client
        .post(format!("{base}/chat/create"))
        .json(&json!({"message": question}))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let poll_url = format!("{base}{}", created["poll_url"].as_str().unwrap());
    let answer = loop {
        let poll = get(&client, poll_url.clone()).await;
        if let Some(uuid) = poll["messages"][0]["uuid"].as_str() {
            break uuid.to_owned();
        }
        tokio::time::sleep(POLL_PAUSE).await;
    };
    let mut reader = Reader::default();
    while !reader.is_done() {
        let url = format!("{base}/chat/message/{answer}/tokens/{}", reader.position);
        let before = reader.position;
        reader.apply(&get(&client, url).await);
        assert!(reader.position >= before, "P2");
        tokio::time::sleep(POLL_PAUSE).await;
    }
    assert_eq!((reader.status.as_str(), reader.replaced), ("completed", 0));
    (question, reader.text)
}

on_both_databases! {
    async fn two_hundred_chats_at_once_all_end_with_the_models_text(kind: Kind) {
        let upstream = Upstream::start(|request| {
            Script::answer(tokens(&request.asked())).paced(TOKEN_PAUSE)
        })
        .await;
        let settings = [("ledger.flush_interval_ms", "250")];
        let app = TestApp::start_with(kind, upstream, &settings).await;
        let clients = (0..CHATS).map(|n| tokio::spawn(chat(app.base.clone(), format!("question {n}"))));
        let ended = tokio::time::timeout(PATIENCE, futures::future::join_all(clients)).await;
        for client in ended.expect("all clients end in time") {
            let (question, text) = client.unwrap();
            assert_eq!(text, tokens(&question).concat());
        }
        app.stop().await;
    }
}

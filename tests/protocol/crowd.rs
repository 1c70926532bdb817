//! Two hundred chats at once, each answered at 50 tokens a second and polled every 300 ms by a
//! client of its own: everybody ends with exactly what the model said.

use std::time::Duration;

use crate::support::{Remote, Script, TestApp, Upstream, app::PATIENCE};

const CHATS: usize = 200;
const TOKENS: usize = 100;
const TOKEN_PAUSE: Duration = Duration::from_millis(20);
const POLL_PAUSE: Duration = Duration::from_millis(300);

fn tokens(question: &str) -> Vec<String> {
    (0..TOKENS).map(|n| format!("{question}·{n} ")).collect()
}

/// One client, which knows nothing but the protocol.
async fn chat(base: String, question: String) -> (String, String) {
    // Two hundred at once may have to queue for a machine that does other things besides.
    let client = Remote::of(&base)
        .polling_every(POLL_PAUSE)
        .waiting(PATIENCE);
    let reader = client.converse(&question).await;
    assert_eq!((reader.status.as_str(), reader.replaced), ("completed", 0));
    (question, reader.text)
}

on_both_databases! {
    async fn two_hundred_chats_at_once_all_end_with_the_models_text(kind: Kind) {
        let upstream = Upstream::start(|request| {
            Script::answer(tokens(&request.asked())).paced(TOKEN_PAUSE)
        })
        .await;
        // A disk that is slow at the moment is not what is tried here.
        let settings = [("ledger.flush_interval_ms", "250"), ("database.acquire_timeout_ms", "30000")];
        let app = TestApp::start_with(kind, upstream, &settings).await;
        let clients = (0..CHATS).map(|n| tokio::spawn(chat(app.base.clone(), format!("question {n}"))));
        let ended = tokio::time::timeout(3 * PATIENCE, futures::future::join_all(clients)).await;
        for client in ended.expect("all clients end in time") {
            let (question, text) = client.unwrap();
            assert_eq!(text, tokens(&question).concat());
        }
        app.stop().await;
    }
}

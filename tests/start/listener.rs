//! The listener: slow clients do not hold it, clients that disappear change nothing, HTTP/1.0 and
//! HTTP/2 are served alike.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{TestApp, Upstream, database::Kind};

async fn connect(app: &TestApp) -> TcpStream {
    TcpStream::connect(app.base.trim_start_matches("http://"))
        .await
        .unwrap()
}

#[tokio::test]
async fn a_client_that_never_ends_its_headers_is_let_go_of() {
    let settings = [("limits.header_timeout_ms", "200")];
    let app = TestApp::start_with(Kind::Sqlite, Upstream::echo().await, &settings).await;
    let mut slow = connect(&app).await;
    slow.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nx-slow: ")
        .await
        .unwrap();
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(10), slow.read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "the connection was closed");
    app.stop().await;
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    let settings = [("limits.body_timeout_ms", "200")];
    let app = TestApp::start_with(Kind::Sqlite, Upstream::echo().await, &settings).await;
    let mut slow = connect(&app).await;
    let head = "POST /chat/create HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 1024];
    let read = slow.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(
        answer.starts_with("HTTP/1.1 408") && answer.contains("body-too-slow"),
        "{answer}"
    );
    app.stop().await;
}

#[tokio::test]
async fn http_1_0_is_served_whole() {
    let app = TestApp::start(Kind::Sqlite, Upstream::echo().await).await;
    let (_, answer, _) = app.ask("one").await;
    let mut old = connect(&app).await;
    let request = format!("GET /chat/message/{answer}/tokens/0 HTTP/1.0\r\n\r\n");
    old.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    old.read_to_string(&mut text).await.unwrap();
    assert!(
        text.contains("content-length: ") && text.contains("You said: one"),
        "{text}"
    );
    assert!(!text.to_lowercase().contains("chunked"), "{text}");
    app.stop().await;
}

#[tokio::test]
async fn http_2_without_tls_is_served() {
    let app = TestApp::start(Kind::Sqlite, Upstream::echo().await).await;
    #[expect(
        clippy::disallowed_methods,
        reason = "a client of its own kind, on loopback"
    )]
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .no_proxy()
        .build()
        .unwrap();
    let answer = client
        .get(format!("{}/healthz", app.base))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (answer.version(), answer.status().as_u16()),
        (reqwest::Version::HTTP_2, 200)
    );
    app.stop().await;
}

#[tokio::test]
async fn a_client_that_disappears_after_sending_changes_nothing() {
    let app = TestApp::start(Kind::Sqlite, Upstream::echo().await).await;
    let chat = app.create_chat().await;
    let body = json!({"message": "gone"}).to_string();
    let request = format!(
        "POST /chat/{chat}/send HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut client = connect(&app).await;
    client.write_all(request.as_bytes()).await.unwrap();
    let mut first_byte = [0];
    client.read_exact(&mut first_byte).await.unwrap();
    drop(client);
    app.settle().await;
    let messages = app.messages(&chat).await;
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[1]["content"], "You said: gone");
    app.stop().await;
}

#[tokio::test]
async fn more_connections_than_the_limit_wait_and_are_served() {
    let settings = [("limits.connections", "2")];
    let app = TestApp::start_with(Kind::Sqlite, Upstream::echo().await, &settings).await;
    let held = [connect(&app).await, connect(&app).await];
    let mut third = connect(&app).await;
    third
        .write_all(b"GET /healthz HTTP/1.0\r\n\r\n")
        .await
        .unwrap();
    drop(held);
    let mut text = String::new();
    third.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.0 200"), "{text}");
    app.stop().await;
}

#[tokio::test]
async fn a_connection_that_asks_for_nothing_more_is_closed() {
    let settings = [("limits.idle_timeout_ms", "200")];
    let app = TestApp::start_with(Kind::Sqlite, Upstream::echo().await, &settings).await;
    let mut client = connect(&app).await;
    client
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut text = String::new();
    let closed = client.read_to_string(&mut text);
    let closed = tokio::time::timeout(Duration::from_secs(10), closed).await;
    assert!(closed.is_ok(), "the connection was closed");
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    app.stop().await;
}

#[tokio::test]
async fn a_client_that_never_asks_is_let_go_of() {
    let settings = [("limits.header_timeout_ms", "200")];
    let app = TestApp::start_with(Kind::Sqlite, Upstream::echo().await, &settings).await;
    for greeting in ["", "P", "PRI * HTTP/2.0\r\n"] {
        let mut silent = connect(&app).await;
        silent.write_all(greeting.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let closed =
            tokio::time::timeout(Duration::from_secs(10), silent.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "closed after {greeting:?}");
    }
    app.stop().await;
}

//! Which model answers when nobody says: OpenAI's variables, a local Ollama, the demo model.

use std::time::Duration;

use axum::{Json, Router, routing::get};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::process::{Server, run};
use crate::support::{Remote, Upstream};

/// Starts the server with these variables; how the line that it prints ends.
async fn model_chosen_with(variables: &[(&str, &str)]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), variables).await;
    let (_, model) = server.summary.rsplit_once(" · ").unwrap();
    let model = model.to_owned();
    server.terminate("-TERM").await;
    model
}

#[tokio::test]
async fn two_variables_point_it_at_any_compatible_server() {
    let upstream = Upstream::echo().await;
    let url = upstream.base_url();
    let variables = [
        ("OPENAI_API_KEY", "sk-x"),
        ("OPENAI_BASE_URL", url.as_str()),
        ("OPENAI_MODEL", "my-model"),
    ];
    assert_eq!(
        model_chosen_with(&variables).await,
        "model my-model (openai)"
    );
}

#[tokio::test]
async fn a_compatible_server_needs_no_key_and_names_its_model() {
    let upstream = Upstream::echo().await;
    let url = upstream.base_url();
    let model = model_chosen_with(&[("OPENAI_BASE_URL", url.as_str())]).await;
    assert_eq!(model, "model scripted-model (openai)");
}

#[tokio::test]
async fn a_proxy_of_the_environment_does_not_stand_between_this_machine_and_itself() {
    let upstream = Upstream::echo().await;
    let url = upstream.base_url();
    let proxy = "http://127.0.0.1:9";
    let variables = [
        ("OPENAI_BASE_URL", url.as_str()),
        ("http_proxy", proxy),
        ("HTTP_PROXY", proxy),
    ];
    assert_eq!(
        model_chosen_with(&variables).await,
        "model scripted-model (openai)"
    );
}

#[tokio::test]
async fn a_key_alone_means_openai() {
    let model = model_chosen_with(&[("OPENAI_API_KEY", "sk-x")]).await;
    assert_eq!(model, "model gpt-4.1-mini (openai)");
}

#[tokio::test]
async fn a_local_ollama_is_found() {
    let tags = get(async || Json(json!({"models": [{"name": "llama3:8b"}, {"name": "other"}]})));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let chat = axum::routing::post(async || {
        let stream = "{\"message\":{\"content\":\"moo\"},\"done\":false}\n{\"message\":{\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\"}\n";
        ([("content-type", "application/x-ndjson")], stream)
    });
    let router = Router::new()
        .route("/api/tags", tags)
        .route("/api/chat", chat);
    let ollama = tokio::spawn(async move { axum::serve(listener, router).await });
    let dir = tempfile::tempdir().unwrap();
    let url = format!("http://{address}");
    let server = Server::start(dir.path(), &[("POLLEN_OLLAMA__BASE_URL", url.as_str())]).await;
    assert!(
        server.summary.ends_with("model llama3:8b (ollama)"),
        "{}",
        server.summary
    );
    let client = Remote::of(&server.base);
    let reader = client.converse("hi").await;
    assert_eq!(
        (reader.status.as_str(), reader.text.as_str()),
        ("completed", "moo")
    );
    server.terminate("-TERM").await;
    ollama.abort();
}

#[tokio::test]
async fn what_is_asked_for_by_name_is_not_looked_for() {
    let variables = [
        ("OPENAI_API_KEY", "sk-x"),
        ("POLLEN_DEFAULT_PROVIDER", "demo"),
    ];
    let model = model_chosen_with(&variables).await;
    assert!(model.starts_with("model demo "), "{model}");
    let dir = tempfile::tempdir().unwrap();
    let help = run(
        dir.path(),
        &[("POLLEN_DEFAULT_PROVIDER", "other")],
        &["config"],
    )
    .await;
    assert!(!help.status.success());
}

#[tokio::test]
async fn a_server_that_is_slow_to_list_is_waited_for() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let slow = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 4096];
        let _ = stream.read(&mut head).await.unwrap();
        // Longer than a guess is given.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let body = r#"{"data": [{"id": "slow-model"}]}"#;
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length";
        let response = format!("{head}: {}\r\n\r\n{body}", body.len());
        stream.write_all(response.as_bytes()).await.unwrap();
        stream
    });
    let model = model_chosen_with(&[("OPENAI_BASE_URL", url.as_str())]).await;
    assert_eq!(model, "model slow-model (openai)");
    slow.await.unwrap();
}

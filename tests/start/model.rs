//! Which model answers when nobody says: OpenAI's variables, a local Ollama, the demo model.

use axum::{Json, Router, routing::get};
use serde_json::json;

use crate::support::process::{Server, run};
use crate::support::{Reader, Remote, Upstream};

#[tokio::test]
async fn two_variables_point_it_at_any_compatible_server() {
    let upstream = Upstream::echo().await;
    let dir = tempfile::tempdir().unwrap();
    let url = upstream.base_url();
    let variables = [
        ("OPENAI_API_KEY", "sk-x"),
        ("OPENAI_BASE_URL", url.as_str()),
        ("OPENAI_MODEL", "my-model"),
    ];
    let server = Server::start(dir.path(), &variables).await;
    assert!(
        server.summary.ends_with("model my-model (openai)"),
        "{}",
        server.summary
    );
    server.terminate("-TERM").await;
}

#[tokio::test]
async fn a_compatible_server_needs_no_key_and_names_its_model() {
    let upstream = Upstream::echo().await;
    let dir = tempfile::tempdir().unwrap();
    let url = upstream.base_url();
    let server = Server::start(dir.path(), &[("OPENAI_BASE_URL", url.as_str())]).await;
    assert!(
        server.summary.ends_with("model scripted-model (openai)"),
        "{}",
        server.summary
    );
    server.terminate("-TERM").await;
}

#[tokio::test]
async fn a_proxy_of_the_environment_does_not_stand_between_this_machine_and_itself() {
    let upstream = Upstream::echo().await;
    let dir = tempfile::tempdir().unwrap();
    let url = upstream.base_url();
    let proxy = "http://127.0.0.1:9";
    let variables = [
        ("OPENAI_BASE_URL", url.as_str()),
        ("http_proxy", proxy),
        ("HTTP_PROXY", proxy),
    ];
    let server = Server::start(dir.path(), &variables).await;
    assert!(
        server.summary.ends_with("model scripted-model (openai)"),
        "{}",
        server.summary
    );
    server.terminate("-TERM").await;
}

#[tokio::test]
async fn a_key_alone_means_openai() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[("OPENAI_API_KEY", "sk-x")]).await;
    assert!(
        server.summary.ends_with("model gpt-4.1-mini (openai)"),
        "{}",
        server.summary
    );
    server.terminate("-TERM").await;
}

#[tokio::test]
async fn a_local_ollama_is_found() {
    let tags = get(async || Json(json!({"models": [{"name": "llama3:8b"}, {"name": "other"}]})));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let completions = axum::routing::post(async || {
        let stream = "data: {\"choices\":[{\"delta\":{\"content\":\"moo\"},\"finish_reason\":\"stop\"}]}\n\n";
        ([("content-type", "text/event-stream")], stream)
    });
    let router = Router::new()
        .route("/api/tags", tags)
        .route("/v1/chat/completions", completions);
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
    let answer = client.answer(&client.create("hi").await).await;
    let mut reader = Reader::default();
    client
        .poll_until(&answer, &mut reader, Reader::is_done)
        .await;
    assert_eq!(
        (reader.status.as_str(), reader.text.as_str()),
        ("completed", "moo")
    );
    server.terminate("-TERM").await;
    ollama.abort();
}

#[tokio::test]
async fn what_is_asked_for_by_name_is_not_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    let variables = [
        ("OPENAI_API_KEY", "sk-x"),
        ("POLLEN_DEFAULT_PROVIDER", "demo"),
    ];
    let server = Server::start(dir.path(), &variables).await;
    assert!(server.summary.contains("model demo"), "{}", server.summary);
    server.terminate("-TERM").await;
    let help = run(
        dir.path(),
        &[("POLLEN_DEFAULT_PROVIDER", "other")],
        &["config"],
    )
    .await;
    assert!(!help.status.success());
}

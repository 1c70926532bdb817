//! The main job against a model server that none of us wrote: `@copilotkit/aimock` from npm.

mod formats;
mod kinds;

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::support::{TestApp, Upstream, app::eventually, ports::free_port};

const MISSING: &str = "the third-party model server is missing: install Node.js and npm, then \
    `npm ci --prefix tests/third_party` (./scripts/test.sh does)";
const CLI: &str = "tests/third_party/node_modules/@copilotkit/aimock/dist/cli.js";

/// The mock server, killed with this value.
struct Mock {
    base_url: String,
    _child: Child,
}

impl Mock {
    /// Its address without a version.
    fn root(&self) -> &str {
        self.base_url.trim_end_matches("/v1")
    }
}

async fn mock() -> Mock {
    assert!(Path::new(CLI).exists(), "{MISSING}");
    let port = free_port();
    let child = Command::new("node")
        .args([
            CLI,
            "--strict",
            "--host",
            "127.0.0.1",
            "--log-level",
            "silent",
        ])
        .args([
            "--port",
            &port.to_string(),
            "--fixtures",
            "tests/third_party/fixtures",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect(MISSING);
    eventually("the mock server listens", async || {
        TcpStream::connect(("127.0.0.1", port)).await.ok()
    })
    .await;
    Mock {
        base_url: format!("http://127.0.0.1:{port}/v1"),
        _child: child,
    }
}

/// What the mock answers to a question, in the last of its fixtures if there are several.
fn fixture(question: &str) -> String {
    let found = ["chats", "formats"].iter().find_map(|file| {
        let text = std::fs::read_to_string(format!("tests/third_party/fixtures/{file}.json"));
        let fixtures: Value = serde_json::from_str(&text.unwrap()).unwrap();
        let fixtures = fixtures["fixtures"].as_array().unwrap().iter();
        fixtures
            .rev()
            .find(|fixture| fixture["match"]["userMessage"] == question)
            .cloned()
    });
    let content = &found.unwrap()["response"]["content"];
    content.as_str().unwrap().to_owned()
}

on_both_databases! {
    async fn the_main_job(kind: Kind) {
        let mock = mock().await;
        let settings = [("openai.base_url", mock.base_url.as_str()), ("openai.model", "gpt-4o"), ("openai.api_key", "sk-mock")];
        let app = TestApp::start_with(kind, Upstream::echo().await, &settings).await;
        let (chat, answer, reader) = app.ask("Tell me about bees").await;
        assert_eq!((reader.status.as_str(), reader.text.as_str()), ("completed", fixture("Tell me about bees").as_str()));
        assert_eq!(app.message(&answer).await["content"], reader.text);
        let next = app.send(&chat, "And wasps?").await;
        let answer = app.answer_to(&chat, &next).await;
        assert_eq!(app.read(&answer).await.text, fixture("And wasps?"));
        app.stop().await;
    }

    async fn its_faults(kind: Kind) {
        let mock = mock().await;
        let settings = [("openai.base_url", mock.base_url.as_str()), ("openai.model", "gpt-4o")];
        let app = TestApp::start_with(kind, Upstream::echo().await, &settings).await;
        let (_, answer, reader) = app.ask("Break off").await;
        assert_eq!(reader.status, "failed");
        assert!(!reader.text.is_empty() && fixture("Break off").starts_with(&reader.text), "{}", reader.text);
        assert_eq!(app.message(&answer).await["error"]["code"], "provider_broke_off");
        let (_, answer, _) = app.ask("Too often").await;
        assert_eq!(app.message(&answer).await["error"]["code"], "provider_rate_limited");
        app.stop().await;
    }
}

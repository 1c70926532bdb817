//! Thousands of requests that `schemathesis` makes of the served OpenAPI document, right ones and wrong
//! ones: none is answered with a 5xx, and each as the document says.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;

use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::app::eventually;
use crate::support::{TestApp, Upstream, http_client};

const MISSING: &str = "schemathesis is missing: install Python 3 with its venv module (on Debian: \
    python3-venv), then `./scripts/prepare.sh` (./scripts/test.sh does)";
const TOOL: &str = "tests/third_party/.venv/bin/schemathesis";
/// Requests at random for each operation at most; those that go round its limits come on top.
const EXAMPLES: usize = 20;
/// Requests of a run, at least.
const MIN_CASES: usize = 2_000;
/// What makes the same requests come again.
const SEED: &str = "6";
/// Chats that there are.
const CHATS: usize = 20;
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,unsupported_method,\
    allow_header_conformance";

/// Which things the operations whose names fit take: those that delete take others.
const TAKES: [(&str, &str); 4] = [
    (
        r"^((GET|PATCH) /chat/[{]uuid[}]|.* /chat/[{]uuid[}]/(?!delete$))",
        "chats",
    ),
    (
        r"^(DELETE|POST) /chat/[{]uuid[}](/delete)?$",
        "doomed_chats",
    ),
    (
        r"^(GET /chat/message/|.* /chat/message/[{]uuid[}]/(?!delete$|edit$))",
        "messages",
    ),
    (
        r"^(DELETE|PUT|POST) /chat/message/[{]uuid[}](/delete|/edit)?$",
        "doomed_messages",
    ),
];

/// Things that are there, so that requests at random find something.
#[derive(Default)]
pub struct Known {
    chats: Vec<String>,
    messages: Vec<String>,
    doomed_chats: Vec<String>,
    doomed_messages: Vec<String>,
}

impl Known {
    /// Chats with a question and its answer each, made by who sends these headers.
    pub async fn make(base: &str, headers: &HeaderMap) -> Self {
        let client = http_client();
        let mut known = Self::default();
        for number in 0..CHATS {
            let create = client.post(format!("{base}/chat/create"));
            let body = json!({"message": format!("Question {number}")});
            let made = create.headers(headers.clone()).json(&body).send().await;
            let made = made.unwrap().error_for_status().unwrap();
            let made: Value = made.json().await.unwrap();
            let chat = made["uuid"].as_str().unwrap().to_owned();
            let answer = Self::answer(&client, base, headers, &chat).await;
            let question = made["message"]["uuid"].as_str().unwrap().to_owned();
            // Of four chats one is deleted, and of another one the messages.
            match number % 4 {
                0 => known.doomed_chats.push(chat),
                1 => known.doomed_messages.extend([question, answer]),
                _ => {
                    known.chats.push(chat);
                    known.messages.extend([question, answer]);
                }
            }
        }
        known
    }

    /// The answer of a new chat, once it has come.
    async fn answer(
        client: &reqwest::Client,
        base: &str,
        headers: &HeaderMap,
        chat: &str,
    ) -> String {
        let url = format!("{base}/chat/{chat}/messages");
        eventually("the answer has come", async || {
            let read = client.get(&url).headers(headers.clone()).send().await;
            let read: Value = read.unwrap().json().await.unwrap();
            let answer = read["messages"].get(1)?;
            let uuid = answer["uuid"].as_str()?.to_owned();
            (answer["status"] == "completed").then_some(uuid)
        })
        .await
    }

    /// The tool's configuration: where a path wants a UUID, it is mostly one of these.
    fn settings(&self) -> String {
        let mut settings = "[dictionaries]\n".to_owned();
        for (name, values) in [
            ("chats", &self.chats),
            ("messages", &self.messages),
            ("doomed_chats", &self.doomed_chats),
            ("doomed_messages", &self.doomed_messages),
        ] {
            writeln!(settings, "{name} = {{ values = {values:?} }}").unwrap();
        }
        let cursor = r#""path.last_uuid" = { dictionary = "messages", probability = 0.7 }"#;
        writeln!(settings, "[parameters]\n{cursor}").unwrap();
        for (operations, name) in TAKES {
            let uuid = format!("{{ dictionary = \"{name}\", probability = 0.8 }}");
            writeln!(
                settings,
                "[[operations]]\ninclude-name-regex = '{operations}'\nparameters.\"path.uuid\" = {uuid}"
            )
            .unwrap();
        }
        settings
    }
}

/// Sends the requests, each with these headers, and fails with what the tool says if an answer is wrong.
pub async fn run(base: &str, headers: &HeaderMap, known: &Known) {
    assert!(Path::new(TOOL).exists(), "{MISSING}");
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("schemathesis.toml"), known.settings()).unwrap();
    let mut tool = Command::new(Path::new(TOOL).canonicalize().unwrap());
    // It finds its configuration in the directory where it starts.
    tool.current_dir(dir.path())
        .args(["run", "--no-color", "--phases", "examples,coverage,fuzzing"])
        .args(["--checks", CHECKS, "--seed", SEED])
        .args(["--generation-database", "none"])
        .args(["--max-examples", &EXAMPLES.to_string()])
        // It would erase what the other requests are to hit.
        .args(["--exclude-path-regex", "^/me(/delete)?$"])
        .args(["--suppress-health-check", "all", "--request-timeout", "30"]);
    for (name, value) in headers {
        tool.args(["--header", &format!("{name}: {}", value.to_str().unwrap())]);
    }
    let done = tool
        .arg(format!("{base}/openapi.json"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect(MISSING);
    let told = String::from_utf8_lossy(&done.stdout);
    let complaint = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{told}{complaint}");
    assert!(cases(&told) >= MIN_CASES, "{told}");
}

/// How many requests there were: `2,647 generated`.
fn cases(told: &str) -> usize {
    let (_, rest) = told.split_once("Test cases:").unwrap();
    let number = rest.split_whitespace().next().unwrap();
    number.replace(',', "").parse().unwrap()
}

on_both_databases! {
    async fn no_request_at_random_is_answered_otherwise_than_documented(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let anybody = HeaderMap::new();
        let known = Known::make(&app.base, &anybody).await;
        run(&app.base, &anybody, &known).await;
        app.stop().await;
    }
}

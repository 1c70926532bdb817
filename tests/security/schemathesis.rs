//! Thousands of requests that `schemathesis` makes of the served OpenAPI document, right ones and wrong
//! ones, by each kind of caller: none is answered with a 5xx, and each as the document says.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;

use entity::api_token::Scope;
use futures::StreamExt as _;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use tokio::process::Command;

use super::callers::{ALL_WAYS, As, JWT_SECRET, at, cookie_of, jwt, token};
use crate::support::app::eventually;
use crate::support::database::Kind;
use crate::support::{TestApp, Upstream, http_client};

const MISSING: &str = "schemathesis is missing: install Python 3 with its venv module (on Debian: \
    python3-venv), then `./scripts/prepare.sh` (./scripts/test.sh does)";
const TOOL: &str = "tests/third_party/.venv/bin/schemathesis";
/// What makes the same requests come again.
const SEED: &str = "6";
/// Chats that there are for whoever asks everything.
const CHATS: usize = 20;
/// Chats that there are for the others.
const FEW_CHATS: usize = 8;
/// How many ask at once.
const AT_ONCE: usize = 2;
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,unsupported_method,\
    allow_header_conformance";

/// What ends who asks, or erases what the other requests are to hit.
const NOT_ASKED: &str = "^(DELETE /me|POST /me/delete|POST /sign-out|POST /sessions/end)$";

/// How much is asked, and what of it has to go well.
#[derive(Clone, Copy)]
pub struct Extent {
    phases: &'static str,
    /// Requests at random for each operation at most; those that go round its limits come on top.
    examples: usize,
    /// Operations whose paths fit.
    paths: &'static str,
    /// Requests of a run, at least.
    min_cases: usize,
    /// Of a hundred answers, those that are no refusal, at least.
    min_successes: usize,
}

/// Everything: what the document gives as examples, what goes round each limit, and at random.
const ALL: Extent = Extent {
    phases: "examples,coverage,fuzzing",
    examples: 12,
    paths: ".",
    min_cases: 2_000,
    // What goes round a limit is refused.
    min_successes: 5,
};
/// At random: one of several that ask the same.
const SOME: Extent = Extent {
    phases: "fuzzing",
    examples: 6,
    min_cases: 250,
    min_successes: 10,
    ..ALL
};

/// Which things the operations whose names fit take: those that delete take others.
const TAKES: [(&str, &str); 5] = [
    (r"^GET /shared/", "messages"),
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
    /// Of links to chats.
    secrets: Vec<String>,
}

impl Known {
    /// So many chats with a question and its answer each, made by who sends these headers.
    pub async fn make(base: &str, headers: &HeaderMap, chats: usize) -> Self {
        let client = http_client();
        let mut known = Self::default();
        for number in 0..chats {
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

    /// A chat, and a link to it.
    async fn shared(base: &str, headers: &HeaderMap) -> Self {
        let mut known = Self::make(base, headers, 3).await;
        let url = format!("{base}/chat/{}/shares", known.chats[0]);
        let share = http_client().post(url).headers(headers.clone());
        let made = share.json(&json!({})).send().await.unwrap();
        let made: Value = made.error_for_status().unwrap().json().await.unwrap();
        let (_, secret) = made["url"].as_str().unwrap().rsplit_once('/').unwrap();
        known.secrets.push(secret.to_owned());
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
        if self.chats.is_empty() {
            return String::new();
        }
        let mut settings = "[dictionaries]\n".to_owned();
        for (name, values) in [
            ("chats", &self.chats),
            ("messages", &self.messages),
            ("doomed_chats", &self.doomed_chats),
            ("doomed_messages", &self.doomed_messages),
            ("secrets", &self.secrets),
        ] {
            if !values.is_empty() {
                writeln!(settings, "{name} = {{ values = {values:?} }}").unwrap();
            }
        }
        let cursor = r#""path.last_uuid" = { dictionary = "messages", probability = 0.7 }"#;
        writeln!(settings, "[parameters]\n{cursor}").unwrap();
        if !self.secrets.is_empty() {
            let secret = r#""path.secret" = { dictionary = "secrets", probability = 0.9 }"#;
            writeln!(settings, "{secret}").unwrap();
        }
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

/// Sends the requests, each with these headers, and fails with what the tool says if an answer is wrong,
/// or too many were refused.
pub async fn run(base: &str, headers: &HeaderMap, known: &Known, extent: Extent) {
    assert!(Path::new(TOOL).exists(), "{MISSING}");
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("schemathesis.toml"), known.settings()).unwrap();
    let log = dir.path().join("log.har");
    let mut tool = Command::new(Path::new(TOOL).canonicalize().unwrap());
    // It finds its configuration in the directory where it starts.
    tool.current_dir(dir.path())
        .args(["run", "--no-color", "--phases", extent.phases])
        .args(["--checks", CHECKS, "--seed", SEED])
        .args(["--generation-database", "none"])
        .args(["--max-examples", &extent.examples.to_string()])
        .args(["--exclude-name-regex", NOT_ASKED])
        .args(["--include-path-regex", extent.paths])
        .args(["--suppress-health-check", "all", "--request-timeout", "30"])
        .args(["--report", "har", "--report-har-path"])
        .arg(&log);
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
    assert!(done.status.success(), "{headers:?}: {told}{complaint}");
    let statuses = statuses(&log);
    let of = |class: std::ops::Range<u64>| statuses.iter().filter(|it| class.contains(it)).count();
    let (all, successes, limited) = (statuses.len(), of(200..400), of(429..430));
    let counted = format!("{headers:?}: {successes} of {all} went well, {limited} were too many");
    assert!(all >= extent.min_cases, "{counted}");
    assert!(successes * 100 >= all * extent.min_successes, "{counted}");
    assert!(limited * 100 <= all, "{counted}");
}

/// Of all answers.
fn statuses(log: &Path) -> Vec<u64> {
    let log: Value = serde_json::from_slice(&std::fs::read(log).unwrap()).unwrap();
    let entries = log["log"]["entries"].as_array().unwrap().iter();
    let status = |entry: &Value| entry["response"]["status"].as_u64().unwrap_or_default();
    entries.map(status).collect()
}

/// What makes somebody somebody, for the tool.
fn headers_of(who: &As) -> HeaderMap {
    let headers = who.0.iter().map(|(name, value)| {
        let name = HeaderName::try_from(name.as_str()).unwrap();
        (name, HeaderValue::try_from(value.as_str()).unwrap())
    });
    headers.collect()
}

on_both_databases! {
    async fn no_request_at_random_is_answered_otherwise_than_documented(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let anybody = HeaderMap::new();
        let known = Known::make(&app.base, &anybody, CHATS).await;
        run(&app.base, &anybody, &known, ALL).await;
        app.stop().await;
    }
}

/// Limits of requests would answer most of them.
const UNLIMITED: [(&str, &str); 5] = [
    ("auth.anonymous_tier", ""),
    ("limits.unknown_per_minute", "0"),
    ("limits.changes_per_minute", "0"),
    ("limits.polls_per_minute", "0"),
    ("limits.requests_per_minute", "0"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_caller_at_all_is_answered_otherwise_than_documented() {
    let upstream = Upstream::echo().await;
    let settings = [&ALL_WAYS[..], &UNLIMITED[..]].concat();
    // The one that takes less: no text has a NUL there.
    let app = TestApp::start_with(Kind::Postgres, upstream.clone(), &settings).await;
    let by_token_alone = [&settings[..], &[("auth.modes", "token")]].concat();
    let closed = TestApp::start_with(Kind::Sqlite, upstream, &by_token_alone).await;

    let writer = As::bearer(&token(&app, "alice", Scope::Write).await);
    let reader = As::bearer(&token(&app, "alice", Scope::Read).await);
    let admin = As::bearer(&token(&app, "root", Scope::Admin).await);
    let claims = json!({"sub": "7", "name": "Ann", "exp": at(3_600)});
    let user = As::bearer(&jwt(&claims, JWT_SECRET));
    let visitor = As::nobody().get(&app, "/chats").await;
    let visitor = As::cookie(&cookie_of(&visitor).unwrap());
    let vouched = As::vouched("carol@example.org");
    // Who asks what is whose.
    let mut runs = Vec::new();
    for (who, owner) in [
        (&writer, &writer),
        (&reader, &writer),
        (&admin, &admin),
        (&user, &user),
        (&visitor, &visitor),
        (&vouched, &vouched),
    ] {
        let known = Known::make(&app.base, &headers_of(owner), FEW_CHATS).await;
        runs.push((&app.base, headers_of(who), known, SOME));
    }
    let by_link = Extent {
        paths: "^/shared/",
        examples: 30,
        min_cases: 100,
        ..SOME
    };
    let known = Known::shared(&app.base, &headers_of(&writer)).await;
    runs.push((&app.base, HeaderMap::new(), known, by_link));
    // Of them most of what there is is refused; a stranger's things are not there.
    let refused = Extent {
        min_successes: 0,
        ..SOME
    };
    let strangers = Known::make(&app.base, &headers_of(&admin), 4).await;
    runs.push((&app.base, headers_of(&writer), strangers, refused));
    runs.push((&closed.base, HeaderMap::new(), Known::default(), refused));
    let runs = runs.iter().map(async |(base, headers, known, extent)| {
        run(base, headers, known, *extent).await;
    });
    let () = futures::stream::iter(runs)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    closed.stop().await;
    app.stop().await;
}

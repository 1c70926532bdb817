//! `pollen doctor` on set-ups that are broken, each in one way, and on one that is not.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::database::Kind;
use crate::support::ports::free_port;
use crate::support::{Database, Server, TestApp, Upstream, process::run};

const KEY: &str = "sk-a-key-that-nobody-may-see";

/// A set-up: its directory, its variables, and how its provider is.
struct SetUp {
    dir: tempfile::TempDir,
    variables: Vec<(String, String)>,
    upstream: Upstream,
}

/// What the doctor said.
struct Said {
    code: i32,
    text: String,
    findings: Vec<Value>,
}

impl SetUp {
    /// One that is well.
    async fn new() -> Self {
        let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::echo().await);
        let set_up = Self {
            variables: vec![
                ("OPENAI_API_KEY".to_owned(), KEY.to_owned()),
                ("OPENAI_BASE_URL".to_owned(), upstream.base_url()),
                ("OPENAI_MODEL".to_owned(), "scripted-model".to_owned()),
            ],
            dir,
            upstream,
        };
        set_up.with("POLLEN_LISTEN", "127.0.0.1:0")
    }

    fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn file(&self, text: &str) {
        let file = self.path().join("pollen.toml");
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// A database as a server leaves it.
    async fn served(self) -> Self {
        let variables = self.variables();
        Server::start(self.path(), &variables)
            .await
            .terminate("-TERM")
            .await;
        self
    }

    fn variables(&self) -> Vec<(&str, &str)> {
        let pairs = self.variables.iter();
        pairs
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }

    async fn doctor(&self, arguments: &[&str]) -> Said {
        let before = listing(self.path());
        let variables = self.variables();
        let all: Vec<&str> = ["doctor", "--json"]
            .iter()
            .chain(arguments)
            .copied()
            .collect();
        let output = run(self.path(), &variables, &all).await;
        let json = String::from_utf8(output.stdout).unwrap();
        let diagnosis: Value = serde_json::from_str(&json).unwrap();
        let code = output.status.code().unwrap();
        assert_eq!(diagnosis["healthy"], code == 0, "{json}");
        assert_eq!(listing(self.path()), before, "it changes nothing");
        let all: Vec<&str> = ["doctor"].iter().chain(arguments).copied().collect();
        let text = String::from_utf8(run(self.path(), &variables, &all).await.stdout).unwrap();
        for said in [&json, &text] {
            assert!(
                !said.contains(KEY) && !said.contains("open-sesame"),
                "{said}"
            );
        }
        Said {
            code,
            text,
            findings: diagnosis["findings"].as_array().unwrap().clone(),
        }
    }

    /// The one finding of this kind, its words and its advice.
    async fn finds(&self, arguments: &[&str], level: &str, check: &str, words: &str, advice: &str) {
        let said = self.doctor(arguments).await;
        let is_it = |finding: &&Value| {
            finding["check"] == check
                && finding["level"] == level
                && finding["found"].as_str().unwrap().contains(words)
        };
        let finding = said.findings.iter().find(is_it);
        let finding =
            finding.unwrap_or_else(|| panic!("{level} {check} {words}: {:#?}", said.findings));
        let told = finding["advice"].as_str().unwrap();
        assert!(told.contains(advice), "{told}");
        assert_eq!(
            said.code,
            i32::from(level == "problem"),
            "{:#?}",
            said.findings
        );
        assert!(said.text.contains(told), "{}", said.text);
        // Both ask anew: what they have measured may differ.
        let line = said.text.lines().find(|line| line.contains(words));
        assert!(line.unwrap().starts_with(level), "{}", said.text);
    }
}

/// (name, size) of the files of a directory.
fn listing(dir: &Path) -> Vec<(String, u64)> {
    let mut files: Vec<(String, u64)> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, entry.metadata().unwrap().len())
        })
        .collect();
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthy_set_up_is_healthy_before_and_after_its_first_start() {
    let set_up = SetUp::new().await;
    for words in ["there is no file", "schema up to date"] {
        let said = set_up.doctor(&["--free-mib", "0"]).await;
        assert_eq!(said.code, 0, "{}", said.text);
        let bad: Vec<&Value> = said
            .findings
            .iter()
            // The limit of open files is the machine's.
            .filter(|finding| finding["level"] != "ok" && finding["check"] != "files")
            .collect();
        assert!(bad.is_empty(), "{bad:#?}");
        assert!(said.text.contains(words), "{}", said.text);
        let variables = set_up.variables();
        Server::start(set_up.path(), &variables)
            .await
            .terminate("-TERM")
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_runs_is_no_trouble() {
    let set_up = SetUp::new()
        .await
        .with("POLLEN_LISTEN", format!("127.0.0.1:{}", free_port()));
    let variables = set_up.variables();
    let address = &set_up.variables.last().unwrap().1;
    let server = Server::start_at(set_up.path(), &variables, address).await;
    let said = set_up.doctor(&["--free-mib", "0"]).await;
    assert_eq!(said.code, 0, "{}", said.text);
    assert!(said.text.contains("a Pollen listens on"), "{}", said.text);
    assert!(said.text.contains("in use by a server"), "{}", said.text);
    server.terminate("-TERM").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_is_wrong() {
    let set_up = SetUp::new().await;
    set_up.file("listen = \"127.0.0.1:0\nauth = { secret = \"open-sesame\" }");
    set_up
        .finds(
            &[],
            "problem",
            "config",
            "cannot read the configuration file",
            "pollen config",
        )
        .await;
    set_up.file("[limits]\nmessage_bites = 5\n");
    set_up
        .finds(
            &[],
            "problem",
            "config",
            "limits.message_bites",
            "Put that right",
        )
        .await;
    let provider = format!(
        "default_provider = \"mine\"\n[[provider]]\nname = \"mine\"\nkind = \"openai\"\nbase_url = \"{}\"\napi_key = \"{KEY}\"\n",
        set_up.upstream.base_url()
    );
    set_up.file(&provider);
    let file = set_up.path().join("pollen.toml");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    set_up
        .finds(
            &["--free-mib", "0"],
            "warning",
            "config",
            "others than its owner",
            "chmod 600",
        )
        .await;
    let set_up = SetUp::new()
        .await
        .with("POLLEN_PUBLIC_URL", "https://chat.example.org")
        .with("POLLEN_AUTH__MODES", "token");
    set_up
        .finds(
            &["--free-mib", "0"],
            "warning",
            "config",
            "`trusted_proxies` names nothing",
            "trusted_proxies",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgresql_that_is_away_or_lets_nobody_in() {
    let database = Database::create(Kind::Postgres).await;
    let url = |url: String| async { SetUp::new().await.with("POLLEN_DATABASE_URL", url) };
    let well = url(database.url.clone()).await;
    let said = well.doctor(&["--free-mib", "0"]).await;
    assert_eq!(said.code, 0, "{}", said.text);
    for words in [
        "PostgreSQL ",
        "connections are in use",
        "the database's clock",
    ] {
        assert!(said.text.contains(words), "{words}: {}", said.text);
    }
    let away = format!(
        "postgres://ada:open-sesame@127.0.0.1:{}/pollen",
        free_port()
    );
    url(away)
        .await
        .finds(
            &[],
            "problem",
            "database",
            "cannot be reached",
            "host and port",
        )
        .await;
    let nobody = database.url.replace("postgres@", "nobody:open-sesame@");
    url(nobody)
        .await
        .finds(&[], "problem", "database", "does not let us in", "password")
        .await;
    let (server, _) = database.url.rsplit_once('/').unwrap();
    let none = format!("{server}/there_is_none");
    url(none)
        .await
        .finds(&[], "problem", "database", "no such database", "createdb")
        .await;
    let greedy = url(database.url.clone())
        .await
        .with("POLLEN_DATABASE__MAX_CONNECTIONS", "1000");
    greedy
        .finds(
            &[],
            "problem",
            "database",
            "connections are in use",
            "max_connections",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_used() {
    let nowhere = SetUp::new()
        .await
        .with("POLLEN_DATABASE_URL", "sqlite:/proc/pollen.db");
    nowhere
        .finds(
            &[],
            "problem",
            "database",
            "no file can be made in /proc",
            "Make the directory",
        )
        .await;
    // Something else than a database.
    let other = SetUp::new().await;
    std::fs::write(other.path().join("pollen.db"), "Dear diary, ".repeat(1_000)).unwrap();
    other
        .finds(
            &[],
            "problem",
            "database",
            "not a database of SQLite's",
            "pollen restore",
        )
        .await;
    // A page in the middle is overwritten.
    let damaged = SetUp::new().await.served().await;
    let file = damaged.path().join("pollen.db");
    let mut bytes = std::fs::read(&file).unwrap();
    for byte in &mut bytes[8_192..40_960] {
        *byte = 0xA5;
    }
    std::fs::write(&file, bytes).unwrap();
    damaged
        .finds(&[], "problem", "database", "is damaged", "pollen restore")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_a_newer_version() {
    let app = TestApp::start(Kind::Sqlite, Upstream::echo().await).await;
    let database = app.database.clone();
    app.stop().await;
    database
        .execute("INSERT INTO seaql_migrations (version, applied_at) VALUES ('m99991231_000001_future', 0)")
        .await;
    let set_up = SetUp::new()
        .await
        .with("POLLEN_DATABASE_URL", database.url.clone());
    set_up
        .finds(
            &[],
            "problem",
            "database",
            "m99991231_000001_future",
            "newer version",
        )
        .await;
    // And a start says so too.
    let output = run(set_up.path(), &set_up.variables(), &[]).await;
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && log.contains("a newer Pollen than this one"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_does_not_do_its_work() {
    let refusing = SetUp::new().await;
    refusing.upstream.lists(
        401,
        json!({"error": {"message": format!("Incorrect API key provided: {KEY}")}}),
    );
    refusing
        .finds(&[], "problem", "provider", "openai", "Set the key")
        .await;
    let away = SetUp::new().await.with(
        "OPENAI_BASE_URL",
        format!("http://127.0.0.1:{}/v1", free_port()),
    );
    away.finds(&[], "problem", "provider", "openai", "server running")
        .await;
    let other = SetUp::new().await.with("OPENAI_MODEL", "another-model");
    other
        .finds(
            &["--free-mib", "0"],
            "warning",
            "provider",
            "does not list the model \"another-model\"",
            "scripted-model",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_off() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let past = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 4_096];
                let _ = stream.read(&mut head).await;
                let body = r#"{"object":"list","data":[{"id":"scripted-model"}]}"#;
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ndate: Mon, 01 Jan 2024 00:00:00 GMT\r\ncontent-type: application/json\r\n\
                     content-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    let set_up = SetUp::new()
        .await
        .with("OPENAI_BASE_URL", format!("http://{address}/v1"));
    set_up
        .finds(&["--free-mib", "0"], "warning", "clock", "differ by", "NTP")
        .await;
    past.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_without_room() {
    let set_up = SetUp::new().await;
    // More than any disk has: as if it were full.
    set_up
        .finds(
            &["--free-mib", "1000000000000"],
            "problem",
            "disk",
            "free in",
            "Make room",
        )
        .await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let set_up = SetUp::new().await.with("POLLEN_LISTEN", address);
    set_up
        .finds(
            &[],
            "problem",
            "port",
            "something else listens",
            "another port",
        )
        .await;
    let set_up = SetUp::new()
        .await
        .with("POLLEN_LIMITS__CONNECTIONS", "1000000");
    // Where a process may have more open, there is nothing to find.
    let said = set_up.doctor(&["--free-mib", "0"]).await;
    let files = said
        .findings
        .iter()
        .find(|finding| finding["check"] == "files")
        .unwrap();
    let found = files["found"].as_str().unwrap();
    let limit: u64 = found.split(' ').next().unwrap().parse().unwrap_or(u64::MAX);
    assert_eq!(files["level"] == "warning", limit < 1_000_116, "{files}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_away() {
    let url = format!("redis://:open-sesame@127.0.0.1:{}/", free_port());
    let set_up = SetUp::new().await.with("POLLEN_REDIS_URL", url);
    set_up
        .finds(&[], "problem", "redis", "Redis", "redis_url")
        .await;
}

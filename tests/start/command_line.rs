//! The binary as a newcomer starts it, in an empty directory.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::support::process::{Server, run};
use crate::support::{Database, Reader, Remote, app::eventually, database::Kind};

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn an_empty_directory_is_enough() {
    let dir = tempfile::tempdir().unwrap();
    let fast = [
        ("POLLEN_DEMO__TOKENS_PER_SECOND", "5000"),
        ("POLLEN_DEMO__TOKENS", "50"),
    ];
    let server = Server::start(dir.path(), &fast).await;
    assert!(
        server.summary.contains("database sqlite:pollen.db"),
        "{}",
        server.summary
    );
    assert!(server.summary.contains("model demo"), "{}", server.summary);
    let database = std::fs::read(dir.path().join("pollen.db")).unwrap();
    assert!(database.starts_with(b"SQLite format 3\0"));
    assert_eq!(
        database[18..20],
        [2, 2],
        "the file says that it is in WAL mode"
    );
    for file in ["pollen.db", "pollen.db-wal", "pollen.db-shm"] {
        let rights = std::fs::metadata(dir.path().join(file))
            .unwrap()
            .permissions();
        assert_eq!(rights.mode() & 0o777, 0o600, "{file} is its owner's alone");
    }
    let client = Remote::of(&server.base);
    let created = client.create("What are you?").await;
    let answer = client.answer(&created).await;
    let mut reader = Reader::default();
    client
        .poll_until(&answer, &mut reader, Reader::is_done)
        .await;
    assert!(reader.text.contains("> What are you?"), "{}", reader.text);
    let (status, log) = server.terminate("-INT").await;
    assert!(status.success(), "{log}");
}

#[tokio::test]
async fn help_and_version() {
    let dir = tempfile::tempdir().unwrap();
    let version = run(dir.path(), &[], &["--version"]).await;
    assert_eq!(
        text(version.stdout),
        format!("pollen {}\n", env!("CARGO_PKG_VERSION"))
    );
    let help = run(dir.path(), &[], &["--help"]).await;
    insta::assert_snapshot!(text(help.stdout));
    assert!(
        std::fs::read_dir(dir.path()).unwrap().next().is_none(),
        "asking leaves nothing behind"
    );
}

#[tokio::test]
async fn migrate_brings_a_database_up_to_date_and_ends() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let database = Database::create(kind).await;
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let done = run(
                dir.path(),
                &[],
                &["migrate", "--database-url", &database.url],
            )
            .await;
            assert!(done.status.success(), "{}", text(done.stderr));
            assert!(text(done.stdout).contains("is up to date"));
        }
        database.assert_nothing_left_over().await;
    }
}

#[tokio::test]
async fn a_file_with_a_space_in_its_name_is_one_file_however_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let variables = [("POLLEN_DATABASE_URL", "sqlite:my%20chats.db")];
    let first = Server::start(dir.path(), &variables).await;
    assert!(dir.path().join("my chats.db").exists());
    let arguments = [
        "--listen",
        "127.0.0.1:0",
        "--database-url",
        "sqlite:my chats.db",
    ];
    let second = run(dir.path(), &[], &arguments).await;
    let said = text(second.stderr);
    assert!(
        !second.status.success() && said.contains("in use by another"),
        "{said}"
    );
    first.terminate("-TERM").await;
}

#[tokio::test]
async fn two_nodes_that_start_together_migrate_once() {
    let database = Database::create(Kind::Postgres).await;
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["migrate", "--database-url", &database.url];
    let migrate = || run(dir.path(), &[], &arguments);
    for done in futures::future::join_all([migrate(), migrate(), migrate()]).await {
        assert!(done.status.success(), "{}", text(done.stderr));
    }
}

#[tokio::test]
async fn config_prints_what_is_in_force_and_where_it_comes_from() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("pollen.toml"),
        "listen = \"127.0.0.1:7000\"\n[demo]\ntokens = 5\nseed = 9\n",
    )
    .unwrap();
    let variables = [
        ("POLLEN_DEMO__TOKENS", "7"),
        (
            "POLLEN_DATABASE_URL",
            "postgres://me:hunter2@db.example/pollen",
        ),
        ("OPENAI_API_KEY", "sk-planted-secret"),
    ];
    let arguments = [
        "config",
        "--listen",
        "127.0.0.1:7001",
        "--set",
        "ledger.flush_interval_ms=100",
    ];
    let said = text(run(dir.path(), &variables, &arguments).await.stdout);
    for line in [
        "listen = \"127.0.0.1:7001\"  # flag --listen",
        "demo.tokens = \"7\"  # environment variable POLLEN_DEMO__TOKENS",
        "demo.seed = 9  # pollen.toml",
        "ledger.flush_interval_ms = \"100\"  # flag --set ledger.flush_interval_ms",
        "database_url = \"postgres://me:********@db.example/pollen\"  # environment variable POLLEN_DATABASE_URL",
        "openai.api_key = \"********\"  # environment variable OPENAI_API_KEY",
        "worker.lease_ms = 15000  # default",
    ] {
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            said.lines().any(|l| squeezed(l) == squeezed(line)),
            "{line} not in\n{said}"
        );
    }
    assert!(
        !said.contains("hunter2") && !said.contains("planted"),
        "{said}"
    );
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let refused = run(dir.path(), &[], &["--listen", &address]).await;
    assert!(!refused.status.success());
    let said = text(refused.stderr);
    assert!(
        said.contains(&address) && said.contains("--listen"),
        "{said}"
    );
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named_without_its_password() {
    let dir = tempfile::tempdir().unwrap();
    let url = "postgres://me:hunter2@127.0.0.1:9/pollen";
    let arguments = [
        "--listen",
        "127.0.0.1:0",
        "--database-url",
        url,
        "--set",
        "database.acquire_timeout_ms=300",
    ];
    let refused = run(dir.path(), &[], &arguments).await;
    assert!(!refused.status.success());
    let said = text(refused.stderr);
    assert!(
        said.contains("postgres://me:********@127.0.0.1:9/pollen"),
        "{said}"
    );
    assert!(!said.contains("hunter2"), "{said}");
}

#[tokio::test]
async fn the_log_follows_requests_and_answers_and_comes_as_json_when_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let variables = [("POLLEN_LOG__FORMAT", "json"), ("POLLEN_DEMO__TOKENS", "1")];
    let server = Server::start(dir.path(), &variables).await;
    let client = Remote::of(&server.base).calling_itself("find-me");
    let created = client.create("Hello").await;
    let answer = client.answer(&created).await;
    client
        .poll_until(&answer, &mut Reader::default(), Reader::is_done)
        .await;
    let (_, log) = server.terminate("-TERM").await;
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(
        lines
            .iter()
            .any(|line| line["span"]["request_id"] == "find-me"),
        "{log}"
    );
    let answered = lines
        .iter()
        .find(|line| line["span"]["name"] == "chat::answer");
    assert_eq!(
        answered.unwrap()["span"]["request"],
        created["request_uuid"],
        "{log}"
    );
}

#[tokio::test]
async fn a_request_in_flight_is_answered_before_the_end() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]).await;
    let address = server.base.trim_start_matches("http://").to_owned();
    let mut slow = tokio::net::TcpStream::connect(&address).await.unwrap();
    let body = json!({"title": "Just in time"}).to_string();
    let head = format!(
        "POST /chat/create HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    // The server says that it waits for the body: the request is in flight.
    let mut go_on = [0; 25];
    slow.read_exact(&mut go_on).await.unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100 Continue"));
    let ended = tokio::spawn(server.terminate("-TERM"));
    eventually("nobody is let in any more", async || {
        tokio::net::TcpStream::connect(&address)
            .await
            .is_err()
            .then_some(())
    })
    .await;
    slow.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.contains("HTTP/1.1 201") && answer.contains("Just in time"),
        "{answer}"
    );
    let (status, log) = ended.await.unwrap();
    assert!(status.success(), "{log}");
}

#[tokio::test]
async fn an_end_that_takes_too_long_is_cut_short() {
    use tokio::io::AsyncWriteExt;
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[("POLLEN_SHUTDOWN__LIMIT_MS", "600")]).await;
    let address = server.base.trim_start_matches("http://").to_owned();
    let mut slow = tokio::net::TcpStream::connect(&address).await.unwrap();
    slow.write_all(b"POST /chat/create HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n")
        .await
        .unwrap();
    let ended = tokio::time::timeout(
        std::time::Duration::from_secs(10),
        server.terminate("-TERM"),
    )
    .await;
    assert!(ended.expect("it ends within its limit").0.success());
}

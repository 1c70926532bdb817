//! Three servers behind a balancer, restarted one after the other while people poll and answers are under way: no poll
//! fails. The balancer is `HAProxy`, which tries nothing twice here.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::support::database::Kind;
use crate::support::ports::free_port;
use crate::support::{Database, Reader, Server, app::eventually, http_client};

const MISSING: &str =
    "HAProxy is missing: install Debian's package `haproxy` (./scripts/test.sh does)";
const NODES: usize = 3;
const PEOPLE: usize = 24;
/// Words of an answer, and how fast they come: most answers see a restart.
const WORDS: &str = "300";
const WORDS_PER_SECOND: &str = "40";
/// The lease that nobody may have to wait for.
const LEASE: Duration = Duration::from_secs(15);
/// Longest pause between two polls of one person.
const PAUSE_MS: u64 = 150;
const CALL_LIMIT: Duration = Duration::from_secs(20);

/// Looks at `/readyz`, and sends to those who are ready; what fails there fails at the client.
fn balancer(dir: &Path, port: u16, nodes: &[u16]) -> Child {
    let mut text = format!(
        "global\n  maxconn 2000\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  \
         timeout server 60s\n  timeout http-keep-alive 60s\n  retries 0\n  no option redispatch\n\
         frontend people\n  bind 127.0.0.1:{port}\n  default_backend nodes\n\
         backend nodes\n  balance roundrobin\n  http-reuse always\n  option httpchk GET /readyz\n  \
         http-response set-header x-node %s\n  default-server check inter 200ms fall 1 rise 1\n"
    );
    for (number, node) in nodes.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  server node{number} 127.0.0.1:{node}");
    }
    let file = dir.join("haproxy.cfg");
    std::fs::write(&file, text).unwrap();
    Command::new("haproxy")
        .args(["-db", "-f"])
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect(MISSING)
}

/// Somebody with a connection of their own that is kept.
struct Person {
    client: reqwest::Client,
    base: String,
    tally: Arc<Tally>,
}

#[derive(Default)]
struct Tally {
    polls: AtomicUsize,
    replaced: AtomicUsize,
    failures: Mutex<Vec<String>>,
    /// By the number of its question: whoever asks the same is told the same, by whichever node.
    answers: Mutex<HashMap<usize, String>>,
}

impl Tally {
    fn note(&self, failure: String) {
        self.failures.lock().unwrap().push(failure);
    }

    fn compare(&self, question: usize, answer: &str) {
        let mut answers = self.answers.lock().unwrap();
        let first = answers.entry(question).or_insert_with(|| answer.to_owned());
        assert_eq!(first, answer, "no text is lost or wrong");
    }
}

impl Person {
    /// The body of the answer, an object; null where there was none. What is no success is written down, and asked
    /// again.
    async fn ask(&self, path: &str, body: Option<&Value>) -> Value {
        loop {
            let url = format!("{}{path}", self.base);
            let request = match body {
                Some(body) => self.client.post(url).json(body),
                None => self.client.get(url),
            };
            let failure = match request.timeout(CALL_LIMIT).send().await {
                Ok(response) if response.status().is_success() => match response.text().await {
                    Ok(text) if text.is_empty() => return Value::Null,
                    Ok(text) => return serde_json::from_str(&text).unwrap(),
                    Err(error) => format!("{error:?}"),
                },
                Ok(response) => format!("{} {:?}", response.status(), response.headers()),
                Err(error) => format!("{error:?}"),
            };
            self.tally.note(format!("{path}: {failure}"));
            sleep(Duration::from_millis(PAUSE_MS)).await;
        }
    }

    /// Asks and reads, again and again.
    async fn live_until(self, over: CancellationToken) {
        let mut number = 0;
        while !over.is_cancelled() {
            number += 1;
            let question = json!({"message": format!("question {number}")});
            let created = self.ask("/chat/create", Some(&question)).await;
            let chat = created["uuid"].as_str().unwrap();
            let asked = created["message"]["uuid"].as_str().unwrap();
            let answer = loop {
                let poll = self
                    .ask(&format!("/chat/{chat}/messages/{asked}"), None)
                    .await;
                self.tally.polls.fetch_add(1, Ordering::Relaxed);
                if let Some(answer) = poll["messages"][0]["uuid"].as_str() {
                    break answer.to_owned();
                }
                sleep(Duration::from_millis(PAUSE_MS)).await;
            };
            let read = self.read(&answer).await;
            let stored = self.ask(&format!("/chat/message/{answer}"), None).await;
            let stored = stored["content"].as_str().unwrap();
            assert_eq!(read.text, stored, "every client ends with the stored text");
            assert_eq!(read.status, "completed");
            self.tally.compare(number, stored);
            self.tally
                .replaced
                .fetch_add(read.replaced, Ordering::Relaxed);
        }
    }

    async fn read(&self, answer: &str) -> Reader {
        let mut reader = Reader::default();
        let mut grown = Instant::now();
        while !reader.is_done() {
            let before = reader.position;
            let path = format!("/chat/message/{answer}/tokens/{before}");
            reader.apply(&self.ask(&path, None).await);
            self.tally.polls.fetch_add(1, Ordering::Relaxed);
            assert!(reader.position >= before, "P2");
            if reader.position > before {
                grown = Instant::now();
            }
            let still = grown.elapsed();
            assert!(
                still < LEASE,
                "nothing came for {still:?}: a lease was waited for"
            );
            sleep(Duration::from_millis(PAUSE_MS)).await;
        }
        reader
    }
}

async fn start(dir: &Path, database: &Database, port: u16) -> Server {
    let lease = LEASE.as_millis().to_string();
    let variables = [
        ("POLLEN_DATABASE_URL", database.url.as_str()),
        ("POLLEN_WORKER__LEASE_MS", &lease),
        ("POLLEN_WORKER__MAX_ATTEMPTS", "20"),
        ("POLLEN_DEMO__TOKENS", WORDS),
        ("POLLEN_DEMO__TOKENS_PER_SECOND", WORDS_PER_SECOND),
        ("POLLEN_SHUTDOWN__READY_DELAY_MS", "2000"),
        ("RUST_LOG", "warn"),
    ];
    Server::start_at(dir, &variables, &format!("127.0.0.1:{port}")).await
}

/// Until the balancer sends people there.
async fn until_served(base: &str, node: usize) {
    let (client, name) = (http_client(), format!("node{node}"));
    eventually("the balancer knows the node", async || {
        let response = client.get(format!("{base}/healthz")).send().await.ok()?;
        let is_it = response.headers().get("x-node")?.to_str().ok()? == name;
        is_it.then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_fails_no_poll() {
    let database = Database::create(Kind::Postgres).await;
    let dir = database.dir();
    let ports: Vec<u16> = (0..NODES).map(|_| free_port()).collect();
    let mut nodes = Vec::new();
    for &port in &ports {
        nodes.push(start(&dir, &database, port).await);
    }
    let port = free_port();
    let base = format!("http://127.0.0.1:{port}");
    let _balancer = balancer(&dir, port, &ports);
    for node in 0..NODES {
        until_served(&base, node).await;
    }
    let (tally, over) = (Arc::new(Tally::default()), CancellationToken::new());
    let people: Vec<_> = (0..PEOPLE)
        .map(|_| {
            let person = Person {
                client: http_client(),
                base: base.clone(),
                tally: Arc::clone(&tally),
            };
            tokio::spawn(person.live_until(over.clone()))
        })
        .collect();
    for (node, &port) in ports.iter().enumerate() {
        let polled = tally.polls.load(Ordering::Relaxed);
        eventually("people poll", async || {
            (tally.polls.load(Ordering::Relaxed) > polled + PEOPLE * 4).then_some(())
        })
        .await;
        let (status, log) = nodes.remove(0).terminate("-TERM").await;
        assert!(status.success(), "{log}");
        assert!(!log.contains("dropped"), "{log}");
        nodes.push(start(&dir, &database, port).await);
        until_served(&base, node).await;
    }
    over.cancel();
    for person in people {
        person.await.unwrap();
    }
    let failures = tally.failures.lock().unwrap().clone();
    let polls = tally.polls.load(Ordering::Relaxed);
    assert!(
        failures.is_empty(),
        "{} of {polls}: {failures:#?}",
        failures.len()
    );
    let replaced = tally.replaced.load(Ordering::Relaxed);
    assert!(replaced > 0, "answers were let go and taken up elsewhere");
    for node in nodes {
        node.terminate("-TERM").await;
    }
}

/// The same server, looked at directly: first it is not ready, then it takes no more connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_goes_says_so_first_and_serves_on() {
    let database = Database::create(Kind::Sqlite).await;
    let variables = [
        ("POLLEN_DATABASE_URL", database.url.as_str()),
        ("POLLEN_SHUTDOWN__READY_DELAY_MS", "600000"),
    ];
    let server = Server::start(&database.dir(), &variables).await;
    let (client, base) = (http_client(), server.base.clone());
    let get = async |path: &str| client.get(format!("{base}{path}")).send().await.unwrap();
    let before = get("/readyz").await;
    assert_eq!(before.status(), 200);
    assert!(!before.headers().contains_key("connection"));
    server.signal("-TERM").await;
    let refused = eventually("it is not ready", async || {
        let response = get("/readyz").await;
        (response.status() == 503).then_some(response)
    })
    .await;
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(refused.headers()["connection"], "close");
    let problem: Value = serde_json::from_str(&refused.text().await.unwrap()).unwrap();
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("shutting down"),
        "{problem}"
    );
    for path in ["/healthz", "/chats", "/models"] {
        let response = get(path).await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["connection"], "close", "{path}");
    }
    // It was given ten minutes; a second signal ends the wait, and the rest is done in order.
    let (status, log) = server.terminate("-TERM").await;
    assert!(status.success(), "{log}");
    assert!(log.contains("shutting down"), "{log}");
}

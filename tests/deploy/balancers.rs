//! The configurations of nginx, `HAProxy` and Caddy as they are shipped, but for addresses, before three real nodes on one
//! PostgreSQL: the requests of a chat meet on one node, and when that one goes nobody notices.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use uuid::Uuid;

use super::{content, missing, tool, with, write_certificate};
use crate::support::app::eventually;
use crate::support::database::Kind;
use crate::support::ports::free_port;
use crate::support::process::{self, Server};
use crate::support::{Database, Reader};

const HOST: &str = "chat.example.org";
/// The addresses that the shipped files have in the places of the nodes'.
const NODES: [&str; 3] = ["10.0.0.11:8080", "10.0.0.12:8080", "10.0.0.13:8080"];
/// So many chats do not all have the same node by chance.
const CHATS: usize = 12;
/// Enough polls to come across a connection that has just been closed.
const POLLS: usize = 30;

/// Three nodes, and a log of each in which its requests stand.
struct Nodes {
    database: Database,
    servers: Vec<Option<Server>>,
    token: String,
}

impl Nodes {
    async fn start() -> Self {
        let database = Database::create(Kind::Postgres).await;
        let (url, dir) = (database.url.clone(), database.dir());
        let variables = [
            ("POLLEN_DATABASE_URL", url.as_str()),
            ("POLLEN_DATABASE__MAX_CONNECTIONS", "6"),
            // A header of a gateway lets somebody in, if the proxy in front lets it through.
            ("POLLEN_AUTH__MODES", "token,proxy"),
            (
                "POLLEN_AUTH__SECRET",
                "a secret of the tests that is long enough",
            ),
            ("POLLEN_TRUSTED_PROXIES", "127.0.0.1"),
            ("POLLEN_DEMO__TOKENS_PER_SECOND", "200"),
            // Polls are told of too.
            ("RUST_LOG", "pollen=debug"),
        ];
        let arguments = ["token", "create", "--user", "alice"];
        let output = process::run(&dir, &variables, &arguments).await;
        let said = content(&output);
        let token = said
            .split_whitespace()
            .find(|word| word.starts_with("pln_"));
        let mut servers = Vec::new();
        for number in 0..NODES.len() {
            let log = dir.join(format!("node-{number}.log"));
            let server = Server::try_start(&dir, &variables, &log).await;
            servers.push(Some(server.expect("a node starts")));
        }
        let token = token.unwrap().to_owned();
        Self {
            database,
            servers,
            token,
        }
    }

    /// The shipped addresses, and in their places those of the nodes.
    fn places(&self) -> Vec<(&str, &str)> {
        let addresses = self.servers.iter().map(|server| {
            let base = server.as_ref().unwrap().base.as_str();
            base.strip_prefix("http://").unwrap()
        });
        NODES.into_iter().zip(addresses).collect()
    }

    /// The node that had this request. None if none had it, and it is an error if several had.
    fn which(&self, request: &str) -> Option<usize> {
        let had = |number: &usize| {
            let log = self.database.dir().join(format!("node-{number}.log"));
            fs::read_to_string(log).unwrap().contains(request)
        };
        let all: Vec<usize> = (0..NODES.len()).filter(had).collect();
        assert!(all.len() < 2, "{request} came to {all:?}");
        all.first().copied()
    }
}

/// A balancer that runs, and a client that knows nothing else. Dropping it kills it.
struct Balancer {
    _child: Child,
    client: reqwest::Client,
    base: String,
    token: String,
}

/// What an answer says, and by which name the nodes' logs know its request.
struct Answered {
    request: String,
    status: StatusCode,
    is_https: bool,
    body: Value,
}

impl Balancer {
    /// Runs it until it answers.
    async fn run(mut command: Command, package: &str, port: u16, certificate: &str) -> Self {
        let program = command
            .as_std()
            .get_program()
            .to_string_lossy()
            .into_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", missing(&program, package)));
        let balancer = Self {
            _child: child,
            client: client(port, certificate),
            base: format!("https://{HOST}:{port}"),
            token: String::new(),
        };
        eventually("the balancer finds its nodes", async || {
            let url = format!("{}/readyz", balancer.base);
            let answer = balancer.client.get(url).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        balancer
    }

    /// Speaks to it as the user of this token.
    fn known_by(self, token: &str) -> Self {
        Self {
            token: token.to_owned(),
            ..self
        }
    }

    async fn get(&self, path: &str) -> Answered {
        self.ask(Method::GET, path, None, &[]).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Answered {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let request = format!(
            "request-{}-of-the-test",
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let mut asked = self
            .client
            .request(method, format!("{}{path}", self.base))
            .header("x-request-id", &request);
        if headers.iter().all(|(name, _)| *name != "x-forwarded-user") {
            asked = asked.bearer_auth(&self.token);
        }
        for (name, value) in headers {
            asked = asked.header(*name, *value);
        }
        if let Some(body) = body {
            asked = asked.json(&body);
        }
        let answer = asked.send().await.unwrap();
        let status = answer.status();
        let is_https = answer.headers().contains_key("strict-transport-security");
        let body = answer.json().await.unwrap_or_default();
        Answered {
            request,
            status,
            is_https,
            body,
        }
    }
}

/// It takes the name for the loopback address, and knows this certificate alone.
#[expect(
    clippy::disallowed_methods,
    reason = "the tests' own client, on loopback"
)]
fn client(port: u16, certificate: &str) -> reqwest::Client {
    let certificate = reqwest::Certificate::from_pem(certificate.as_bytes()).unwrap();
    reqwest::Client::builder()
        .no_proxy()
        .resolve(HOST, SocketAddr::from(([127, 0, 0, 1], port)))
        .tls_certs_only([certificate])
        .timeout(crate::support::app::PATIENCE)
        .build()
        .unwrap()
}

/// What all balancers have to do before nodes.
async fn serves_chats(run: impl AsyncFn(&Path, &[(&str, &str)]) -> Balancer) {
    let dir = tempfile::tempdir().unwrap();
    let mut nodes = Nodes::start().await;
    let balancer = run(dir.path(), &nodes.places()).await;
    let balancer = balancer.known_by(&nodes.token);
    chats_stay_with_their_nodes(&nodes, &balancer).await;
    what_is_not_for_everybody_stays_inside(&nodes, &balancer).await;
    a_node_goes_and_nobody_notices(&mut nodes, &balancer).await;
}

async fn chats_stay_with_their_nodes(nodes: &Nodes, balancer: &Balancer) {
    let mut used = HashSet::new();
    for _ in 0..CHATS {
        let chat = Uuid::now_v7();
        let body = json!({"uuid": chat, "message": "Where are you?"});
        let path = format!("/chat/create?chat={chat}");
        let created = balancer.ask(Method::POST, &path, Some(body), &[]).await;
        assert_eq!(created.status, StatusCode::CREATED);
        assert!(created.is_https, "it knows that people come by HTTPS");
        let node = nodes.which(&created.request).expect("a node had it");
        used.insert(node);

        let answer = eventually("the answer is begun", async || {
            let poll = balancer.get(&format!("/chat/{chat}/messages")).await;
            assert_eq!(nodes.which(&poll.request), Some(node), "a messages poll");
            let message = poll.body["messages"].as_array()?.last()?.clone();
            (message["role"] == "assistant").then_some(message)
        })
        .await;
        let answer = answer["uuid"].as_str().unwrap();
        for query in [
            format!("{chat}"),
            format!("{chat}:{answer}:3&chat={answer}"),
        ] {
            let path = format!("/chat/message/{answer}/tokens/0?chat={query}");
            let named = balancer.get(&path).await;
            assert_eq!(
                nodes.which(&named.request),
                Some(node),
                "a poll that names the chat"
            );
        }
        let page = format!("https://{HOST}/chat/{chat}");
        let path = format!("/chat/message/{answer}/tokens/0");
        let by_page = [("hx-current-url", page.as_str())];
        let by_page = balancer.ask(Method::GET, &path, None, &by_page).await;
        assert_eq!(
            nodes.which(&by_page.request),
            Some(node),
            "a poll of a page"
        );

        let text = read_to_its_end(nodes, balancer, answer).await;
        let stored = balancer.get(&format!("/chat/message/{answer}")).await;
        assert_eq!(stored.body["content"], text.as_str());
        let body = json!({"message": "And now?"});
        let path = format!("/chat/{chat}/send");
        let sent = balancer.ask(Method::POST, &path, Some(body), &[]).await;
        assert_eq!(sent.status, StatusCode::ACCEPTED);
        assert_eq!(nodes.which(&sent.request), Some(node), "a send");
    }
    assert!(used.len() > 1, "all chats are on the node {used:?}");

    // What is of no chat is not all one node's.
    let mut used = HashSet::new();
    eventually("every node has its share of the rest", async || {
        let list = balancer.get("/chat/list").await;
        used.insert(nodes.which(&list.request).unwrap());
        (used.len() == NODES.len()).then_some(())
    })
    .await;
}

/// As a client that names no chat: its polls meet on one node, whichever, and it reads what is written.
async fn read_to_its_end(nodes: &Nodes, balancer: &Balancer, answer: &str) -> String {
    let mut reader = Reader::default();
    let mut used = HashSet::new();
    eventually("the answer is read", async || {
        let path = format!("/chat/message/{answer}/tokens/{}", reader.position);
        let poll = balancer.get(&path).await;
        assert_eq!(poll.status, StatusCode::OK);
        used.insert(nodes.which(&poll.request).unwrap());
        reader.apply(&poll.body);
        (reader.status == "completed").then_some(())
    })
    .await;
    assert_eq!(used.len(), 1, "the polls of a message are all one node's");
    reader.text
}

async fn what_is_not_for_everybody_stays_inside(nodes: &Nodes, balancer: &Balancer) {
    let metrics = balancer.get("/metrics").await;
    assert_eq!(metrics.status, StatusCode::NOT_FOUND);
    assert_eq!(nodes.which(&metrics.request), None, "no node was asked");
    // The gateway's header is believed of trusted addresses, of which the balancer has one.
    let forged = [("x-forwarded-user", "mallory")];
    let forged = balancer.ask(Method::GET, "/chat/list", None, &forged).await;
    assert_eq!(forged.status, StatusCode::UNAUTHORIZED);
    assert!(nodes.which(&forged.request).is_some());
    let known = balancer.get("/chat/list").await;
    assert_eq!(known.status, StatusCode::OK);
}

/// First one that is told to end, then one that is killed: the last one does the work of all.
async fn a_node_goes_and_nobody_notices(nodes: &mut Nodes, balancer: &Balancer) {
    for signal in ["-TERM", "-KILL"] {
        let chat = Uuid::now_v7();
        let body = json!({"uuid": chat});
        let path = format!("/chat/create?chat={chat}");
        let created = balancer.ask(Method::POST, &path, Some(body), &[]).await;
        assert_eq!(created.status, StatusCode::CREATED);
        let node = nodes.which(&created.request).unwrap();
        let server = nodes.servers[node].take().unwrap();
        server.signal(signal).await;
        let path = format!("/chat/{chat}/messages");
        let mut taken_over = 0;
        eventually("others take over", async || {
            let poll = balancer.get(&path).await;
            assert_eq!(poll.status, StatusCode::OK, "after {signal}");
            taken_over += usize::from(nodes.which(&poll.request) != Some(node));
            (taken_over == POLLS).then_some(())
        })
        .await;
        let body = json!({"message": "Who is there?"});
        let path = format!("/chat/{chat}/send");
        let sent = balancer.ask(Method::POST, &path, Some(body), &[]).await;
        assert_eq!(sent.status, StatusCode::ACCEPTED, "after {signal}");
        drop(server);
    }
}

/// What all balancers have to do with nodes that break off before they answer.
async fn asks_twice_only_to_read(run: impl AsyncFn(&Path, &[(&str, &str)]) -> Balancer) {
    let dir = tempfile::tempdir().unwrap();
    let mut broken = Vec::new();
    for _ in NODES {
        broken.push(Broken::start().await);
    }
    let addresses = broken.iter().map(|node| node.address.as_str());
    let places: Vec<(&str, &str)> = NODES.into_iter().zip(addresses).collect();
    let balancer = run(dir.path(), &places).await;
    let mut times = Vec::new();
    for (method, path) in [
        // First, while none of them is left alone because of another request.
        (
            Method::GET,
            "/chat/01990f5e-7c1a-7b6e-9f0a-3c5d8e2b4a61/messages",
        ),
        (
            Method::POST,
            "/chat/01990f5e-7c1a-7b6e-9f0a-3c5d8e2b4a61/send",
        ),
        (
            Method::PUT,
            "/chat/message/01990f5e-7c1a-7b6e-9f0a-3c5d8e2b4a61",
        ),
        (Method::PATCH, "/chat/01990f5e-7c1a-7b6e-9f0a-3c5d8e2b4a61"),
        (Method::DELETE, "/chat/01990f5e-7c1a-7b6e-9f0a-3c5d8e2b4a61"),
    ] {
        // Until they are no longer left alone because of the request before.
        eventually("a node is asked", async || {
            let before = asked(&broken);
            // A 502, or a connection that is closed as the node's was.
            let url = format!("{}{path}", balancer.base);
            let answer = balancer.client.request(method.clone(), url).send().await;
            assert!(
                !answer.is_ok_and(|answer| answer.status().is_success()),
                "{method}"
            );
            let came = asked(&broken) - before;
            (came > 0).then(|| times.push((method.clone(), came)))
        })
        .await;
    }
    for (method, came) in &times {
        match *method {
            Method::GET => assert!(*came > 1, "{method} came {came} times"),
            _ => assert_eq!(*came, 1, "{method} came {came} times"),
        }
    }
}

/// A node that takes requests and hangs up, but says that it is well.
struct Broken {
    address: String,
    asked: Arc<AtomicU32>,
}

impl Broken {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let counter = Arc::clone(&counter);
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                        if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    if head.starts_with(b"GET /readyz ") {
                        let well =
                            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
                        let _ = stream.write_all(well.as_bytes()).await;
                    } else {
                        counter.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        Self { address, asked }
    }
}

/// Requests that have come to all of them.
fn asked(nodes: &[Broken]) -> u32 {
    let counts = nodes.iter().map(|node| node.asked.load(Ordering::SeqCst));
    counts.sum()
}

fn path(dir: &Path, name: &str) -> String {
    dir.join(name).to_str().unwrap().to_owned()
}

async fn nginx(dir: &Path, nodes: &[(&str, &str)]) -> Balancer {
    let certificate = write_certificate(dir, HOST);
    let (plain, port) = (free_port(), free_port());
    fs::create_dir(dir.join("pollen")).unwrap();
    for part in ["balance.conf", "proxy.conf"] {
        let shipped = Path::new("deploy/nginx/pollen").join(part);
        fs::copy(shipped, dir.join("pollen").join(part)).unwrap();
    }
    let listen = [
        format!("listen 127.0.0.1:{plain};"),
        format!("listen 127.0.0.1:{port} ssl http2;"),
    ];
    let (cert, key) = (path(dir, "cert.pem"), path(dir, "key.pem"));
    let changes = [
        ("listen 80;", listen[0].as_str()),
        ("listen [::]:80;", ""),
        ("listen 443 ssl http2;", listen[1].as_str()),
        ("listen [::]:443 ssl http2;", ""),
        ("/etc/ssl/pollen/fullchain.pem", cert.as_str()),
        ("/etc/ssl/pollen/key.pem", key.as_str()),
    ];
    let site = with("deploy/nginx/pollen.conf", &[nodes, &changes].concat());
    fs::write(dir.join("pollen.conf"), site).unwrap();
    // What a distribution's own file has around it; all that it writes goes here.
    let mut temporary = String::new();
    for what in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let place = path(dir, what);
        writeln!(temporary, "{what}_temp_path {place};").unwrap();
    }
    let whole = format!(
        "daemon off; master_process off; pid {}; error_log stderr; events {{}}\n\
         http {{ access_log off; {temporary} include pollen.conf; }}",
        path(dir, "pid")
    );
    fs::write(dir.join("nginx.conf"), whole).unwrap();
    let (prefix, file) = (path(dir, ""), path(dir, "nginx.conf"));
    let arguments = ["-t", "-q", "-e", "stderr", "-p", &prefix, "-c", &file];
    let said = content(&tool("nginx", "nginx", &arguments).await);
    assert_eq!(said.trim(), "", "warnings count too");
    let mut nginx = Command::new("nginx");
    nginx
        .args(["-e", "stderr", "-p", &prefix, "-c", &file])
        .stderr(Stdio::null());
    Balancer::run(nginx, "nginx", port, &certificate).await
}

async fn haproxy(dir: &Path, nodes: &[(&str, &str)]) -> Balancer {
    let certificate = write_certificate(dir, HOST);
    let (plain, port, both) = (free_port(), free_port(), path(dir, "both.pem"));
    let bind = [
        format!("bind 127.0.0.1:{plain}"),
        format!("bind 127.0.0.1:{port} ssl"),
    ];
    let changes = [
        ("bind :80", bind[0].as_str()),
        ("bind :443 ssl", bind[1].as_str()),
        ("/etc/haproxy/pollen.pem", both.as_str()),
    ];
    let file = path(dir, "haproxy.cfg");
    let config = with("deploy/haproxy/haproxy.cfg", &[nodes, &changes].concat());
    fs::write(&file, config).unwrap();
    let said = content(&tool("haproxy", "haproxy", &["-c", "-q", "-f", &file]).await);
    assert_eq!(said.trim(), "", "warnings count too");
    let mut haproxy = Command::new("haproxy");
    haproxy.args(["-db", "-f", &file]).stderr(Stdio::null());
    Balancer::run(haproxy, "haproxy", port, &certificate).await
}

async fn caddy(dir: &Path, nodes: &[(&str, &str)]) -> Balancer {
    let shipped = ["fmt", "--diff", "deploy/caddy/Caddyfile"];
    let formatted = content(&tool("caddy", "caddy", &shipped).await);
    let is_changed = |line: &str| line.starts_with(['+', '-']);
    assert!(!formatted.lines().any(is_changed), "{formatted}");

    let certificate = write_certificate(dir, HOST);
    let port = free_port();
    let (cert, key) = (path(dir, "cert.pem"), path(dir, "key.pem"));
    // No administration, no redirects and no authority of its own: a certificate is there.
    let site = format!(
        "{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n\
         https://{HOST}:{port} {{\n\tbind 127.0.0.1\n\ttls {cert} {key}\n"
    );
    let changes = [("chat.example.org {\n", site.as_str())];
    let file = path(dir, "Caddyfile");
    let config = with("deploy/caddy/Caddyfile", &[nodes, &changes].concat());
    fs::write(&file, config).unwrap();
    let caddy = |what: &str| {
        let mut caddy = Command::new("caddy");
        caddy
            .args([what, "--config", &file, "--adapter", "caddyfile"])
            .env("HOME", dir)
            .env("XDG_DATA_HOME", dir)
            .env("XDG_CONFIG_HOME", dir)
            .stderr(Stdio::null());
        caddy
    };
    let is_valid = caddy("validate").status().await;
    let is_valid =
        is_valid.unwrap_or_else(|error| panic!("{}: {error}", missing("caddy", "caddy")));
    assert!(is_valid.success());
    Balancer::run(caddy("run"), "caddy", port, &certificate).await
}

/// Each balancer does each of these.
macro_rules! balancers {
    ($($balancer:ident),*) => {$(
        mod $balancer {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn serves_chats() {
                super::serves_chats(super::$balancer).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn asks_twice_only_to_read() {
                super::asks_twice_only_to_read(super::$balancer).await;
            }
        }
    )*};
}

balancers!(nginx, haproxy, caddy);

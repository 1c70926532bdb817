//! A whole run in which every secret there is has been planted, with the log turned all the way up: none of them is
//! found in what the server says, in its log, on its pages, in its files or in its database.

use std::fmt::Write as _;
use std::io::{Cursor, Read as _};
use std::path::Path;

use pollen::http::surface;
use reqwest::Method;
use serde_json::{Value, json};
use zip::ZipArchive;

use super::callers::{at, jwt};
use crate::privacy::dump;
use crate::support::app::eventually;
use crate::support::database::Kind;
use crate::support::postgres::Cluster;
use crate::support::process::run;
use crate::support::{Database, Redis, Script, Server, Upstream, http_client};

const ENVIRONMENT_KEY: &str = "sk-quixplant-environment-0001";
const FILE_KEY: &str = "sk-quixplant-file-0002";
const HEADER: &str = "quixplant-header-0003";
const DATABASE_PASSWORD: &str = "quixplant-database-0004";
const REDIS_PASSWORD: &str = "quixplant-redis-0005";
const COOKIE_SECRET: &str = "quixplant-cookies-0006-of-forty-characters";
const JWT_SECRET: &str = "quixplant-jwt-0007-of-more-than-forty-characters";
const WRONG_TOKEN: &str = "pln_quixplantwrong0008";
const IDEMPOTENCY_KEY: &str = "quixplant-idempotency-0009";
/// What a user says, and what a model answers.
const SAID: &str = "quixplantsaid0010";

/// What was planted, under the name by which a failure tells it.
struct Planted(Vec<(&'static str, String)>);

impl Planted {
    fn new() -> Self {
        let all = [
            ("the provider's key of the environment", ENVIRONMENT_KEY),
            ("the provider's key of the file", FILE_KEY),
            ("the provider's header", HEADER),
            ("the database's password", DATABASE_PASSWORD),
            ("the password of Redis", REDIS_PASSWORD),
            ("the secret of cookies", COOKIE_SECRET),
            ("the secret of JSON Web Tokens", JWT_SECRET),
            ("a token that was none", WRONG_TOKEN),
        ];
        Self(all.map(|(name, secret)| (name, secret.to_owned())).into())
    }

    fn add(&mut self, name: &'static str, secret: &str) {
        assert!(secret.len() > 10, "{name} is no secret: {secret}");
        self.0.push((name, secret.to_owned()));
    }

    /// The secrets in this, in any form.
    fn found_in(&self, place: &str, bytes: &[u8], but: &[&str]) -> Vec<String> {
        let text = String::from_utf8_lossy(bytes);
        let mut found = Vec::new();
        for (name, secret) in self.0.iter().filter(|(name, _)| !but.contains(name)) {
            for form in forms(secret) {
                if let Some(at) = text.find(&form) {
                    let around: String = text[..at].chars().rev().take(120).collect();
                    let around: String = around.chars().rev().collect();
                    found.push(format!("{name} is in {place}, after {around:?}"));
                }
            }
        }
        found
    }
}

/// A secret as it is, and as it may be on its way.
fn forms(secret: &str) -> Vec<String> {
    let percent = secret.replace('-', "%2D").replace('_', "%5F");
    let hex = secret.bytes().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    });
    let mut forms = vec![
        secret.to_owned(),
        hex.to_uppercase(),
        hex,
        base64(secret.as_bytes(), *b"+/"),
        base64(secret.as_bytes(), *b"-_"),
        format!("{:?}", secret.as_bytes()),
    ];
    if percent != secret {
        forms.push(percent);
    }
    forms.sort();
    forms.dedup();
    forms
}

/// RFC 4648 with these for its last two characters, and without what it may be filled up with.
fn base64(bytes: &[u8], last: [u8; 2]) -> String {
    let alphabet: Vec<u8> = (b'A'..=b'Z')
        .chain(b'a'..=b'z')
        .chain(b'0'..=b'9')
        .chain(last)
        .collect();
    bytes
        .chunks(3)
        .flat_map(|three| {
            let bits = three
                .iter()
                .enumerate()
                .fold(0_usize, |bits, (place, byte)| {
                    bits | usize::from(*byte) << (16 - 8 * place)
                });
            let places = [18, 12, 6, 0].into_iter().take(three.len() + 1);
            places
                .map(|place| char::from(alphabet[bits >> place & 63]))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// All that the server was heard to say: where, and what.
struct Heard {
    base: String,
    client: reqwest::Client,
    said: Vec<(String, Vec<u8>)>,
}

impl Heard {
    fn of(server: &Server) -> Self {
        Self {
            base: server.base.clone(),
            client: http_client(),
            said: vec![("the first line".to_owned(), server.summary.clone().into())],
        }
    }

    /// Asks, and writes down what comes of it. The answer's status, headers and body.
    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> (u16, reqwest::header::HeaderMap, Vec<u8>) {
        let (status, headers, body) = self.ask_silently(method.clone(), path, headers, body).await;
        // An address is known to whoever asks for it.
        let path = path.split(['?', '#']).next().unwrap();
        let place = format!("the answer {status} to {method} {path}");
        self.said.push((
            format!("the headers of {place}"),
            format!("{headers:?}").into(),
        ));
        for piece in unpacked(&body) {
            self.said.push((place.clone(), piece));
        }
        (status, headers, body)
    }

    /// The same for an answer that is to hold a secret.
    async fn ask_silently(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> (u16, reqwest::header::HeaderMap, Vec<u8>) {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        (status, headers, answer.bytes().await.unwrap().to_vec())
    }
}

/// The files in an archive, or what it is if it is none.
fn unpacked(body: &[u8]) -> Vec<Vec<u8>> {
    let Ok(mut archive) = ZipArchive::new(Cursor::new(body)) else {
        return vec![body.to_vec()];
    };
    let mut files = Vec::new();
    for place in 0..archive.len() {
        let mut file = Vec::new();
        let mut entry = archive.by_index(place).unwrap();
        entry.read_to_end(&mut file).unwrap();
        files.push(file);
    }
    assert!(!files.is_empty());
    files
}

/// A model's server that tells everybody what it was sent, the key too.
async fn telltale() -> Upstream {
    Upstream::start(|request| {
        let tale = json!({"error": {"message": format!("no: {} {}", request.head, request.asked()),
            "type": "invalid_request_error", "code": "invalid_api_key"}});
        let asked = request.asked();
        match asked.split_whitespace().next() {
            Some("refuse") => Script::json(401, &tale),
            Some("break") => Script::json(500, &tale).header("x-tale", "1"),
            Some("mumble") => Script::stream().raw(format!("data: {tale}\n\n")),
            Some("nonsense") => {
                Script::stream().raw(format!("data: {{{}\n\n", request.head.replace("\r\n", " ")))
            }
            Some("cut") => Script::stream().say([SAID]).cut(),
            _ => Script::answer([format!("{SAID} {asked}")]),
        }
    })
    .await
}

fn config_file(dir: &Path, upstream: &Upstream) {
    let text = format!(
        "[[provider]]\nname = \"filed\"\nkind = \"openai\"\nbase_url = \"{}\"\napi_key = \"{FILE_KEY}\"\nmodel = \"scripted-model\"\n\
         headers = {{ \"x-extra\" = \"{HEADER}\" }}\nquery = {{ extra = \"{HEADER}\" }}\n\n\
         [[model]]\nid = \"second\"\nprovider = \"filed\"\nupstream = \"scripted-model\"\ncache = true\n",
        upstream.base_url()
    );
    std::fs::write(dir.join("pollen.toml"), text).unwrap();
}

/// Whatever a user, an admin and nobody can ask for, in all forms.
async fn everything(heard: &mut Heard, admin: &str, chat: &str, answer: &str, link: &str) {
    let bearer = format!("Bearer {admin}");
    for (method, route) in surface() {
        if method != Method::GET {
            continue;
        }
        let uuid = if route.starts_with("/chat/message") || route.starts_with("/shared") {
            answer
        } else {
            chat
        };
        let path = route
            .replace("/shared/{secret}", link)
            .replace("{uuid}", uuid)
            .replace("{last_uuid}", answer)
            .replace("{position}", "0")
            .replace("{slug}", "chat-not-found");
        let forms: [&[(&str, &str)]; 3] = [
            &[],
            &[("accept", "text/html")],
            &[("accept", "text/html"), ("hx-request", "true")],
        ];
        for form in forms {
            // A link's own pages have the link, which they poll; nothing else does.
            let is_link = route.starts_with("/shared");
            let known = [form, &[("authorization", bearer.as_str())]].concat();
            if is_link {
                heard.ask_silently(Method::GET, &path, &known, None).await;
            } else {
                heard.ask(Method::GET, &path, &known, None).await;
                heard.ask(Method::GET, &path, form, None).await;
            }
        }
    }
}

/// Asks what the model's server answers with a tale, and waits for the end of it.
async fn asked(
    heard: &mut Heard,
    bearer: &str,
    text: &str,
    model: Option<&str>,
) -> (String, String) {
    let headers = [
        ("authorization", bearer),
        ("idempotency-key", IDEMPOTENCY_KEY),
    ];
    let mut headers = headers.to_vec();
    // A key is for one request.
    if text != "tell" || model.is_some() {
        headers.pop();
    }
    let body = json!({"title": "A chat", "message": format!("{text} {SAID}"), "model": model});
    let made = heard
        .ask(Method::POST, "/chat/create", &headers, Some(body))
        .await;
    assert_eq!(made.0, 201, "{}", String::from_utf8_lossy(&made.2));
    let made: Value = serde_json::from_slice(&made.2).unwrap();
    let chat = made["uuid"].as_str().unwrap().to_owned();
    let path = format!("/chat/{chat}/messages");
    let answer = eventually("the answer has ended", async || {
        let read = heard
            .ask_silently(Method::GET, &path, &headers[..1], None)
            .await;
        let read: Value = serde_json::from_slice(&read.2).unwrap();
        let answer = read["messages"].get(1)?;
        (answer["status"] != "pending").then(|| answer["uuid"].as_str().unwrap().to_owned())
    })
    .await;
    for path in [
        path,
        format!("/chat/message/{answer}"),
        format!("/chat/message/{answer}/about"),
        format!("/chat/{chat}"),
    ] {
        for form in ["application/json", "text/html"] {
            heard
                .ask(Method::GET, &path, &[headers[0], ("accept", form)], None)
                .await;
        }
    }
    (chat, answer)
}

/// What the commands say that do not serve, and the complaints about what is set wrong.
async fn on_the_command_line(
    dir: &Path,
    variables: &[(&str, &str)],
    planted: &Planted,
) -> Vec<String> {
    let mut found = Vec::new();
    for arguments in [
        &["config"][..],
        &["--help"],
        &["check"],
        &["models"],
        &["migrate"],
        &["token", "list"],
        &["user", "list"],
        &["serve", "--listen", "nonsense"],
        &["config", "--database-url"],
    ] {
        let output = run(dir, variables, arguments).await;
        let text = [output.stdout, output.stderr].concat();
        found.extend(planted.found_in(&format!("`pollen {}`", arguments.join(" ")), &text, &[]));
    }
    for wrong in [
        (
            "POLLEN_DATABASE_URL",
            format!("postgres://postgres:{DATABASE_PASSWORD}@127.0.0.1:1/none"),
        ),
        (
            "POLLEN_DATABASE_URL",
            format!("postgres://postgres:{DATABASE_PASSWORD}@127.0.0.1:port/none"),
        ),
        (
            "POLLEN_DATABASE_URL",
            format!("mysql://root:{DATABASE_PASSWORD}@127.0.0.1/none"),
        ),
        (
            "POLLEN_REDIS_URL",
            format!("http://:{REDIS_PASSWORD}@127.0.0.1"),
        ),
        (
            "POLLEN_REDIS_URL",
            format!("redis://:{REDIS_PASSWORD}@127.0.0.1:port"),
        ),
        ("POLLEN_AUTH__SECRET", "quixplant-cookies-0006".to_owned()),
        ("POLLEN_AUTH__JWT__SECRET", "quixplant-jwt-0007".to_owned()),
        ("POLLEN_AUTH__SECRETS", COOKIE_SECRET.to_owned()),
        ("POLLEN_OPENAI__API_KEYS", ENVIRONMENT_KEY.to_owned()),
        ("OPENAI_API_KEY", format!("{ENVIRONMENT_KEY}\nx")),
    ] {
        let mut wrong_variables = variables.to_vec();
        wrong_variables.retain(|(name, _)| *name != wrong.0);
        wrong_variables.push((wrong.0, &wrong.1));
        wrong_variables.push(("POLLEN_DATABASE__ACQUIRE_TIMEOUT_MS", "300"));
        let output = run(dir, &wrong_variables, &["migrate"]).await;
        let text = [output.stdout, output.stderr].concat();
        let mut planted = Planted(planted.0.clone());
        planted.add("a secret that is too short", "quixplant-cookies-0006");
        planted.add("another", "quixplant-jwt-0007");
        found.extend(planted.found_in(&format!("the complaint about {}", wrong.0), &text, &[]));
    }
    found
}

/// The whole run.
#[expect(
    clippy::too_many_lines,
    reason = "one story, in which each secret comes up where it would"
)]
async fn whole_run(kind: Kind, format: &str) {
    let mut planted = Planted::new();
    let upstream = telltale().await;
    let mut cluster = match kind {
        Kind::Postgres => Some(Cluster::of_its_own().await),
        Kind::Sqlite => None,
    };
    let database = match &cluster {
        Some(cluster) => Database::create_in(cluster).await,
        None => Database::create(kind).await,
    };
    let url = database
        .url
        .replace("postgres@", &format!("postgres:{DATABASE_PASSWORD}@"));
    let redis = Redis::start().await;
    let mut connection = redis.connect().await;
    let set: Result<String, _> = redis::cmd("CONFIG")
        .arg("SET")
        .arg("requirepass")
        .arg(REDIS_PASSWORD)
        .query_async(&mut connection)
        .await;
    set.unwrap();
    let redis_url = redis
        .url()
        .replace("redis://", &format!("redis://:{REDIS_PASSWORD}@"));
    let dir = tempfile::tempdir().unwrap();
    config_file(dir.path(), &upstream);
    let base_url = upstream.base_url();
    let variables = [
        ("POLLEN_DATABASE_URL", url.as_str()),
        ("POLLEN_REDIS_URL", &redis_url),
        ("OPENAI_API_KEY", ENVIRONMENT_KEY),
        ("POLLEN_OPENAI__BASE_URL", &base_url),
        ("POLLEN_OPENAI__MODEL", "scripted-model"),
        ("POLLEN_DEFAULT_PROVIDER", "openai"),
        ("POLLEN_AUTH__MODES", "token,jwt,anonymous"),
        ("POLLEN_AUTH__SECRET", COOKIE_SECRET),
        ("POLLEN_AUTH__JWT__SECRET", JWT_SECRET),
        ("POLLEN_UPSTREAM__MAX_RETRIES", "1"),
        ("POLLEN_LIMITS__UNKNOWN_PER_MINUTE", "0"),
        ("POLLEN_LOG__FILTER", "trace"),
        ("POLLEN_LOG__FORMAT", format),
    ];
    let mut found = on_the_command_line(dir.path(), &variables, &planted).await;
    let output = run(
        dir.path(),
        &variables,
        &["token", "create", "--user", "alice", "--scope", "admin"],
    )
    .await;
    // The one that is printed, which is what the command is for.
    let token = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    planted.add("the token of the command line", &token);
    found.extend(planted.found_in("what `token create` says besides", &output.stderr, &[]));

    let log = dir.path().join("log");
    let mut server = Server::try_start(dir.path(), &variables, &log)
        .await
        .expect("it starts");
    let mut heard = Heard::of(&server);
    let bearer = format!("Bearer {token}");
    let (chat, answer) = asked(&mut heard, &bearer, "tell", None).await;
    asked(&mut heard, &bearer, "tell", Some("second")).await;
    for tale in ["refuse", "break", "mumble", "nonsense", "cut"] {
        asked(&mut heard, &bearer, tale, None).await;
        asked(&mut heard, &bearer, tale, Some("second")).await;
    }
    let known = [("authorization", bearer.as_str())];
    let secret_in = |body: &[u8], field: &str| {
        let body: Value = serde_json::from_slice(body).unwrap();
        body[field].as_str().unwrap().to_owned()
    };
    // The four answers that hold a secret, which they are for, are not written down.
    let path = format!("/chat/{chat}/shares");
    let made = heard
        .ask_silently(Method::POST, &path, &known, Some(json!({})))
        .await;
    let link = secret_in(&made.2, "url");
    let (_, secret) = link.rsplit_once('/').unwrap();
    planted.add("the secret of a link", secret);
    let link = format!("/shared/{secret}");
    let made = heard
        .ask_silently(
            Method::POST,
            "/tokens",
            &known,
            Some(json!({"name": "made", "scope": "read"})),
        )
        .await;
    let second = secret_in(&made.2, "secret");
    planted.add("the token of the page", &second);
    let signed_in = heard
        .ask_silently(
            Method::POST,
            "/sign-in",
            &[],
            Some(json!({"token": second})),
        )
        .await;
    let cookie = signed_in.1["set-cookie"]
        .to_str()
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    planted.add("the cookie of a session", cookie.split_once('=').unwrap().1);
    let first = heard.ask_silently(Method::GET, "/chats", &[], None).await;
    let anonymous = first.1["set-cookie"]
        .to_str()
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    planted.add(
        "the cookie of a browser",
        anonymous.split_once('=').unwrap().1,
    );
    let signed = jwt(&json!({"sub": "jane", "exp": at(600)}), JWT_SECRET);
    planted.add("a JSON Web Token", &signed);

    for headers in [
        [("cookie", cookie.as_str())],
        [("cookie", anonymous.as_str())],
        [("authorization", &format!("Bearer {signed}"))],
        [("authorization", &format!("Bearer {WRONG_TOKEN}"))],
        [("authorization", &format!("Bearer {signed}x"))],
        [("cookie", &format!("{cookie}x"))],
        [("referer", &format!("{}{link}", heard.base))],
        [("hx-current-url", &format!("{}{link}", heard.base))],
    ] {
        for path in [
            "/me",
            "/account",
            "/chats",
            "/tokens",
            "/sessions",
            "/nowhere",
        ] {
            for form in ["application/json", "text/html"] {
                let headers = [headers[0], ("accept", form)];
                heard.ask(Method::GET, path, &headers, None).await;
            }
        }
    }
    for (path, body) in [
        ("/sign-in", json!({"token": WRONG_TOKEN})),
        (
            "/sign-in",
            json!({"token": format!("{token}x"), "next": "/"}),
        ),
        ("/sign-in", json!({"tokens": WRONG_TOKEN})),
        ("/sign-in", json!({"token": [WRONG_TOKEN]})),
        ("/chat/create", json!({"message": 7, "model": WRONG_TOKEN})),
    ] {
        heard
            .ask(
                Method::POST,
                path,
                &[("accept", "text/html")],
                Some(body.clone()),
            )
            .await;
        heard.ask(Method::POST, path, &[], Some(body)).await;
    }
    for path in [
        format!("/token/{WRONG_TOKEN}"),
        format!("/{WRONG_TOKEN}"),
        link.replace("/shared/", "/chat/"),
        format!("{link}x"),
        format!("/chats?token={token}"),
        format!("/x?token={token}"),
    ] {
        heard.ask(Method::GET, &path, &known, None).await;
    }
    everything(&mut heard, &token, &chat, &answer, &link).await;
    heard
        .ask(Method::POST, "/sign-out", &[("cookie", &cookie)], None)
        .await;

    // What is written is written, and the rest goes wrong.
    for (table, rows) in dump(&database).await {
        let place = format!("the table {table}");
        found.extend(planted.found_in(&place, rows.as_bytes(), &[]));
    }
    if let Some(cluster) = &mut cluster {
        cluster.stop();
        for path in ["/me", "/chats", "/readyz", "/metrics"] {
            heard.ask(Method::GET, path, &known, None).await;
        }
    }
    drop(redis);
    for _ in 0..3 {
        heard.ask(Method::GET, "/chats", &known, None).await;
    }
    server.signal("-TERM").await;
    eventually("it ends", async || server.has_ended().then_some(())).await;

    for (place, said) in &heard.said {
        found.extend(planted.found_in(place, said, &[]));
    }
    let log = std::fs::read(&log).unwrap();
    assert!(log.len() > 10_000, "there is a log: {}", log.len());
    planted.add("what was said in a chat", SAID);
    planted.add("an idempotency key", IDEMPOTENCY_KEY);
    found.extend(planted.found_in("the log", &log, &[]));
    for entry in std::fs::read_dir(database.dir()).unwrap() {
        let path = entry.unwrap().path();
        let but = ["what was said in a chat", "an idempotency key"];
        let bytes = std::fs::read(&path).unwrap();
        found.extend(planted.found_in(&path.display().to_string(), &bytes, &but));
    }
    assert!(
        found.is_empty(),
        "told {} times:\n{}",
        found.len(),
        found.join("\n")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_told_with_postgresql_and_a_log_in_json() {
    whole_run(Kind::Postgres, "json").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_told_with_sqlite_and_a_log_in_words() {
    whole_run(Kind::Sqlite, "text").await;
}

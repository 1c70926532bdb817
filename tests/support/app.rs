//! A Pollen in this process, on a database of its own, asked over HTTP like any other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pollen::app::App;
use pollen::config::{Config, FileNeed, Layers};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::database::Kind;
use super::{Database, Reader, Upstream, http_client};

/// Between two polls of the tests' clients: the protocol does not care, and tests are in a hurry.
const POLL: Duration = Duration::from_millis(15);
/// What takes longer than this has failed.
pub const PATIENCE: Duration = Duration::from_mins(3);

pub struct TestApp {
    app: Option<App>,
    pub base: String,
    pub client: reqwest::Client,
    pub database: Database,
    pub upstream: Upstream,
    settings: BTreeMap<String, String>,
    file: Option<PathBuf>,
}

/// An answer of the server.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }
}

impl TestApp {
    pub async fn start(kind: Kind, upstream: Upstream) -> Self {
        Self::start_with(kind, upstream, &[]).await
    }

    /// With these keys of the configuration set.
    pub async fn start_with(kind: Kind, upstream: Upstream, settings: &[(&str, &str)]) -> Self {
        Self::start_on(Database::create(kind).await, upstream, settings).await
    }

    /// With this configuration file.
    pub async fn start_with_file(database: Database, upstream: Upstream, file: &Path) -> Self {
        let mut app = Self::new(database, upstream, &[]);
        app.file = Some(file.to_owned());
        app.run().await;
        app
    }

    /// With this configuration file, and these keys set besides.
    pub async fn start_with_file_and(
        database: Database,
        upstream: Upstream,
        file: &Path,
        settings: &[(&str, &str)],
    ) -> Self {
        let mut app = Self::new(database, upstream, settings);
        app.file = Some(file.to_owned());
        app.run().await;
        app
    }

    /// Another node, where the database is for several.
    pub async fn another_node_or_none(&self) -> Option<Self> {
        let is_shared = self.database.url.starts_with("postgres");
        if is_shared {
            Some(self.another_node(&[]).await)
        } else {
            None
        }
    }

    /// On a database that is there already.
    pub async fn start_on(
        database: Database,
        upstream: Upstream,
        settings: &[(&str, &str)],
    ) -> Self {
        let mut app = Self::new(database, upstream, settings);
        app.run().await;
        app
    }

    fn new(database: Database, upstream: Upstream, settings: &[(&str, &str)]) -> Self {
        let settings = settings
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        Self {
            app: None,
            base: String::new(),
            client: http_client(),
            database,
            upstream,
            settings,
            file: None,
        }
    }

    /// Another node on the same database and with the same model, with these keys set besides.
    pub async fn another_node(&self, settings: &[(&str, &str)]) -> Self {
        let mut all: Vec<(&str, &str)> = self
            .settings
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        all.extend(settings);
        Self::start_on(self.database.clone(), self.upstream.clone(), &all).await
    }

    pub fn config(&self) -> Config {
        let mut values = BTreeMap::from([
            ("listen".to_owned(), "127.0.0.1:0".to_owned()),
            ("database_url".to_owned(), self.database.url.clone()),
            ("default_provider".to_owned(), "openai".to_owned()),
            ("openai.base_url".to_owned(), self.upstream.base_url()),
            ("openai.model".to_owned(), "scripted-model".to_owned()),
            ("ledger.flush_interval_ms".to_owned(), "30".to_owned()),
            ("worker.scan_interval_ms".to_owned(), "100".to_owned()),
            // A disk that is busy with other tests is no fault of ours.
            ("database.acquire_timeout_ms".to_owned(), "30000".to_owned()),
            // A failure is to be seen at once; the tests of retries say so.
            ("upstream.max_retries".to_owned(), "0".to_owned()),
            ("shutdown.limit_ms".to_owned(), "5000".to_owned()),
        ]);
        values.extend(self.settings.clone());
        let flags = values
            .into_iter()
            .map(|(key, value)| (format!("test {key}"), key, value))
            .collect();
        Config::load(&Layers {
            file: self.file.clone().map(|path| (path, FileNeed::Required)),
            flags,
            ..Layers::default()
        })
        .unwrap()
    }

    /// Starts the server again on the same database.
    pub async fn run(&mut self) {
        assert!(self.app.is_none(), "it runs already");
        let app = App::start(&self.config()).await.unwrap();
        self.base = format!("http://{}", app.address());
        self.app = Some(app);
    }

    /// Ends the server in order and leaves the database.
    pub async fn shut_down(&mut self) {
        if let Some(app) = self.app.take() {
            app.shutdown().await;
        }
    }

    /// Waits until all work is done, ends the server, and fails if something is left over.
    pub async fn stop(mut self) {
        self.settle().await;
        self.shut_down().await;
        self.database.assert_nothing_left_over().await;
    }

    /// Ends the server with work left over on purpose.
    pub async fn abandon(mut self) {
        self.shut_down().await;
    }

    /// Waits until no chat waits for an answer.
    pub async fn settle(&self) {
        use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter};
        let db = self.database.connect().await;
        eventually("all requests have ended", async || {
            let open = entity::llm_request::Entity::find()
                .filter(entity::llm_request::Column::Status.is_in([
                    entity::llm_request::Status::Queued,
                    entity::llm_request::Status::Running,
                ]))
                .count(&db)
                .await
                .unwrap();
            (open == 0).then_some(())
        })
        .await;
        db.close().await.unwrap();
    }

    pub async fn request(
        &self,
        method: Method,
        path: &str,
        edit: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> Answer {
        let request = self.client.request(method, format!("{}{path}", self.base));
        let response = edit(request).send().await.unwrap();
        Answer {
            status: response.status(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path, |request| request).await
    }

    /// As HTMX asks for a fragment.
    pub async fn get_fragment(&self, path: &str) -> Answer {
        self.request(Method::GET, path, |r| {
            r.header("hx-request", "true").header("accept", "text/html")
        })
        .await
    }

    /// As a browser asks for a page.
    pub async fn get_page(&self, path: &str) -> Answer {
        self.request(Method::GET, path, |r| r.header("accept", "text/html"))
            .await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.request(Method::POST, path, |r| r.json(body)).await
    }

    /// A POST that says all in its path.
    pub async fn post_bare(&self, path: &str) -> Answer {
        self.request(Method::POST, path, |request| request).await
    }

    /// A POST with an idempotency key.
    pub async fn post_once(&self, path: &str, key: &str, body: &Value) -> Answer {
        self.request(Method::POST, path, |r| {
            r.header("idempotency-key", key).json(body)
        })
        .await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.request(Method::PUT, path, |r| r.json(body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.request(Method::DELETE, path, |request| request).await
    }

    /// Creates a chat; its UUID.
    pub async fn create_chat(&self) -> String {
        let chat = self
            .post("/chat/create", &json!({}))
            .await
            .expect(201)
            .json();
        chat["uuid"].as_str().unwrap().to_owned()
    }

    /// Sends a message; its UUID.
    pub async fn send(&self, chat: &str, message: &str) -> String {
        let sent = self
            .post(&format!("/chat/{chat}/send"), &json!({"message": message}))
            .await
            .expect(202)
            .json();
        sent["message"]["uuid"].as_str().unwrap().to_owned()
    }

    /// All messages of a chat, page by page.
    pub async fn messages(&self, chat: &str) -> Vec<Value> {
        let (mut messages, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self
                .get(&format!("/chat/{chat}/messages/{cursor}"))
                .await
                .expect(200)
                .json();
            messages.extend(page["messages"].as_array().unwrap().clone());
            if page["has_more"] == false {
                return messages;
            }
            page["last_uuid"].as_str().unwrap().clone_into(&mut cursor);
        }
    }

    /// Waits for the answer to a message to appear; its UUID.
    pub async fn answer_to(&self, chat: &str, message: &str) -> String {
        let found = eventually("the answer appears", async || {
            let messages = self.messages(chat).await;
            messages.into_iter().find(|m| m["reply_to"] == message)
        })
        .await;
        found["uuid"].as_str().unwrap().to_owned()
    }

    /// One token poll.
    pub async fn tokens(&self, message: &str, position: u64) -> Value {
        self.get(&format!("/chat/message/{message}/tokens/{position}"))
            .await
            .expect(200)
            .json()
    }

    /// Polls the tokens until the status is terminal; what a client that followed the protocol has.
    pub async fn read(&self, message: &str) -> Reader {
        self.read_on(message, Reader::default()).await
    }

    /// Goes on with what a client has already.
    pub async fn read_on(&self, message: &str, mut reader: Reader) -> Reader {
        eventually("the answer ends", async || {
            reader.apply(&self.tokens(message, reader.position).await);
            reader.is_done().then(|| reader.clone())
        })
        .await
    }

    /// Polls until at least this much of the text is there.
    pub async fn read_until(&self, message: &str, text: &str) -> Reader {
        let mut reader = Reader::default();
        eventually("the text grows", async || {
            reader.apply(&self.tokens(message, reader.position).await);
            reader.text.starts_with(text).then(|| reader.clone())
        })
        .await
    }

    /// Creates a chat, asks, and waits for the answer: (chat, answer, what a client read of it).
    pub async fn ask(&self, question: &str) -> (String, String, Reader) {
        let chat = self.create_chat().await;
        let (answer, reader) = self.ask_in(&chat, question).await;
        (chat, answer, reader)
    }

    /// The same in a chat that there is.
    pub async fn ask_in(&self, chat: &str, question: &str) -> (String, Reader) {
        let message = self.send(chat, question).await;
        let answer = self.answer_to(chat, &message).await;
        let reader = self.read(&answer).await;
        (answer, reader)
    }

    /// A message as its route answers it.
    pub async fn message(&self, uuid: &str) -> Value {
        self.get(&format!("/chat/message/{uuid}"))
            .await
            .expect(200)
            .json()
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(
                self.app.is_none(),
                "a test ends its server with stop() or abandon()"
            );
        }
    }
}

/// Asks again and again until there is something, and fails if that takes too long.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "waited in vain: {what}"
        );
        tokio::time::sleep(POLL).await;
    }
}

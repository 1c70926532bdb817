//! A client of a server that may be in another process: it knows an address and the protocol.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::app::PATIENCE;
use super::{Reader, http_client};

/// Between two polls when nobody says otherwise.
const POLL: Duration = Duration::from_millis(15);

pub struct Remote {
    client: reqwest::Client,
    base: String,
    poll_pause: Duration,
    /// For one response, where the client's own limit is not enough.
    patience: Option<Duration>,
    request_id: Option<&'static str>,
}

impl Remote {
    pub fn of(base: &str) -> Self {
        Self {
            client: http_client(),
            base: base.to_owned(),
            poll_pause: POLL,
            patience: None,
            request_id: None,
        }
    }

    /// Polls at this pace.
    pub fn polling_every(self, poll_pause: Duration) -> Self {
        Self { poll_pause, ..self }
    }

    /// Waits this long for each response.
    pub fn waiting(self, patience: Duration) -> Self {
        Self {
            patience: Some(patience),
            ..self
        }
    }

    /// Gives its requests this id.
    pub fn calling_itself(self, id: &'static str) -> Self {
        Self {
            request_id: Some(id),
            ..self
        }
    }

    pub async fn get(&self, path: &str) -> Value {
        let request = self.client.get(format!("{}{path}", self.base));
        self.ask(request, 200).await
    }

    pub async fn post(&self, path: &str, body: &Value, status: u16) -> Value {
        let request = self.client.post(format!("{}{path}", self.base));
        self.ask(request.json(body), status).await
    }

    async fn ask(&self, request: reqwest::RequestBuilder, status: u16) -> Value {
        let request = match self.request_id {
            Some(id) => request.header("x-request-id", id),
            None => request,
        };
        let request = match self.patience {
            Some(patience) => request.timeout(patience),
            None => request,
        };
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{}", response.url());
        response.json().await.unwrap()
    }

    /// Creates a chat with a first message.
    pub async fn create(&self, message: &str) -> Value {
        self.post("/chat/create", &json!({"message": message}), 201)
            .await
    }

    /// Waits for the answer to what was created; its UUID.
    pub async fn answer(&self, created: &Value) -> String {
        let path = created["poll_url"].as_str().unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let poll = self.get(path).await;
            if let Some(uuid) = poll["messages"][0]["uuid"].as_str() {
                return uuid.to_owned();
            }
            self.pause(deadline).await;
        }
    }

    /// Asks in a new chat, and reads the answer to its end.
    pub async fn converse(&self, message: &str) -> Reader {
        let answer = self.answer(&self.create(message).await).await;
        let mut reader = Reader::default();
        self.poll_until(&answer, &mut reader, Reader::is_done).await;
        reader
    }

    /// One token poll.
    pub async fn poll(&self, answer: &str, reader: &mut Reader) {
        let before = reader.position;
        reader.apply(
            &self
                .get(&format!("/chat/message/{answer}/tokens/{before}"))
                .await,
        );
        assert!(
            reader.position >= before,
            "P2: {} after {before}",
            reader.position
        );
    }

    /// Polls the tokens until the reader has what is waited for.
    pub async fn poll_until(&self, answer: &str, reader: &mut Reader, until: fn(&Reader) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.poll(answer, reader).await;
            if until(reader) {
                return;
            }
            self.pause(deadline).await;
        }
    }

    async fn pause(&self, deadline: Instant) {
        assert!(Instant::now() < deadline, "polled in vain");
        tokio::time::sleep(self.poll_pause).await;
    }
}

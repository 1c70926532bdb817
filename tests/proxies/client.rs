//! The main job by a script: a client that does what the protocol says, tries again whatever fails, and knows nothing of
//! what stands between it and the server.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use reqwest::{Method, StatusCode, Version};
use serde_json::{Value, json};
use uuid::Uuid;

use super::intermediary::Way;
use crate::support::Reader;
use crate::support::app::PATIENCE;

const TRY_AGAIN: Duration = Duration::from_millis(300);
/// Polls of the hasty reader: how often, and how many it does not wait for.
const HASTE: Duration = Duration::from_millis(100);
const IN_FLIGHT: usize = 4;

/// A client on its way.
pub struct Client {
    base: String,
    http: reqwest::Client,
    version: Version,
}

/// What a script got by the main job.
pub struct Told {
    pub chat: String,
    pub answer: String,
    pub reader: Reader,
    /// Polls that brought something new.
    pub growths: usize,
    /// Requests that had to be made again.
    pub failures: usize,
}

impl Client {
    pub fn new(way: &Way) -> Self {
        Self {
            base: way.base.clone(),
            http: way.client(),
            version: Version::HTTP_11,
        }
    }

    /// One that knows nothing of HTTP/1.1.
    pub fn of_1996(way: &Way) -> Self {
        Self {
            version: Version::HTTP_10,
            ..Self::new(way)
        }
    }

    /// One request, with an answer that is all there; else what went wrong.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, String), String> {
        let url = format!("{}{path}", self.base);
        let is_safe = method.is_safe();
        let mut request = self.http.request(method, url).version(self.version);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| error.to_string())?;
        let status = response.status();
        if is_safe && status.is_success() {
            // No cache on the way kept it, or may.
            let header = |name| {
                response
                    .headers()
                    .get(name)
                    .map_or(&b""[..], |v| v.as_bytes())
            };
            assert_eq!(header("cache-control"), b"no-store");
            assert!([&b""[..], b"0"].contains(&header("age")));
        }
        let text = response.text().await.map_err(|error| error.to_string())?;
        Ok((status, text))
    }

    /// Asks until it is answered so. The same request as often as it takes: a POST has a UUID of the client's own.
    async fn insist(
        &self,
        (method, path, body): (Method, &str, Option<&Value>),
        failures: &mut usize,
    ) -> Value {
        let asking = async {
            loop {
                match self.ask(method.clone(), path, body).await {
                    Ok((status, text)) if status.is_success() => {
                        return serde_json::from_str(&text).unwrap();
                    }
                    // What a proxy says for a server that it could not ask is a failure like any other.
                    Ok((status, text)) => {
                        assert!(passes(status), "{method} {path}: {status} {text}");
                    }
                    Err(_) => {}
                }
                *failures += 1;
                tokio::time::sleep(TRY_AGAIN).await;
            }
        };
        let answer = tokio::time::timeout(PATIENCE, asking).await;
        answer.unwrap_or_else(|_| panic!("no answer to {path}"))
    }

    /// Creates a chat and sends a message; both UUIDs.
    async fn send(&self, failures: &mut usize) -> (String, String) {
        let (chat, message) = (Uuid::now_v7().to_string(), Uuid::now_v7().to_string());
        let create = json!({"uuid": chat});
        self.insist((Method::POST, "/chat/create", Some(&create)), failures)
            .await;
        let send = json!({"uuid": message, "message": "Tell me of pollen"});
        let path = format!("/chat/{chat}/send");
        self.insist((Method::POST, &path, Some(&send)), failures)
            .await;
        (chat, message)
    }

    /// Polls for the answer to a message to appear; its UUID.
    async fn answer_to(&self, (chat, message): (&str, &str), failures: &mut usize) -> String {
        let path = format!("/chat/{chat}/messages/{message}");
        loop {
            let poll = self.insist((Method::GET, &path, None), failures).await;
            let messages = poll["messages"].as_array().unwrap();
            if let Some(answer) = messages.iter().find(|m| m["reply_to"] == message) {
                return answer["uuid"].as_str().unwrap().to_owned();
            }
            rest(&poll).await;
        }
    }

    /// The whole job: create, send, poll until the answer is over. Every few polls a HEAD, which is to change nothing.
    pub async fn converse(&self) -> Told {
        let (mut failures, mut growths, mut reader) = (0, 0, Reader::default());
        let (chat, message) = self.send(&mut failures).await;
        let answer = self.answer_to((&chat, &message), &mut failures).await;
        for round in 1.. {
            let path = format!("/chat/message/{answer}/tokens/{}", reader.position);
            let poll = self.insist((Method::GET, &path, None), &mut failures).await;
            let before = reader.clone();
            reader.apply(&poll);
            assert!(reader.position >= before.position);
            assert!(reader.text.starts_with(&before.text));
            growths += usize::from(reader.text.len() > before.text.len());
            if reader.is_done() {
                break;
            }
            rest(&poll).await;
            if round % 4 == 0 {
                match self.ask(Method::HEAD, &path, None).await {
                    Ok((StatusCode::OK, text)) => assert_eq!(text, ""),
                    Ok((status, _)) if !passes(status) => panic!("HEAD {path}: {status}"),
                    Ok(_) | Err(_) => failures += 1,
                }
            }
        }
        Told {
            chat,
            answer,
            reader,
            growths,
            failures,
        }
    }

    /// Reads an answer with several polls on their way at once, whose answers come in any order: one counts only if it was
    /// asked for from where the reader is now. Gives how many did not.
    pub async fn read_in_haste(&self) -> (String, Reader, usize) {
        let (mut failures, mut stale, mut reader) = (0, 0, Reader::default());
        let (chat, message) = self.send(&mut failures).await;
        let answer = self.answer_to((&chat, &message), &mut failures).await;
        let poll = async |position: u64| {
            let path = format!("/chat/message/{answer}/tokens/{position}");
            (position, self.ask(Method::GET, &path, None).await)
        };
        let mut polls = FuturesUnordered::new();
        let mut next = tokio::time::interval(HASTE);
        while !reader.is_done() {
            let answered = tokio::select! {
                _ = next.tick(), if polls.len() < IN_FLIGHT => {
                    polls.push(poll(reader.position));
                    continue;
                }
                Some(answered) = polls.next() => answered,
            };
            let (asked, Ok((StatusCode::OK, text))) = answered else {
                continue;
            };
            if asked != reader.position {
                stale += 1;
                continue;
            }
            let before = reader.clone();
            reader.apply(&serde_json::from_str(&text).unwrap());
            assert!(reader.position >= before.position);
            assert!(reader.text.starts_with(&before.text));
        }
        drop(polls);
        (answer, reader, stale)
    }
}

/// Whether it may be another time.
fn passes(status: StatusCode) -> bool {
    status.is_server_error() || [408, 425, 429].contains(&status.as_u16())
}

/// Waits as long as the server would like.
async fn rest(poll: &Value) {
    let hint = poll["poll_after_ms"].as_u64().unwrap();
    tokio::time::sleep(Duration::from_millis(hint)).await;
}

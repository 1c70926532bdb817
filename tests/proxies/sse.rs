//! The same answer as a stream of server-sent events, for comparison only: what becomes of it behind each proxy.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::Version;
use axum::response::sse::{Event, Sse};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::answer::{before_the_pause, pieces};
use super::intermediary::Way;

/// A server of streams. It ends with this value.
pub struct Streams {
    pub port: u16,
    /// How many events of the last stream were sent.
    sent: Arc<AtomicUsize>,
    spoken: Arc<Mutex<BTreeSet<String>>>,
    task: JoinHandle<()>,
}

impl Streams {
    pub async fn start() -> Self {
        let sent: Arc<AtomicUsize> = Arc::default();
        let spoken: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let (count, versions) = (Arc::clone(&sent), Arc::clone(&spoken));
        let stream = async move |version: Version| {
            let said = format!("{version:?} to the server");
            versions.lock().unwrap().insert(said);
            Sse::new(async_stream::stream! {
                for (index, piece) in pieces().into_iter().enumerate() {
                    count.store(index + 1, Ordering::SeqCst);
                    yield Ok::<_, Infallible>(Event::default().json_data(piece.text).unwrap());
                    tokio::time::sleep(piece.rest).await;
                }
            })
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = Router::new().route("/sse", get(stream));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            port,
            sent,
            spoken,
            task,
        }
    }

    /// Which versions of HTTP were spoken on the way of the streams that were read.
    pub fn spoken(&self) -> Vec<String> {
        self.spoken.lock().unwrap().iter().cloned().collect()
    }

    /// Reads the stream to its end, as a browser's `EventSource` would but for trying again.
    pub async fn read(&self, way: &Way) -> Outcome {
        let (mut bytes, mut seen_at, mut is_error) = (Vec::new(), None, false);
        self.sent.store(0, Ordering::SeqCst);
        let request = way.client().get(&way.stream);
        let request = request.header("accept", "text/event-stream");
        match request.send().await {
            Err(_) => is_error = true,
            Ok(mut response) => {
                let said = format!("{:?} to the client", response.version());
                self.spoken.lock().unwrap().insert(said);
                loop {
                    match response.chunk().await {
                        Ok(Some(chunk)) => {
                            bytes.extend_from_slice(&chunk);
                            if !events(&bytes).is_empty() {
                                seen_at.get_or_insert_with(|| self.sent.load(Ordering::SeqCst));
                            }
                        }
                        Ok(None) => break,
                        Err(_) => {
                            is_error = true;
                            break;
                        }
                    }
                }
            }
        }
        let text = events(&bytes);
        let all: Vec<&str> = pieces().iter().map(|piece| piece.text).collect();
        assert!(all.starts_with(&text.iter().map(String::as_str).collect::<Vec<_>>()));
        let first_words = match seen_at {
            Some(sent) if sent < before_the_pause() => FirstWords::WhileTheyAreSaid,
            Some(_) => FirstWords::Late,
            None => FirstWords::Never,
        };
        let end = match text.len() {
            read if read == all.len() && !is_error => End::Whole,
            read if read == before_the_pause() => End::CutInThePause,
            _ => End::Cut,
        };
        Outcome { first_words, end }
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The data of the events that are whole.
fn events(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let whole = text.rsplit_once("\n\n").map_or("", |(whole, _)| whole);
    let data = whole.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

/// What became of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub first_words: FirstWords,
    pub end: End,
}

/// When the first words came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstWords {
    WhileTheyAreSaid,
    /// Not before the pause.
    Late,
    Never,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Whole,
    /// With all that was said before it.
    CutInThePause,
    /// Anywhere.
    Cut,
}

impl Outcome {
    /// Whether this is what somebody says that it is.
    pub fn is(self, said: Self) -> bool {
        let is_end = self.end == said.end || (said.end == End::Cut && self.end != End::Whole);
        self.first_words == said.first_words && is_end
    }

    /// As the document has it.
    pub fn words(self) -> String {
        let first = match self.first_words {
            FirstWords::WhileTheyAreSaid => "while they are said",
            FirstWords::Late => "held back",
            FirstWords::Never => "never",
        };
        let end = match self.end {
            End::Whole => "whole",
            End::CutInThePause => "cut in the pause",
            End::Cut => "cut before its end",
        };
        format!("{first} | {end}")
    }
}

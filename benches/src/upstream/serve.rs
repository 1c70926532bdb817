//! The model's door: reads requests off connections that are kept, and has them answered.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Result;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::pace::Pace;
use super::{Order, say};
use crate::{hidden, http};

/// What all connections share.
#[derive(Default)]
pub struct Model {
    pub(super) pace: Pace,
    pub(super) tokens: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) live: AtomicU64,
    marks: Mutex<Vec<Mark>>,
}

/// When an answer was asked for, and when its first token was sent.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    pub number: u32,
    pub asked: Instant,
    pub first: Instant,
}

impl Model {
    pub(super) fn note(&self, mark: Mark) {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        marks.push(mark);
    }

    /// Those that were noted since the last call.
    pub fn take_marks(&self) -> Vec<Mark> {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut marks)
    }

    /// A model in a thread of this process, which has the same clock. It ends with the process.
    pub fn in_a_thread() -> Result<(Arc<Self>, SocketAddr)> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let model = Arc::new(Self::default());
        let shared = Arc::clone(&model);
        let runtime = runtime()?;
        std::thread::spawn(move || {
            runtime.block_on(async {
                if let Ok(listener) = TcpListener::from_std(listener) {
                    shared.accept(listener).await;
                }
            });
        });
        Ok((model, address))
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let model = Arc::clone(&self);
            tokio::spawn(async move {
                // Whoever goes away in the middle has been stopped on purpose.
                let _ = model.serve(stream).await;
            });
        }
    }

    async fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut buffer = Vec::new();
        while let Some((head, body)) = next_request(&mut stream, &mut buffer).await? {
            let asked = Instant::now();
            let path = head.split_ascii_whitespace().nth(1).unwrap_or_default();
            match path {
                "/v1/chat/completions" => {
                    let order = Order::find(&body).unwrap_or_else(|| Order::of(20));
                    say::say(self, &mut stream, order, asked).await?;
                }
                other => {
                    let answer = self.tell(other);
                    stream.write_all(&answer).await?;
                }
            }
        }
        Ok(())
    }

    /// What the harness asks, and the list of models.
    fn tell(&self, path: &str) -> Vec<u8> {
        let body = match path {
            "/gate" => {
                self.pace.open();
                json!({})
            }
            "/pause" | "/go" => {
                self.pace.set_paused(path == "/pause");
                json!({})
            }
            "/stats" => json!({
                "tokens": self.tokens.load(Ordering::Relaxed),
                "bytes": self.bytes.load(Ordering::Relaxed),
                "live": self.live.load(Ordering::Relaxed),
            }),
            _ => json!({"object": "list", "data": [{"id": "bench", "object": "model"}]}),
        };
        let body = body.to_string();
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }
}

/// The child process: serves until its standard input closes.
pub fn run() -> Result<()> {
    runtime()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        hidden::say_address(listener.local_addr()?);
        tokio::select! {
            () = Arc::new(Model::default()).accept(listener) => {}
            () = hidden::until_stdin_closes() => {}
        }
        Ok(())
    })
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

/// Head and body of the next one. None when the client has closed the connection.
async fn next_request(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
) -> io::Result<Option<(String, Vec<u8>)>> {
    buffer.clear();
    loop {
        if let Some(frame) = http::frame(buffer).filter(|frame| frame.end <= buffer.len()) {
            let head = String::from_utf8_lossy(&buffer[..frame.head]).into_owned();
            return Ok(Some((head, buffer[frame.head..frame.end].to_vec())));
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

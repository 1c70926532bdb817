//! A scripted model server: a real HTTP server that answers byte by byte, and can stall, break
//! off, split anything anywhere, and refuse. It speaks OpenAI's streaming format by itself, and
//! any other in the words of its script. It is a proxy too, for what reads only the first line.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What the server does with one request.
#[derive(Clone, Debug)]
pub struct Script {
    status: u16,
    headers: Vec<(String, String)>,
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
enum Step {
    /// These bytes as one chunk of the body.
    Send(Vec<u8>),
    Pause(Duration),
    /// Until the gate is opened.
    Wait(CancellationToken),
    /// Say nothing more, and keep the connection.
    Stall,
    /// Close the connection in the middle of the body.
    Cut,
}

impl Script {
    /// A 200 with an event stream that has nothing in it yet.
    pub fn stream() -> Self {
        Self {
            status: 200,
            headers: vec![("content-type".into(), "text/event-stream".into())],
            steps: Vec::new(),
        }
    }

    /// The same with another content type: Ollama's `application/x-ndjson`, a page's `text/html`.
    pub fn stream_of(content_type: &str) -> Self {
        Self {
            headers: vec![("content-type".into(), content_type.into())],
            ..Self::stream()
        }
    }

    /// A whole answer: the pieces, the finish reason, the usage, `[DONE]`.
    pub fn answer<S: AsRef<str>>(pieces: impl IntoIterator<Item = S>) -> Self {
        Self::stream().say(pieces).finish()
    }

    /// An answer that is no stream.
    pub fn json(status: u16, body: &Value) -> Self {
        Self {
            status,
            headers: vec![("content-type".into(), "application/json".into())],
            steps: vec![Step::Send(body.to_string().into_bytes())],
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn say<S: AsRef<str>>(mut self, pieces: impl IntoIterator<Item = S>) -> Self {
        for piece in pieces {
            self.steps
                .push(Step::Send(delta(piece.as_ref()).into_bytes()));
        }
        self
    }

    pub fn finish(self) -> Self {
        self.raw(finish("stop"))
            .raw("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":11}}\n\n")
            .raw("data: [DONE]\n\n")
    }

    pub fn raw(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.steps.push(Step::Send(bytes.into()));
        self
    }

    /// Says nothing for so long.
    pub fn pause(mut self, time: Duration) -> Self {
        self.steps.push(Step::Pause(time));
        self
    }

    pub fn wait(mut self, gate: &CancellationToken) -> Self {
        self.steps.push(Step::Wait(gate.clone()));
        self
    }

    pub fn stall(mut self) -> Self {
        self.steps.push(Step::Stall);
        self
    }

    pub fn cut(mut self) -> Self {
        self.steps.push(Step::Cut);
        self
    }

    /// The same bytes with a pause after each piece.
    pub fn paced(mut self, pause: Duration) -> Self {
        let paced = self
            .steps
            .into_iter()
            .flat_map(|step| [step, Step::Pause(pause)])
            .collect();
        self.steps = paced;
        self
    }

    /// The same bytes, cut anew at each of these lengths in turn, whatever they cut through.
    pub fn resplit(mut self, lengths: &[usize]) -> Self {
        let mut bytes: VecDeque<u8> = VecDeque::new();
        for step in &self.steps {
            match step {
                Step::Send(part) => bytes.extend(part),
                other => panic!("only bytes can be split anew, not {other:?}"),
            }
        }
        self.steps.clear();
        let mut lengths = lengths.iter().cycle();
        while !bytes.is_empty() {
            let length = lengths.next().map_or(1, |n| *n).clamp(1, bytes.len());
            self.steps.push(Step::Send(bytes.drain(..length).collect()));
        }
        self
    }
}

/// One chunk of a stream that says `text`.
pub fn delta(text: &str) -> String {
    let chunk = json!({"id": "c", "object": "chat.completion.chunk", "choices": [
        {"index": 0, "delta": {"content": text}, "finish_reason": null}]});
    format!("data: {chunk}\n\n")
}

/// The chunk that ends an answer.
pub fn finish(reason: &str) -> String {
    let chunk = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]});
    format!("data: {chunk}\n\n")
}

/// A request that the server has received.
#[derive(Clone, Debug)]
pub struct Received {
    pub at: Instant,
    pub head: String,
    pub body: Value,
    /// Cancelled when the client has closed the connection.
    pub gone: CancellationToken,
    pub begun: Instant,
    /// When the answer was said to its end, or nobody listened any more.
    pub over: Arc<OnceLock<Instant>>,
}

impl Received {
    /// The (role, content) pairs that the model was sent.
    pub fn turns(&self) -> Vec<(String, String)> {
        let messages = self.body["messages"].as_array().unwrap();
        messages
            .iter()
            .map(|m| {
                let text = |key: &str| m[key].as_str().unwrap().to_owned();
                (text("role"), text("content"))
            })
            .collect()
    }

    /// What the user said last.
    pub fn asked(&self) -> String {
        self.turns()
            .pop()
            .map(|(_, content)| content)
            .unwrap_or_default()
    }
}

type Director = dyn Fn(&Received) -> Script + Send + Sync;

/// The server. It ends with the last of these values.
#[derive(Clone)]
pub struct Upstream {
    pub address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    listing: Arc<Mutex<Listing>>,
    _task: Arc<Task>,
}

/// What every GET is answered with, and the heads of those that came.
struct Listing {
    status: u16,
    body: Value,
    asked: Vec<String>,
}

impl Default for Listing {
    fn default() -> Self {
        Self {
            status: 200,
            body: json!({"object": "list", "data": [{"id": "scripted-model"}]}),
            asked: Vec::new(),
        }
    }
}

struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Upstream {
    /// Answers each request with the script that `director` chooses for it.
    pub async fn start(director: impl Fn(&Received) -> Script + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let director: Arc<Director> = Arc::new(director);
        let log = Arc::clone(&received);
        let listing = Arc::new(Mutex::new(Listing::default()));
        let lists = Arc::clone(&listing);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                let (director, log) = (Arc::clone(&director), Arc::clone(&log));
                tokio::spawn(serve(stream, director, log, Arc::clone(&lists)));
            }
        });
        Self {
            address,
            received,
            listing,
            _task: Arc::new(Task(task)),
        }
    }

    /// Answers one request after the other with these scripts; a further one fails.
    pub async fn scripted(scripts: impl IntoIterator<Item = Script>) -> Self {
        let scripts: Mutex<VecDeque<Script>> = Mutex::new(scripts.into_iter().collect());
        Self::start(move |_| {
            let next = scripts.lock().unwrap().pop_front();
            next.unwrap_or_else(|| {
                Script::json(500, &json!({"error": {"message": "no script left"}}))
            })
        })
        .await
    }

    /// Answers every request by saying it back.
    pub async fn echo() -> Self {
        Self::start(|request| Script::answer([format!("You said: {}", request.asked())])).await
    }

    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Without a version: as Ollama has it.
    pub fn root(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on every GET is answered so.
    pub fn lists(&self, status: u16, body: Value) {
        let mut listing = self.listing.lock().unwrap();
        (listing.status, listing.body) = (status, body);
    }

    /// The heads of the GETs that came, oldest first.
    pub fn listings_asked(&self) -> Vec<String> {
        self.listing.lock().unwrap().asked.clone()
    }

    /// The answers that were asked for, oldest first.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    director: Arc<Director>,
    log: Arc<Mutex<Vec<Received>>>,
    listing: Arc<Mutex<Listing>>,
) {
    let Some((head, body)) = read_request(&mut stream).await else {
        return;
    };
    if !head.starts_with("POST ") {
        let answer = {
            let mut listing = listing.lock().unwrap();
            listing.asked.push(head);
            let (status, body) = (listing.status, listing.body.to_string());
            format!(
                "HTTP/1.1 {status} Listed\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            )
        };
        let _ = stream.write_all(answer.as_bytes()).await;
        return;
    }
    let request = Received {
        at: Instant::now(),
        head,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        gone: CancellationToken::new(),
        begun: Instant::now(),
        over: Arc::default(),
    };
    let script = director(&request);
    let (gone, over) = (request.gone.clone(), Arc::clone(&request.over));
    log.lock().unwrap().push(request);
    let (mut reader, mut writer) = stream.into_split();
    let watch = tokio::spawn({
        let gone = gone.clone();
        async move {
            let mut rest = [0; 64];
            while !matches!(reader.read(&mut rest).await, Ok(0) | Err(_)) {}
            gone.cancel();
        }
    });
    tokio::select! {
        () = gone.cancelled() => {}
        _ = play(&script, &mut writer) => {}
    }
    over.get_or_init(Instant::now);
    watch.abort();
}

async fn play(
    script: &Script,
    writer: &mut tokio::net::tcp::OwnedWriteHalf,
) -> std::io::Result<()> {
    let mut head = format!(
        "HTTP/1.1 {} Scripted\r\ntransfer-encoding: chunked\r\nconnection: close\r\n",
        script.status
    );
    for (name, value) in &script.headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    head.push_str("\r\n");
    writer.write_all(head.as_bytes()).await?;
    for step in &script.steps {
        match step {
            Step::Send(bytes) => {
                let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
                chunk.extend_from_slice(bytes);
                chunk.extend_from_slice(b"\r\n");
                writer.write_all(&chunk).await?;
                writer.flush().await?;
            }
            Step::Pause(time) => tokio::time::sleep(*time).await,
            Step::Wait(gate) => gate.cancelled().await,
            Step::Stall => std::future::pending().await,
            Step::Cut => return Ok(()),
        }
    }
    writer.write_all(b"0\r\n\r\n").await?;
    writer.shutdown().await
}

async fn read_request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let length = head
        .lines()
        .find_map(|line| {
            line.to_lowercase()
                .strip_prefix("content-length:")?
                .trim()
                .parse()
                .ok()
        })
        .unwrap_or(0);
    while bytes.len() < head_end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some((head, bytes[head_end..].to_vec()))
}

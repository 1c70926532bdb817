//! Chats, each with one question and its answer, made through the server's own door.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::client::Client;
use crate::upstream::{Order, text};

/// Clients that make them.
const CLIENTS: usize = 64;
const PAUSE: Duration = Duration::from_millis(10);
/// What is not there after this never comes.
const PATIENCE: Duration = Duration::from_mins(2);

/// A message shows so much of its text; the rest comes by the token poll alone (P7).
const SHOWN_BYTES: u64 = 256 * 1_024 - 4;

/// A chat with one answer, as a poller knows it.
#[derive(Clone, Debug)]
pub struct Talk {
    pub chat: String,
    pub answer: String,
    pub revision: u64,
    /// Where the answer's text ends.
    pub position: u64,
}

/// When a chat is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The answer is there, with or without text.
    Begun,
    /// All of its text is there. It may stand still then.
    Said,
    Completed,
}

impl Talk {
    /// The messages poll that finds nothing new.
    pub fn messages_path(&self) -> String {
        format!(
            "/chat/{}/messages/{}?revision={}",
            self.chat, self.answer, self.revision
        )
    }

    /// Reads on until the text has come to this length.
    async fn read_to(&mut self, client: &mut Client, length: u64, end: Instant) -> Result<()> {
        while self.position < length {
            let poll = client.get(&self.tokens_path(self.position)).await?;
            let poll = poll.expect(200)?.json()?;
            self.position = poll["position"].as_u64().context("no position")?;
            anyhow::ensure!(Instant::now() < end, "the text was not there in time");
        }
        Ok(())
    }

    /// The token poll from there.
    pub fn tokens_path(&self, position: u64) -> String {
        format!("/chat/message/{}/tokens/{position}", self.answer)
    }
}

/// Makes a chat for each order, and waits until it is ready. They come in the orders' order.
pub async fn make(address: SocketAddr, orders: &[Order], until: Until) -> Result<Vec<Talk>> {
    let chats = each(orders.to_vec(), move |order| async move {
        let mut client = Client::connect(address).await?;
        let asked = begin(&mut client, &order).await?;
        Ok((order, asked))
    });
    // All are begun before any is waited for: answers at the gate wait for the last one.
    let chats = chats.await?;
    each(chats, move |(order, asked)| async move {
        let mut client = Client::connect(address).await?;
        wait(&mut client, &order, &asked, until).await
    })
    .await
}

/// A chat whose question has been sent.
#[derive(Clone, Debug)]
struct Asked {
    chat: String,
    question: String,
}

async fn begin(client: &mut Client, order: &Order) -> Result<Asked> {
    let body = json!({"message": order.to_string()});
    let made = client.post("/chat/create", &body).await?;
    let made = made.expect(201)?.json()?;
    Ok(Asked {
        chat: string(&made["uuid"])?,
        question: string(&made["message"]["uuid"])?,
    })
}

async fn wait(client: &mut Client, order: &Order, asked: &Asked, until: Until) -> Result<Talk> {
    let path = format!("/chat/{}/messages/{}", asked.chat, asked.question);
    let end = Instant::now() + PATIENCE;
    let length = text::bytes(order.seed, order.tokens);
    let shown = length.min(SHOWN_BYTES);
    loop {
        let page = client.get(&path).await?.expect(200)?.json()?;
        let answer = &page["messages"][0];
        let position = answer["position"].as_u64().unwrap_or(0);
        let status = answer["status"].as_str().unwrap_or_default();
        let is_ready = match until {
            Until::Begun => !status.is_empty(),
            Until::Said => position >= shown,
            Until::Completed => status == "completed",
        };
        if status == "failed" {
            bail!("an answer failed: {}", answer["error"]);
        }
        if is_ready {
            let mut talk = Talk {
                chat: asked.chat.clone(),
                answer: string(&answer["uuid"])?,
                revision: page["revision"].as_u64().context("no revision")?,
                position,
            };
            if until != Until::Begun {
                talk.read_to(client, length, end).await?;
                // A page's revision may be behind what it shows: its chat went on while it was read.
                let page = client.get(&talk.messages_path()).await?.expect(200)?;
                talk.revision = page.json()?["revision"].as_u64().context("no revision")?;
            }
            return Ok(talk);
        }
        if Instant::now() > end {
            bail!("an answer at position {position} was not ready in time");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn string(value: &Value) -> Result<String> {
    let text = value
        .as_str()
        .with_context(|| format!("{value} is no text"))?;
    Ok(text.to_owned())
}

/// Does it to each, some at a time.
pub async fn each<T, R, F>(items: Vec<T>, work: impl Fn(T) -> F) -> Result<Vec<R>>
where
    R: Send + 'static,
    F: Future<Output = Result<R>> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    let mut done: Vec<Option<R>> = Vec::new();
    done.resize_with(items.len(), || None);
    let mut items = items.into_iter().enumerate();
    loop {
        while tasks.len() < CLIENTS
            && let Some((number, item)) = items.next()
        {
            let work = work(item);
            tasks.spawn(async move { work.await.map(|result| (number, result)) });
        }
        let Some(ended) = tasks.join_next().await else {
            return Ok(done.into_iter().flatten().collect());
        };
        let (number, result) = ended??;
        done[number] = Some(result);
    }
}

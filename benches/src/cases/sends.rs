//! How many messages can be sent, and answered, in a second: each a durable transaction, a claim, an answer of twenty
//! tokens from a model that does not let anybody wait, and a durable end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use memchr::memmem;
use serde_json::json;
use tokio::task::JoinSet;

use crate::bench::Bench;
use crate::client::Client;
use crate::machine::Place;
use crate::procfs::Usage;
use crate::report::{Row, Want};
use crate::rig::{Rig, Store};
use crate::stats::{Spread, number, per};
use crate::upstream::Order;

/// Chats in which somebody sends as soon as the last answer is complete.
const CHATS: u64 = 512;
/// Messages of a chat, before the next one is begun: the model is sent all of them each time.
const MESSAGES: usize = 8;
const TOKENS: u32 = 20;
/// Between two looks at whether the answer is complete: it is the sends that are measured, and not the polls.
const PAUSE: Duration = Duration::from_millis(150);
/// What has no answer after this never gets one.
const PATIENCE: Duration = Duration::from_secs(20);

pub async fn run(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for store in Store::ALL {
        for place in [Place::Anywhere, Place::Server] {
            let is_of_use = bench.pinning.server_core().is_some() && !bench.quick;
            if place == Place::Server && !is_of_use {
                continue;
            }
            rows.push(measure(bench, store, place).await?);
        }
    }
    Ok(rows)
}

/// What the senders have done.
#[derive(Default)]
struct Done {
    answered: AtomicU64,
    errors: AtomicU64,
    is_over: AtomicBool,
}

async fn measure(bench: &Bench, store: Store, place: Place) -> Result<Row> {
    let rig = Rig::start_on(bench, store, place).await?;
    let server = rig.server()?;
    let (done, mut senders) = (Arc::new(Done::default()), JoinSet::new());
    for _ in 0..CHATS {
        senders.spawn(send(server.address, Arc::clone(&done)));
    }
    // All have begun, and most have been answered once.
    let warm = Instant::now() + Duration::from_secs(bench.or_quick(10, 4));
    while Instant::now() < warm && done.answered.load(Ordering::Relaxed) < CHATS {
        tokio::time::sleep(PAUSE).await;
    }
    let usage = Usage::begin(server.pid, None)?;
    let (begun, before) = (Instant::now(), done.answered.load(Ordering::Relaxed));
    let mut seconds = Vec::new();
    let mut last = (begun, before);
    for _ in 0..bench.or_quick(8, 2) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = (Instant::now(), done.answered.load(Ordering::Relaxed));
        let time = (now.0 - last.0).as_secs_f64();
        seconds.push(number(now.1 - last.1) / time);
        last = now;
    }
    let (elapsed, answered) = (begun.elapsed().as_secs_f64(), number(last.1 - before));
    let used = usage.end()?.own.as_secs_f64();
    done.is_over.store(true, Ordering::Relaxed);
    while let Some(ended) = senders.join_next().await {
        ended??;
    }
    rig.end().await?;
    let spread = Spread::of(seconds);
    let cores = match place {
        Place::Server => "server on one core",
        _ => "server on all cores",
    };
    let row = Row::new(format!("sends answered, {}, {cores}", store.name()));
    // What is promised is promised of a machine, and not of one of its cores.
    let row = match place {
        Place::Server => row.unit("a second", 0),
        _ => row
            .wants(Want::AtLeast(1_000.0), "a second", 0)
            .depends_on_speed(),
    };
    Ok(row
        .value(spread.median)
        .spread(spread.range(0))
        .measured(format!(
            "{CHATS} chats; {:.2} ms of the server's CPU each, polls included; {:.0} % of a core",
            per(used * 1e3, answered),
            used / elapsed * 1e2
        ))
        .errors(done.errors.load(Ordering::Relaxed))
        .raw(json!({"seconds": spread, "cpu_s": used, "answered": answered, "elapsed_s": elapsed})))
}

/// One who sends, waits for the answer, and sends again.
async fn send(address: SocketAddr, done: Arc<Done>) -> Result<()> {
    let mut client = Client::connect(address).await?;
    let message = json!({"message": Order::of(TOKENS).to_string()});
    while !done.is_over.load(Ordering::Relaxed) {
        let chat = client.post("/chat/create", &json!({})).await?.expect(201)?;
        let chat = chat.json()?["uuid"].as_str().context("no chat")?.to_owned();
        let path = format!("/chat/{chat}/send");
        for _ in 0..MESSAGES {
            if done.is_over.load(Ordering::Relaxed) {
                return Ok(());
            }
            let sent = client.post(&path, &message).await?;
            let is_answered = match sent.expect(202) {
                Ok(sent) => {
                    let sent = sent.json()?;
                    let question = sent["message"]["uuid"].as_str().context("no message")?;
                    answered(&mut client, &format!("/chat/{chat}/messages/{question}")).await?
                }
                Err(_) => false,
            };
            let counter = if is_answered {
                &done.answered
            } else {
                &done.errors
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// Whether the answer is complete at last.
async fn answered(client: &mut Client, path: &str) -> Result<bool> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        tokio::time::sleep(PAUSE).await;
        let body = client.get(path).await?.expect(200)?.body;
        let says = |status: &[u8]| memmem::find(&body, status).is_some();
        if says(br#""role":"assistant","status":"completed""#) {
            return Ok(true);
        }
        if says(br#""status":"failed""#) {
            return Ok(false);
        }
    }
    Ok(false)
}

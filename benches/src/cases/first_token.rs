//! How much later the first token is there for a poller than it could be: from the moment a message was due to be sent
//! until a poll shows the answer's first words, without what the model itself took.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::bench::Bench;
use crate::client::Client;
use crate::machine::Place;
use crate::report::{Row, Want};
use crate::rig::{Rig, Store};
use crate::stats::number;
use crate::talks;
use crate::upstream::{Model, Order};

const SENDS_PER_SECOND: u32 = 200;
/// The model's own time to the first token.
const FIRST: Duration = Duration::from_millis(20);
/// Between two polls.
const PAUSE: Duration = Duration::from_millis(1);
/// What is not there after this never comes.
const PATIENCE: Duration = Duration::from_secs(10);

pub async fn run(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = measure(bench, Store::Sqlite).await?;
    if !bench.quick {
        rows.extend(measure(bench, Store::Postgres).await?);
    }
    Ok(rows)
}

async fn measure(bench: &Bench, store: Store) -> Result<Vec<Row>> {
    let (model, address) = Model::in_a_thread()?;
    let rig = Rig::start_with(bench, store, Place::Server, address).await?;
    let server = rig.server()?.address;
    let count = SENDS_PER_SECOND * bench.or_quick(10, 3);
    let chats = talks::each((0..count).collect(), move |_| new_chat(server)).await?;
    let (begin, mut sends) = (Instant::now() + PAUSE, JoinSet::new());
    for (chat, mark) in chats.into_iter().zip(1..) {
        let due = begin + Duration::from_secs(1) * (mark - 1) / SENDS_PER_SECOND;
        tokio::time::sleep_until(due.into()).await;
        sends.spawn(until_visible(server, chat, mark, due));
    }
    let mut took: HashMap<u32, Duration> = HashMap::new();
    let mut errors = 0;
    while let Some(ended) = sends.join_next().await {
        match ended? {
            Ok((mark, time)) => drop(took.insert(mark, time)),
            Err(_) => errors += 1,
        }
    }
    rig.end().await?;
    let mut above: Histogram<u64> = Histogram::new_with_max(60_000_000, 3)?;
    for mark in model.take_marks() {
        let own = mark.first - mark.asked;
        if let Some(took) = took.get(&mark.number) {
            let micros = took.saturating_sub(own).as_micros();
            above.saturating_record(u64::try_from(micros)?);
        }
    }
    let ms = |quantile: f64| number(above.value_at_quantile(quantile)) / 1e3;
    let what = format!(
        "send to first visible token, above the model's own, {SENDS_PER_SECOND} sends/s, {}",
        store.name()
    );
    let spread = format!("{:.1}–{:.1}", number(above.min()) / 1e3, ms(1.0));
    let raw = json!({"p50_ms": ms(0.5), "p90_ms": ms(0.9), "p99_ms": ms(0.99), "max_ms": ms(1.0)});
    // Only what the issue promises is promised: one node has SQLite.
    let row = |name: &str, quantile, most| {
        Row::new(format!("{what}, {name}"))
            .wants(Want::AtMost(most), "ms", 1)
            .depends_on_speed()
            .value(ms(quantile))
            .spread(&*spread)
            .measured(format!("{} sends, polled every {PAUSE:?}", above.len()))
            .errors(errors)
            .raw(raw.clone())
    };
    Ok(vec![row("p50", 0.5, 5.0), row("p99", 0.99, 20.0)])
}

/// A chat with a connection to talk in it.
async fn new_chat(address: SocketAddr) -> Result<Chat> {
    let mut client = Client::connect(address).await?;
    let made = client.post("/chat/create", &json!({})).await?.expect(201)?;
    Ok(Chat {
        path: format!(
            "/chat/{}",
            made.json()?["uuid"].as_str().context("no chat")?
        ),
    })
}

struct Chat {
    path: String,
}

async fn until_visible(
    address: SocketAddr,
    chat: Chat,
    mark: u32,
    due: Instant,
) -> Result<(u32, Duration)> {
    let mut client = Client::connect(address).await?;
    let order = Order {
        first: FIRST,
        mark,
        ..Order::of(20)
    };
    let body = json!({"message": order.to_string()});
    let sent = client.post(&format!("{}/send", chat.path), &body).await?;
    let sent = sent.expect(202)?.json()?;
    let question = sent["message"]["uuid"].as_str().context("no message")?;
    let mut path = format!("{}/messages/{question}", chat.path);
    while due.elapsed() < PATIENCE {
        let page: Value = client.get(&path).await?.expect(200)?.json()?;
        let has_text = |text: &Value| text.as_str().is_some_and(|text| !text.is_empty());
        let answer = &page["messages"][0];
        if has_text(&page["tokens"]) || has_text(&answer["content"]) {
            return Ok((mark, due.elapsed()));
        }
        // As soon as the answer is there, its own text is polled.
        if let Some(uuid) = answer["uuid"].as_str() {
            path = format!("/chat/message/{uuid}/tokens/0");
        }
        tokio::time::sleep(PAUSE).await;
    }
    anyhow::bail!("no token came");
}

//! What it costs to write answers down: CPU from the model's socket to the durable ledger, and bytes on the disk.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use crate::bench::Bench;
use crate::disk::Disk;
use crate::machine::Place;
use crate::procfs::Usage;
use crate::report::{Row, Want};
use crate::rig::{Rig, Store};
use crate::stats::{Spread, number, per};
use crate::talks::{self, Until};
use crate::upstream::Order;

/// Of all streams together: as many as leave the server's core some time to itself. What is read late is read with what
/// came after it, and costs less.
const INGEST_TOKENS_PER_SECOND: u32 = 50_000;
const DISK_STREAMS: u32 = 1_000;
const DISK_TOKENS_PER_SECOND: u32 = 50;
/// Until all that is told of a moment has been told.
const SETTLE: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(100);
/// The last answer ends so long after it should at most.
const LATE: Duration = Duration::from_mins(1);

pub async fn ingest(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = vec![ingest_on(bench, Store::Sqlite).await?];
    if !bench.quick {
        rows.push(ingest_on(bench, Store::Postgres).await?);
    }
    Ok(rows)
}

async fn ingest_on(bench: &Bench, store: Store) -> Result<Row> {
    let streams = bench.or_quick(10_000, 1_000);
    let rig = Rig::start_on(bench, store, Place::Server).await?;
    let (server, upstream) = (rig.server()?, rig.upstream()?);
    let orders: Vec<Order> = (0..streams)
        .map(|seed| Order {
            tokens_per_second: INGEST_TOKENS_PER_SECOND / streams,
            waits_at_gate: true,
            seed,
            // More than there is time for.
            ..Order::of(10_000)
        })
        .collect();
    talks::make(server.address, &orders, Until::Begun).await?;
    upstream.open_gate().await?;
    tokio::time::sleep(SETTLE).await;
    let mut each = Vec::new();
    let (mut tokens, mut cpu) = (0, Duration::ZERO);
    let begun = Instant::now();
    for _ in 0..bench.or_quick(5, 2) {
        let (usage, before) = (Usage::begin(server.pid, None)?, upstream.said().await?);
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (used, said) = (usage.end()?.own, upstream.said().await?);
        each.push(per(
            used.as_secs_f64() * 1e6,
            number(said.tokens - before.tokens),
        ));
        (tokens, cpu) = (tokens + said.tokens - before.tokens, cpu + used);
    }
    let (elapsed, live) = (begun.elapsed().as_secs_f64(), upstream.said().await?.live);
    rig.end().await?;
    let spread = Spread::of(each);
    Ok(Row::new(format!(
        "CPU of the server for a million tokens, {streams} streams, {}",
        store.name()
    ))
    .wants(Want::AtMost(8.0), "s", 1)
    .depends_on_speed()
    .value(spread.median)
    .spread(spread.range(1))
    .measured(format!(
        "{live} live, {:.0} tokens/s; {:.0} % of a core",
        number(tokens) / elapsed,
        cpu.as_secs_f64() / elapsed * 1e2
    ))
    .errors(u64::from(streams) - live.min(u64::from(streams)))
    .raw(json!({"rounds": spread, "tokens": tokens, "cpu_s": cpu.as_secs_f64()})))
}

pub async fn disk(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = disk_on(bench, Store::Sqlite, 2.5).await?;
    if !bench.quick {
        rows.extend(disk_on(bench, Store::Postgres, 5.0).await?);
    }
    Ok(rows)
}

async fn disk_on(bench: &Bench, store: Store, target: f64) -> Result<Vec<Row>> {
    let tokens = bench.or_quick(1_000, 250);
    let mut rig = Rig::start_on(bench, store, Place::Server).await?;
    let server = rig.server()?;
    // Some end sooner and some later, by a fifth.
    let lengths = |seed: u32| tokens * 4 / 5 + tokens * 2 / 5 * seed / DISK_STREAMS;
    let orders: Vec<Order> = (0..DISK_STREAMS)
        .map(|seed| Order {
            tokens_per_second: DISK_TOKENS_PER_SECOND,
            waits_at_gate: true,
            seed,
            ..Order::of(lengths(seed))
        })
        .collect();
    talks::make(server.address, &orders, Until::Begun).await?;
    tokio::time::sleep(SETTLE).await;
    let disk = Disk::behind(rig.directory())?;
    let cluster = match store {
        Store::Sqlite => None,
        Store::Postgres => Some(bench.postgres().await?),
    };
    // What waits in PostgreSQL's memory is no part of what comes, and what comes has been written at the end.
    let checkpoint = async || match cluster {
        Some(cluster) => cluster.execute("CHECKPOINT").await,
        None => Ok(()),
    };
    checkpoint().await?;
    let before = disk.written().await?;
    let upstream = rig.upstream()?;
    upstream.open_gate().await?;
    let seconds = Duration::from_secs(1) * tokens / DISK_TOKENS_PER_SECOND;
    // The first answer ends after four fifths of the time; until shortly before only the ledger is written.
    tokio::time::sleep(seconds * 3 / 4).await;
    let (streaming, said) = (disk.written().await? - before, upstream.said().await?.bytes);
    let latest = Instant::now() + seconds + LATE;
    while upstream.said().await?.live > 0 {
        anyhow::ensure!(Instant::now() < latest, "the answers did not end");
        tokio::time::sleep(LOOK).await;
    }
    tokio::time::sleep(SETTLE).await;
    let text = upstream.said().await?.bytes;
    rig.stop_server().await?;
    checkpoint().await?;
    let written = disk.written().await? - before;
    let raw = json!({"text": text, "written": written, "streaming": {"text": said, "written": streaming}});
    let ratio = per(number(written), number(text));
    let name = store.name();
    Ok(vec![
        Row::new(format!(
            "bytes written to disk for each byte of text, {name}, {DISK_STREAMS} streams of {tokens} tokens, until the server has ended, by the disk's own count"
        ))
        .wants(Want::AtMost(target), "bytes", 2)
        .value(ratio)
        .measured(format!("{written} bytes for {text} of text"))
        .raw(raw),
        Row::new(format!("the same before the first answer ends, {name}"))
            .unit("bytes", 2)
            .value(per(number(streaming), number(said)))
            .measured(format!("{streaming} bytes for {said} of text")),
    ])
}

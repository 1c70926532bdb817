//! What memory the server takes: with nothing to do, for a connection that is kept, for an answer that is being written.
//! What one more costs is the difference between some and many, so that what is needed once does not count.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::bench::Bench;
use crate::http;
use crate::load::Closed;
use crate::procfs;
use crate::report::{Row, Want};
use crate::rig::Rig;
use crate::stats::number;
use crate::talks::{self, Until};
use crate::upstream::Order;

/// Those that are there before the others are counted.
const FIRST: u32 = 200;
/// Tokens of an answer that stands still, which have come as a model says them: what comes all at once makes the buffer
/// grow that it is read into.
const TOKENS: u32 = 200;
const TOKENS_PER_SECOND: u32 = 50;
/// Until what was needed on the way is given back.
const SETTLE: Duration = Duration::from_millis(1_500);

pub async fn run(bench: &Bench) -> Result<Vec<Row>> {
    Ok(vec![
        idle(bench).await?,
        connection(bench).await?,
        answer(bench).await?,
    ])
}

async fn idle(bench: &Bench) -> Result<Row> {
    let mut rig = Rig::start(bench).await?;
    // The first start makes the database, which no later one does.
    rig.stop_server().await?;
    rig.start_server(bench).await?;
    tokio::time::sleep(SETTLE).await;
    let resident = procfs::resident(rig.server()?.pid)?;
    rig.end().await?;
    Ok(Row::new("memory of an idle server")
        .wants(Want::AtMost(25.0), "MiB resident", 1)
        .value(number(resident) / 1_048_576.0)
        .raw(json!({"bytes": resident})))
}

async fn connection(bench: &Bench) -> Result<Row> {
    let rig = Rig::start(bench).await?;
    let talks = talks::make(rig.server()?.address, &[Order::of(20)], Until::Completed).await?;
    let path = talks[0].tokens_path(talks[0].position);
    let many = bench.or_quick(10_000, 2_000);
    let target = rig.target(bench, vec![http::get(&path)], 200)?;
    let pid = target.pid;
    let connect = {
        let target = target.clone();
        // Each polls once.
        move |count| Closed::connect(target, count)
    };
    let first = connect.clone();
    let first = tokio::task::spawn_blocking(move || first(FIRST as usize)).await??;
    tokio::time::sleep(SETTLE).await;
    let before = procfs::resident(pid)?;
    let others = tokio::task::spawn_blocking(move || connect(many)).await??;
    tokio::time::sleep(SETTLE).await;
    let after = procfs::resident(pid)?;
    drop((first, others));
    rig.end().await?;
    let each = number(after.saturating_sub(before)) / number(many as u64);
    Ok(
        Row::new("memory of a keep-alive connection that has polled")
            .wants(Want::AtMost(16.0), "KiB", 1)
            .value(each / 1_024.0)
            .measured(format!("{many} connections"))
            .raw(json!({"before": before, "after": after})),
    )
}

async fn answer(bench: &Bench) -> Result<Row> {
    let rig = Rig::start(bench).await?;
    let server = rig.server()?;
    let many = bench.or_quick(5_000, 500);
    let orders = |seeds: std::ops::Range<u32>| -> Vec<Order> {
        let order = |seed| Order {
            holds: true,
            tokens_per_second: TOKENS_PER_SECOND,
            seed,
            ..Order::of(TOKENS)
        };
        seeds.map(order).collect()
    };
    // As many, begun in the same way: what is needed for the beginning is there then, and is used again.
    talks::make(server.address, &orders(0..many), Until::Said).await?;
    tokio::time::sleep(SETTLE).await;
    let before = procfs::resident(server.pid)?;
    let others = talks::make(server.address, &orders(many..2 * many), Until::Said).await?;
    tokio::time::sleep(SETTLE).await;
    let after = procfs::resident(server.pid)?;
    rig.end().await?;
    let text: u64 = others.iter().map(|talk| talk.position).sum();
    let beyond = after.saturating_sub(before).saturating_sub(text);
    let each = number(beyond) / f64::from(many);
    Ok(
        Row::new("memory of a live answer beyond its text, its upstream connection included")
            .wants(Want::AtMost(40.0), "KiB", 1)
            .value(each / 1_024.0)
            .measured(format!(
                "{many} answers of {} bytes",
                text / u64::from(many)
            ))
            .raw(json!({"before": before, "after": after, "text": text})),
    )
}

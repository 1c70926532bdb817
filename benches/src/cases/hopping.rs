//! Three nodes on one PostgreSQL, and pollers who ask now this one and now that one: what the nodes read of the database
//! to know the answers that others write is to depend on the answers, and not on how many read them.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::bench::Bench;
use crate::load::{Open, Times, Waited};
use crate::machine::Place;
use crate::report::{Row, Want};
use crate::rig::Rig;
use crate::stats::{number, per};
use crate::talks::Talk;

use super::viewers::written;

const NODES: usize = 3;
/// Answers that each node writes, and how fast.
const ANSWERS: u32 = 7;
const TOKENS_PER_SECOND: u32 = 20;
/// Pollers of each answer.
const POLLERS: [usize; 3] = [1, 10, 100];
/// A hundred pollers may cause so many times the reads of ten.
const FLAT: f64 = 1.15;

pub async fn run(bench: &Bench) -> Result<Vec<Row>> {
    let first = Rig::start_logged(bench, Place::Anywhere).await?;
    let (second, third) = (
        first.another_node(bench).await?,
        first.another_node(bench).await?,
    );
    let rigs = [first, second, third];
    let mut talks = Vec::new();
    for rig in &rigs {
        talks.extend(written(rig, ANSWERS, TOKENS_PER_SECOND).await?);
    }
    rigs[0].upstream()?.open_gate().await?;
    let mut rows = Vec::new();
    let kinds = [("messages and token polls", true), ("token polls", false)];
    for (what, polls_messages) in kinds.into_iter().take(bench.or_quick(2, 1)) {
        rows.extend(measure(bench, &rigs, &talks, what, polls_messages).await?);
    }
    // The first one has the model.
    for rig in rigs.into_iter().rev() {
        rig.end().await?;
    }
    Ok(rows)
}

async fn measure(
    bench: &Bench,
    rigs: &[Rig; NODES],
    talks: &[Talk],
    what: &str,
    polls_messages: bool,
) -> Result<Vec<Row>> {
    let times = Times {
        polls_messages,
        interval: Duration::from_millis(300),
        warm_up: Duration::from_secs(1),
        time: Duration::from_secs(bench.or_quick(5, 2)),
    };
    let seconds = (times.warm_up + times.time).as_secs_f64();
    let before = reads(bench, &rigs[0]).await?;
    tokio::time::sleep(times.warm_up + times.time).await;
    let without = number(reads(bench, &rigs[0]).await? - before) / seconds;
    let (mut rows, mut caused) = (Vec::new(), Vec::new());
    for pollers in POLLERS {
        let before = reads(bench, &rigs[0]).await?;
        let waited = poll(rigs, talks, pollers, times).await?;
        let each = number(reads(bench, &rigs[0]).await? - before) / seconds - without;
        caused.push(each);
        rows.push(
            Row::new(format!("database reads a second, {what}, {pollers} pollers per answer"))
                .unit("a second", 0)
                .value(each)
                .measured(format!(
                    "{} answers, each followed by {} nodes: {:.1} for each a second; {:.0} polls a second; {without:.0} reads a second without",
                    talks.len(),
                    NODES - 1,
                    per(each, number((talks.len() * (NODES - 1)) as u64)),
                    waited.pairs_per_second * if polls_messages { 2.0 } else { 1.0 },
                ))
                .errors(waited.errors)
                .raw(json!({"reads_per_second": each, "without": without, "waited": waited})),
        );
    }
    let growth = per(caused[2], caused[1]);
    rows.push(
        Row::new(format!(
            "database reads with 100 pollers per answer to those with 10, {what}"
        ))
        .wants(Want::AtMost(FLAT), "times", 2)
        .value(growth),
    );
    Ok(rows)
}

async fn poll(rigs: &[Rig; NODES], talks: &[Talk], pollers: usize, times: Times) -> Result<Waited> {
    let mut nodes = Vec::new();
    for rig in rigs {
        nodes.push(rig.server()?.address);
    }
    let (talks, viewers) = (talks.to_vec(), talks.len() * pollers);
    let run = move || Open::connect(&nodes, &talks, viewers)?.run(times);
    tokio::task::spawn_blocking(run).await?
}

async fn reads(bench: &Bench, rig: &Rig) -> Result<u64> {
    let cluster = bench.postgres().await?;
    Ok(cluster.statements(rig.database_url()).await?.reads)
}

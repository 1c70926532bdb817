//! Three nodes on one PostgreSQL, and pollers who ask now this one and now that one: what the nodes read of the database
//! to know the answers that others write is to depend on the answers, and not on how many read them.

use std::time::{Duration, Instant};

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
/// How often a node looks at what another one writes, at most: each 200 ms, unless configured otherwise.
const LOOKS_PER_SECOND: f64 = 5.0;
/// What a look reads: at an answer its message and its ledger, at a chat its revision.
const READS_OF_ANSWER: f64 = 2.0;
const READS_OF_CHAT: f64 = 1.0;

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
    for polls_messages in bench.or_quick(&[true, false][..], &[true]) {
        rows.extend(measure(bench, &rigs, &talks, *polls_messages).await?);
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
    polls_messages: bool,
) -> Result<Vec<Row>> {
    let times = Times {
        polls_messages,
        interval: Duration::from_millis(300),
        warm_up: Duration::from_secs(1),
        time: Duration::from_secs(bench.or_quick(5, 2)),
    };
    // Answers are followed by those who do not write them, chats are looked at by all.
    let followers = number(NODES as u64 - 1);
    let of_answers = LOOKS_PER_SECOND * READS_OF_ANSWER * followers;
    let of_chats = LOOKS_PER_SECOND * READS_OF_CHAT * (followers + 1.0);
    let (what, polls, most) = if polls_messages {
        ("messages and token polls", 2.0, of_answers + of_chats)
    } else {
        ("token polls", 1.0, of_answers)
    };
    let without = per_second(bench, &rigs[0], tokio::time::sleep(times.time))
        .await?
        .0;
    let mut rows = Vec::new();
    for pollers in POLLERS {
        let poll = poll(rigs, talks, pollers, times);
        let (reads, waited) = per_second(bench, &rigs[0], poll).await?;
        let (waited, caused) = (waited?, reads - without);
        rows.push(
            Row::new(format!(
                "database reads for an answer, {what}, {pollers} pollers each, {NODES} nodes"
            ))
            .wants(Want::AtMost(most), "a second", 1)
            .value(per(caused, number(talks.len() as u64)))
            .measured(format!(
                "{} answers, {:.0} polls a second: {caused:.0} reads a second, and {without:.0} without polls",
                talks.len(),
                waited.pairs_per_second * polls,
            ))
            .errors(waited.errors)
            .raw(json!({"reads_per_second": caused, "without": without, "waited": waited})),
        );
    }
    Ok(rows)
}

/// What the database is asked in a second while something goes on, and what that came to.
async fn per_second<T>(
    bench: &Bench,
    rig: &Rig,
    what: impl Future<Output = T>,
) -> Result<(f64, T)> {
    let before = reads(bench, rig).await?;
    let begun = Instant::now();
    let done = what.await;
    let seconds = begun.elapsed().as_secs_f64();
    let caused = reads(bench, rig).await? - before;
    Ok((per(number(caused), seconds), done))
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

//! Whether a poll costs the same however much there is: text in the answer, messages in the chat, messages in the database.
//! By turns, the small one and the large one, in CPU time of the server for each poll.

use anyhow::Result;
use serde_json::json;

use crate::bench::Bench;
use crate::compare::{Comparison, cpu};
use crate::http;
use crate::load::Target;
use crate::report::{Row, Want, note};
use crate::rig::Rig;
use crate::sqlite::{self, Filler};
use crate::stats::{Spread, per};
use crate::talks::{self, Talk, Until};
use crate::upstream::Order;

const CONNECTIONS: usize = 50;
/// The large one may cost so many times the small one.
const FLAT: f64 = 1.15;
/// About a kilobyte and a megabyte of text.
const ANSWERS: [u32; 2] = [230, 236_000];
const CHATS: [u64; 2] = [10, 100_000];
/// Messages of each chat in a database.
const MESSAGES: u64 = 10;
/// Chats that are polled in turn: as many as there are in the small database.
const SAMPLE: u64 = 100;

pub async fn run(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = answers(bench).await?;
    rows.push(chats(bench).await?);
    rows.extend(databases(bench).await?);
    Ok(rows)
}

async fn answers(bench: &Bench) -> Result<Vec<Row>> {
    let rig = Rig::start(bench).await?;
    let address = rig.server()?.address;
    let mut rows = Vec::new();
    for (what, holds, until) in [
        ("live", true, Until::Said),
        ("finished", false, Until::Completed),
    ] {
        let orders = ANSWERS.map(|tokens| Order {
            holds,
            ..Order::of(tokens)
        });
        let talks = talks::make(address, &orders, until).await?;
        let ends = [0, 1].map(|which: usize| talks[which].position);
        let targets = [0, 1].map(|which| {
            let path = talks[which].tokens_path(ends[which]);
            rig.target(bench, vec![http::get(&path)], 200)
        });
        let what = format!(
            "token poll at the end of a {what} answer of {} and {} bytes",
            ends[0], ends[1]
        );
        rows.push(compare(bench, targets, what).await?);
    }
    rig.end().await?;
    Ok(rows)
}

async fn chats(bench: &Bench) -> Result<Row> {
    let mut rig = Rig::start(bench).await?;
    let orders = CHATS.map(|_| Order::of(20));
    let mut talks = talks::make(rig.server()?.address, &orders, Until::Completed).await?;
    rig.stop_server().await?;
    let mut filler = Filler::open(&rig.database_file()).await?;
    for (talk, messages) in talks.iter_mut().zip(CHATS) {
        talk.answer = filler.lengthen_chat(&talk.chat, messages).await?;
    }
    filler.close().await?;
    rig.start_server(bench).await?;
    let targets = [0, 1].map(|which| {
        let path = talks[which].messages_path();
        rig.target(bench, vec![http::get(&path)], 200)
    });
    let what = format!(
        "messages poll at the end of a chat of {} and {} messages",
        CHATS[0], CHATS[1]
    );
    let row = compare(bench, targets, what).await;
    rig.end().await?;
    row
}

async fn databases(bench: &Bench) -> Result<Vec<Row>> {
    let sizes = [1_000, bench.or_quick(10_000_000, 100_000)];
    let rigs = [
        filled(bench, sizes[0]).await?,
        filled(bench, sizes[1]).await?,
    ];
    let mut rows = Vec::new();
    for (what, path) in [
        ("messages", messages_path as fn(&Talk, u64) -> String),
        ("finished token", tokens_path),
    ] {
        let targets = [0, 1].map(|which| {
            let (rig, talk): &(Rig, Talk) = &rigs[which];
            let chats = sizes[which] / MESSAGES;
            let request = |number| http::get(&path(talk, 1 + number * (chats / SAMPLE)));
            rig.target(bench, (0..SAMPLE).map(request).collect(), 200)
        });
        let what = format!(
            "{what} polls of many chats in turn, in a database of {} and {} messages",
            sizes[0], sizes[1]
        );
        rows.push(compare(bench, targets, what).await?);
    }
    for (rig, _) in rigs {
        rig.end().await?;
    }
    Ok(rows)
}

/// A server with a database of so many messages, and the chat that they are copies of.
async fn filled(bench: &Bench, messages: u64) -> Result<(Rig, Talk)> {
    let mut rig = Rig::start(bench).await?;
    let made = talks::make(rig.server()?.address, &[Order::of(10)], Until::Completed).await?;
    let talk = made[0].clone();
    rig.stop_server().await?;
    let begun = std::time::Instant::now();
    let mut filler = Filler::open(&rig.database_file()).await?;
    filler
        .copy_chat(&talk.chat, messages / MESSAGES, MESSAGES)
        .await?;
    filler.close().await?;
    let took = begun.elapsed().as_secs_f64();
    rig.start_server(bench).await?;
    note(&format!(
        "{messages} messages: filled in {took:.0} s, the server was there {:.1} s later",
        begun.elapsed().as_secs_f64() - took
    ));
    Ok((rig, talk))
}

fn messages_path(talk: &Talk, chat: u64) -> String {
    Talk {
        chat: sqlite::chat_id(chat),
        answer: sqlite::message_id(chat, MESSAGES),
        ..talk.clone()
    }
    .messages_path()
}

fn tokens_path(talk: &Talk, chat: u64) -> String {
    Talk {
        answer: sqlite::message_id(chat, MESSAGES),
        ..talk.clone()
    }
    .tokens_path(talk.position)
}

async fn compare(bench: &Bench, targets: [Result<Target>; 2], what: String) -> Result<Row> {
    let [small, large] = targets;
    let (small, large, rounds) = (small?, large?, bench.rounds());
    let make = move || Comparison::make(small, large, CONNECTIONS, rounds);
    let compared = tokio::task::spawn_blocking(make).await??;
    let pairs = compared.base.iter().zip(&compared.ours);
    let ratios = Spread::of(
        pairs.map(|(small, large)| per(large.cpu_us_per_request, small.cpu_us_per_request)),
    );
    Ok(Row::new(what)
        .wants(Want::AtMost(FLAT), "times the CPU", 2)
        .value(ratios.median)
        .spread(ratios.range(2))
        .measured(format!(
            "{:.1} and {:.1} µs each",
            cpu(&compared.base).median,
            cpu(&compared.ours).median
        ))
        .errors(compared.errors())
        .raw(json!({"compared": compared.raw(), "cpu_ratios": ratios})))
}

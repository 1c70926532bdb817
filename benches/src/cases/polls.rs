//! What one poll costs: each kind of it by turns with a bare server that answers with a body of the same length.

use anyhow::{Context as _, Result};

use crate::baseline;
use crate::bench::Bench;
use crate::client::{Answer, Client};
use crate::compare::Comparison;
use crate::http;
use crate::load::{Protocol, Target, http2};
use crate::report::Row;
use crate::rig::Rig;
use crate::sqlite::Filler;
use crate::talks::{self, Talk, Until};
use crate::upstream::Order;

/// Connections of the small comparison.
const FEW: usize = 50;
/// Of the large one.
const MANY: usize = 5_000;
/// So many bytes before the end of the text are asked for.
const NEW_BYTES: u64 = 12;
const LONG_CHAT: u64 = 10_000;

/// An answer that stands still after so many tokens.
const STANDING: Order = Order {
    tokens: 100,
    tokens_per_second: 0,
    first: std::time::Duration::ZERO,
    holds: true,
    waits_at_gate: false,
    seed: 0,
    mark: 0,
};

pub async fn tokens_live(bench: &Bench) -> Result<Vec<Row>> {
    let (rig, talk) = standing(bench).await?;
    let path = talk.tokens_path(talk.position - NEW_BYTES);
    let mut rows = Vec::new();
    for connections in connections(bench) {
        let compared = compare(bench, &rig, &path, connections).await?;
        let what = format!("token poll of a live answer, {connections} connections");
        rows.push(compared.row(what, 0.80));
    }
    if !bench.quick {
        let compared = compare_http2(bench, &rig, &path).await?;
        let what = format!("token poll of a live answer, {FEW} connections, HTTP/2 on both sides");
        rows.push(compared.row_without_target(what));
    }
    rig.end().await?;
    Ok(rows)
}

pub async fn messages_quiet(bench: &Bench) -> Result<Vec<Row>> {
    let (rig, talk) = standing(bench).await?;
    let mut rows = Vec::new();
    for connections in connections(bench) {
        let compared = compare(bench, &rig, &talk.messages_path(), connections).await?;
        let what = format!("messages poll with nothing new, {connections} connections");
        rows.push(compared.row(what, 0.80));
    }
    rig.end().await?;
    Ok(rows)
}

pub async fn tokens_finished(bench: &Bench) -> Result<Vec<Row>> {
    let rig = Rig::start(bench).await?;
    let talk = one(&rig, Order::of(100), Until::Completed).await?;
    let path = talk.tokens_path(talk.position);
    let compared = compare(bench, &rig, &path, FEW).await?;
    rig.end().await?;
    Ok(vec![
        compared.row("token poll of a finished answer at its end", 0.70),
    ])
}

pub async fn messages_long(bench: &Bench) -> Result<Vec<Row>> {
    let mut rig = Rig::start(bench).await?;
    let mut talk = one(&rig, Order::of(20), Until::Completed).await?;
    rig.stop_server().await?;
    let mut filler = Filler::open(&rig.database_file()).await?;
    talk.answer = filler.lengthen_chat(&talk.chat, LONG_CHAT).await?;
    filler.close().await?;
    rig.start_server(bench).await?;
    let compared = compare(bench, &rig, &talk.messages_path(), FEW).await?;
    rig.end().await?;
    let what = format!("messages poll of a chat with {LONG_CHAT} messages at its end");
    Ok(vec![compared.row(what, 0.70)])
}

pub async fn html_poll(bench: &Bench) -> Result<Vec<Row>> {
    let (rig, talk) = standing(bench).await?;
    let quiet = next_fragment(&rig, &talk).await?;
    let request = http::get_fragment(&quiet);
    let compared = compare_request(bench, &rig, request, 204, FEW).await?;
    let mut rows = vec![compared.row("HTML token poll, nothing new", 0.60)];
    // The same element some bytes ago: its last block is told anew.
    let open = open_before(&quiet)?;
    let position = talk.position - NEW_BYTES;
    let path = format!(
        "{}?open={}&reasoning=0&after=300",
        talk.tokens_path(position),
        open.saturating_sub(NEW_BYTES)
    );
    let request = http::get_fragment(&path);
    let compared = compare_request(bench, &rig, request, 200, FEW).await?;
    let what = format!("HTML token poll, {NEW_BYTES} new bytes in a last block of {open}");
    rows.push(compared.row(what, 0.60));
    rig.end().await?;
    Ok(rows)
}

fn connections(bench: &Bench) -> Vec<usize> {
    bench.or_quick(vec![FEW, MANY], vec![FEW])
}

async fn standing(bench: &Bench) -> Result<(Rig, Talk)> {
    let rig = Rig::start(bench).await?;
    let talk = one(&rig, STANDING, Until::Said).await?;
    Ok((rig, talk))
}

async fn one(rig: &Rig, order: Order, until: Until) -> Result<Talk> {
    let talks = talks::make(rig.server()?.address, &[order], until).await?;
    talks.into_iter().next().context("no chat was made")
}

/// A poll in JSON, on so many connections.
async fn compare(bench: &Bench, rig: &Rig, path: &str, connections: usize) -> Result<Comparison> {
    compare_request(bench, rig, http::get(path), 200, connections).await
}

async fn compare_request(
    bench: &Bench,
    rig: &Rig,
    request: Vec<u8>,
    status: u16,
    connections: usize,
) -> Result<Comparison> {
    let body = answer(rig, &request, status).await?.body;
    let base = vec![http::get(baseline::PATH)];
    let ours = rig.target(bench, vec![request], status)?;
    compare_targets(bench, body.len(), base, ours, connections).await
}

/// The same poll over HTTP/2, with a request at a time on each connection.
async fn compare_http2(bench: &Bench, rig: &Rig, path: &str) -> Result<Comparison> {
    let body = answer(rig, &http::get(path), 200).await?.body;
    let base = vec![http2::get(baseline::PATH)];
    let ours = Target {
        protocol: Protocol::Http2,
        ..rig.target(bench, vec![http2::get(path)], 200)?
    };
    compare_targets(bench, body.len(), base, ours, FEW).await
}

/// With a bare server that answers these requests with so many bytes.
async fn compare_targets(
    bench: &Bench,
    body_bytes: usize,
    requests: Vec<Vec<u8>>,
    ours: Target,
    connections: usize,
) -> Result<Comparison> {
    let hello = baseline::start(bench, body_bytes).await?;
    let base = Target {
        address: hello.address,
        pid: hello.pid,
        requests,
        status: 200,
        ..ours.clone()
    };
    let rounds = bench.rounds();
    let made = move || Comparison::make(base, ours, connections, rounds);
    let compared = tokio::task::spawn_blocking(made).await?;
    hello.kill().await?;
    compared
}

async fn answer(rig: &Rig, request: &[u8], status: u16) -> Result<Answer> {
    let mut client = Client::connect(rig.server()?.address).await?;
    client.ask(request).await?.expect(status)
}

/// Where the page's element polls next, once it has all that there is.
async fn next_fragment(rig: &Rig, talk: &Talk) -> Result<String> {
    let path = format!("{}?open=0&reasoning=0", talk.tokens_path(0));
    let html = answer(rig, &http::get_fragment(&path), 200).await?.body;
    let html = String::from_utf8(html)?;
    let (_, rest) = html.split_once("hx-get=\"").context("no poller")?;
    let (path, _) = rest.split_once('"').context("no end of its address")?;
    Ok(path.replace("&amp;", "&").replace("&#38;", "&"))
}

/// The bytes of the last block, of the poller's address.
fn open_before(path: &str) -> Result<u64> {
    let (_, rest) = path.split_once("open=").context("no open")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Ok(digits.parse()?)
}

//! Many who watch: everybody polls messages and tokens every 300 ms while answers are being written. And what the writing
//! takes from those who poll as fast as they can.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::bench::Bench;
use crate::client::Client;
use crate::http;
use crate::load::{Closed, Measured, Open, Times, Waited};
use crate::procfs::{Usage, open_files};
use crate::report::{Row, Want, note};
use crate::rig::Rig;
use crate::stats::{Spread, per};
use crate::talks::{self, Talk, Until};
use crate::upstream::{Order, Upstream};
use crate::yardstick;

const INTERVAL: Duration = Duration::from_millis(300);
/// What the 99th of a hundred may wait for a pair.
const LIMIT_MS: f64 = 50.0;
/// How fast the answers are written, in tokens a second.
const SPEEDS: [u32; 2] = [10, 20];
/// Files that a process needs besides viewers and answers.
const SPARE_FILES: usize = 500;

pub async fn viewers(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let (wanted, answers) = bench.or_quick((10_000, 1_000), (2_000, 200));
    let bare = yardstick::bare(bench, wanted).await?;
    for &speed in bench.or_quick(&SPEEDS[..], &SPEEDS[..1]) {
        let crowd = Crowd::gather(bench, answers, speed).await?;
        let watched = crowd.watch(bench, wanted).await?;
        rows.push(watched.row(wanted, &crowd, &bare));
        // How many there could be is found at the first speed alone.
        if speed == SPEEDS[0] && !bench.quick {
            rows.push(crowd.most(bench, wanted, watched).await?);
        }
        crowd.rig.end().await?;
    }
    Ok(rows)
}

/// A server that writes answers, and what is known of them.
struct Crowd {
    rig: Rig,
    talks: Vec<Talk>,
    speed: u32,
}

/// What viewers of one number saw.
#[derive(Clone, Copy)]
struct Watched {
    waited: Waited,
    /// CPU time of the server, the generator and the model, each as a share of a core.
    busy: [f64; 3],
    disturbed: f64,
}

impl Crowd {
    async fn gather(bench: &Bench, answers: u32, speed: u32) -> Result<Self> {
        let rig = Rig::start(bench).await?;
        let talks = written(&rig, answers, speed).await?;
        rig.upstream()?.open_gate().await?;
        Ok(Self { rig, talks, speed })
    }

    async fn watch(&self, bench: &Bench, viewers: usize) -> Result<Watched> {
        let server = self.rig.server()?;
        let (address, core) = (server.address, bench.pinning.server_core());
        let talks = refreshed(&self.talks, address).await?;
        let times = Times {
            polls_messages: true,
            interval: INTERVAL,
            warm_up: Duration::from_millis(bench.or_quick(2_000, 1_000)),
            time: Duration::from_secs(bench.or_quick(6, 3)),
        };
        let connect = move || Open::connect(&[address], &talks, viewers);
        let mut open = tokio::task::spawn_blocking(connect).await??;
        let usages = [
            Usage::begin(server.pid, core)?,
            Usage::begin(std::process::id(), None)?,
            Usage::begin(self.rig.upstream()?.pid(), None)?,
        ];
        let begun = std::time::Instant::now();
        let waited = tokio::task::spawn_blocking(move || open.run(times)).await??;
        let elapsed = begun.elapsed().as_secs_f64();
        let mut busy = [0.0; 3];
        for (share, usage) in busy.iter_mut().zip(&usages) {
            *share = usage.end()?.own.as_secs_f64() / elapsed;
        }
        let disturbed = usages[0].end()?.others.as_secs_f64() / elapsed;
        note(&format!("{viewers} viewers: p99 {:.1} ms", waited.p99_ms));
        Ok(Watched {
            waited,
            busy,
            disturbed,
        })
    }

    /// The largest number that waits no longer than it may: in steps if it is more than was wanted, else by halves.
    async fn most(&self, bench: &Bench, wanted: usize, at_wanted: Watched) -> Result<Row> {
        let step = wanted / 8;
        let room = open_files()?.saturating_sub(SPARE_FILES + self.talks.len());
        let (mut most, mut too_many) = if at_wanted.is_well() {
            (Some((wanted, at_wanted)), None)
        } else {
            (None, Some(wanted))
        };
        loop {
            let well = most.map_or(0, |(number, _)| number);
            let number = match too_many {
                Some(too_many) if too_many - well <= step => break,
                Some(too_many) => usize::midpoint(well, too_many),
                None if well + 2 * step > room => break,
                None => well + 2 * step,
            };
            let tried = self.watch(bench, number).await?;
            if tried.is_well() {
                most = Some((number, tried));
            } else {
                too_many = Some(number);
            }
        }
        let row = Row::new(format!(
            "viewers on one core with p99 under {LIMIT_MS} ms, {} answers at {} tokens/s",
            self.talks.len(),
            self.speed
        ))
        .wants(Want::AtLeast(10_000.0), "viewers", 0)
        .depends_on_speed();
        let Some((number, watched)) = most else {
            return Ok(row.value(0.0).measured(format!("not even {step}")));
        };
        let limit = if too_many.is_none() {
            "; more would be more files than this process may have open"
        } else {
            ""
        };
        let value = u32::try_from(number).map_or(0.0, f64::from);
        Ok(row
            .value(value)
            .measured(format!("to {step} viewers; {}{limit}", watched.story())))
    }
}

impl Watched {
    fn is_well(&self) -> bool {
        self.waited.p99_ms < LIMIT_MS && self.waited.errors == 0
    }

    fn story(&self) -> String {
        let waited = &self.waited;
        let [server, generator, model] = self.busy.map(|share| share * 1e2);
        let disturbed = if self.disturbed > 0.05 {
            format!(
                "; **others took {:.0} % of its core**",
                self.disturbed * 1e2
            )
        } else {
            String::new()
        };
        format!(
            "{:.0} pairs/s ({:.1} % of those due), p50 {:.1}, p99 {:.1}, max {:.0} ms; the generator's own lag p99 {:.1} ms; \
             of a core: server {server:.0} %, generator {generator:.0} %, model {model:.0} %{disturbed}",
            waited.pairs_per_second,
            waited.answered * 1e2,
            waited.p50_ms,
            waited.p99_ms,
            waited.max_ms,
            waited.generator_p99_ms,
        )
    }

    fn row(&self, viewers: usize, crowd: &Crowd, bare: &Measured) -> Row {
        Row::new(format!(
            "p99 of a pair of polls, {viewers} viewers, {} answers at {} tokens/s",
            crowd.talks.len(),
            crowd.speed
        ))
        .wants(Want::AtMost(LIMIT_MS), "ms", 1)
        .value(self.waited.p99_ms)
        .measured(format!(
            "{}; the bare server answers {:.0} requests/s on as many connections, without anything else",
            self.story(),
            bare.requests_per_second
        ))
        .errors(self.waited.errors)
        .raw(json!({"waited": self.waited, "busy": self.busy, "bare": bare}))
    }
}

/// Answers that are written at this speed for longer than anything here takes, once the gate is opened.
pub async fn written(rig: &Rig, answers: u32, speed: u32) -> Result<Vec<Talk>> {
    let order = |seed| Order {
        tokens_per_second: speed,
        waits_at_gate: true,
        holds: true,
        seed,
        ..Order::of(speed * 600)
    };
    let orders: Vec<Order> = (0..answers).map(order).collect();
    talks::make(rig.server()?.address, &orders, Until::Begun).await
}

/// The same with the positions of now: nobody begins with minutes of text to catch up with.
async fn refreshed(talks: &[Talk], address: std::net::SocketAddr) -> Result<Vec<Talk>> {
    talks::each(talks.to_vec(), move |talk| async move {
        let mut client = Client::connect(address).await?;
        let poll = client.get(&talk.tokens_path(0)).await?.expect(200)?;
        let position = poll.json()?["position"].as_u64().unwrap_or(0);
        Ok(Talk { position, ..talk })
    })
    .await
}

pub async fn loss(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for &speed in bench.or_quick(&SPEEDS[..], &SPEEDS[..1]) {
        rows.push(loss_at(bench, speed).await?);
    }
    Ok(rows)
}

async fn loss_at(bench: &Bench, speed: u32) -> Result<Row> {
    let rig = Rig::start(bench).await?;
    let address = rig.server()?.address;
    let standing = Order {
        holds: true,
        ..Order::of(100)
    };
    let polled = talks::make(address, &[standing], Until::Said).await?;
    let answers = 1_000;
    written(&rig, answers, speed).await?;
    rig.upstream()?.open_gate().await?;
    let path = polled[0].tokens_path(polled[0].position - 12);
    let target = rig.target(bench, vec![http::get(&path)], 200)?;
    let rounds = bench.rounds();
    let mut closed = Closed::connect(target, 50)?;
    let (mut quiet, mut busy) = (Vec::new(), Vec::new());
    for _ in 0..rounds.count {
        for is_written in [false, true] {
            set_written(rig.upstream()?, is_written).await?;
            let run = move || {
                let measured = closed.run(rounds.warm_up, rounds.time);
                (closed, measured)
            };
            let measured: Result<Measured>;
            (closed, measured) = tokio::task::spawn_blocking(run).await?;
            if is_written { &mut busy } else { &mut quiet }.push(measured?);
        }
    }
    rig.end().await?;
    let pairs = quiet.iter().zip(&busy);
    let losses = Spread::of(pairs.map(|(quiet, busy)| {
        1e2 * (1.0 - per(busy.requests_per_second, quiet.requests_per_second))
    }));
    let speeds = |rounds: &[Measured]| crate::compare::speed(rounds).median;
    let errors = quiet
        .iter()
        .chain(&busy)
        .map(|measured| measured.errors)
        .sum();
    Ok(Row::new(format!(
        "loss of poll throughput with {answers} answers being written at {speed} tokens/s"
    ))
    .wants(Want::AtMost(10.0), "%", 1)
    .depends_on_speed()
    .value(losses.median)
    .spread(losses.range(1))
    .measured(format!(
        "{:.0} instead of {:.0} requests/s",
        speeds(&busy),
        speeds(&quiet)
    ))
    .errors(errors)
    .raw(json!({"quiet": quiet, "busy": busy, "losses": losses})))
}

async fn set_written(upstream: &Upstream, is_written: bool) -> Result<()> {
    if is_written {
        upstream.go_on().await?;
    } else {
        upstream.pause().await?;
    }
    // What had been said is on the disk then.
    tokio::time::sleep(Duration::from_millis(600)).await;
    Ok(())
}

//! What polls ask of the database: nothing, if they are of answers that the same node writes, and of chats in which it
//! knows that nothing is new. A stretch with polls is held against one without.
//!
//! PostgreSQL writes each statement down. SQLite has nobody who could: there each connection has a thread of its own,
//! which sleeps unless it is given a statement, and Linux counts how often it went to sleep.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::bench::Bench;
use crate::http;
use crate::load::Closed;
use crate::machine::Place;
use crate::procfs;
use crate::report::{Row, Want};
use crate::rig::{Rig, Store};
use crate::stats::{number, per};
use crate::talks::{self, Until};
use crate::upstream::Order;

/// As the driver names the threads of its connections.
const SQLITE_THREADS: &str = "sqlx-sqlite";
const CONNECTIONS: usize = 50;
/// Statements for a poll that are no more than what happens beside the polls anyway.
const NONE: f64 = 0.001;

pub async fn run(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for store in Store::ALL {
        let rig = match store {
            Store::Sqlite => Rig::start(bench).await?,
            Store::Postgres => Rig::start_logged(bench, Place::Server).await?,
        };
        let address = rig.server()?.address;
        let standing = Order {
            holds: true,
            ..Order::of(100)
        };
        let live = talks::make(address, &[standing], Until::Said).await?;
        let quiet = talks::make(address, &[Order::of(100)], Until::Completed).await?;
        let polls = [
            (
                "token polls of a live answer",
                live[0].tokens_path(live[0].position),
            ),
            (
                "messages polls of a live answer's chat",
                live[0].messages_path(),
            ),
            ("messages polls of a quiet chat", quiet[0].messages_path()),
        ];
        for (what, path) in polls {
            rows.push(measure(bench, &rig, store, what, &path).await?);
        }
        rig.end().await?;
    }
    Ok(rows)
}

async fn measure(bench: &Bench, rig: &Rig, store: Store, what: &str, path: &str) -> Result<Row> {
    let time = Duration::from_secs(bench.or_quick(3, 1));
    let target = rig.target(bench, vec![http::get(path)], 200)?;
    let before = asked(bench, rig, store).await?;
    tokio::time::sleep(time).await;
    let between = asked(bench, rig, store).await?;
    let poll = move || Closed::connect(target, CONNECTIONS)?.run(Duration::ZERO, time);
    let measured = tokio::task::spawn_blocking(poll).await??;
    let after = asked(bench, rig, store).await?;
    let (idle, busy) = (between - before, after - between);
    let polls = measured.requests_per_second * time.as_secs_f64();
    let each = per(number(busy.saturating_sub(idle)), polls);
    let counted = match store {
        Store::Sqlite => "sleeps of its connections' threads",
        Store::Postgres => "statements, by `log_statement`,",
    };
    Ok(Row::new(format!(
        "statements for each poll, {what}, {}",
        store.name()
    ))
    .wants(Want::AtMost(NONE), "each", 4)
    .value(each)
    .measured(format!(
        "{busy} {counted} beside {polls:.0} polls, {idle} in as long without"
    ))
    .errors(measured.errors)
    .raw(json!({"polls": polls, "busy": busy, "idle": idle})))
}

async fn asked(bench: &Bench, rig: &Rig, store: Store) -> Result<u64> {
    match store {
        Store::Postgres => {
            let cluster = bench.postgres().await?;
            Ok(cluster.statements(rig.database_url()).await?.all)
        }
        Store::Sqlite => {
            let sleeps = procfs::sleeps(rig.server()?.pid, SQLITE_THREADS)?;
            anyhow::ensure!(!sleeps.is_empty(), "no thread of a connection was found");
            Ok(sleeps.values().sum())
        }
    }
}

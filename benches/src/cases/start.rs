//! How soon a server that is started on a database of before answers its first poll; and how large it is.

use std::time::Instant;

use anyhow::Result;

use crate::bench::Bench;
use crate::client::Client;
use crate::report::{Row, Want};
use crate::rig::Rig;
use crate::stats::{Spread, number};
use crate::talks::{self, Until};
use crate::upstream::Order;

pub async fn run(bench: &Bench) -> Result<Vec<Row>> {
    let mut rig = Rig::start(bench).await?;
    let talks = talks::make(rig.server()?.address, &[Order::of(20)], Until::Completed).await?;
    let path = talks[0].tokens_path(0);
    let mut times = Vec::new();
    for _ in 0..bench.or_quick(20, 5) {
        rig.stop_server().await?;
        let begun = Instant::now();
        rig.start_server(bench).await?;
        let mut client = Client::connect(rig.server()?.address).await?;
        client.get(&path).await?.expect(200)?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    rig.end().await?;
    let spread = Spread::of(times);
    let bytes = std::fs::metadata(&bench.server)?.len();
    Ok(vec![
        Row::new("start to the first answer on a migrated database, SQLite")
            .wants(Want::AtMost(100.0), "ms", 0)
            .depends_on_speed()
            .value(spread.median)
            .spread(spread.range(0)),
        Row::new("size of the binary")
            .wants(Want::AtMost(25.0), "MiB", 1)
            .value(number(bytes) / 1_048_576.0),
    ])
}

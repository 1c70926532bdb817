//! How fast the machine is just now, by the bare server. The targets that are times, or so many in a second, were set on one
//! machine; on a slower one they say more of it than of Pollen.

use anyhow::Result;
use tokio::task::spawn_blocking;

use crate::baseline;
use crate::bench::Bench;
use crate::http;
use crate::load::{Closed, Measured, Protocol, Target};

/// What a request took of the bare server's CPU on the machine on which the targets were set.
const TARGETS_US: f64 = 6.0;
/// Of that request.
const BODY_BYTES: usize = 90;
const CONNECTIONS: usize = 50;

/// How many times as long this machine takes for a request as the one of the targets.
pub async fn slowness(bench: &Bench) -> Result<f64> {
    let measured = bare(bench, CONNECTIONS).await?;
    Ok(measured.cpu_us_per_request / TARGETS_US)
}

/// What the bare server does on so many connections.
pub async fn bare(bench: &Bench, connections: usize) -> Result<Measured> {
    let hello = baseline::start(bench, BODY_BYTES).await?;
    let target = Target {
        address: hello.address,
        pid: hello.pid,
        core: bench.pinning.server_core(),
        requests: vec![http::get(baseline::PATH)],
        status: 200,
        protocol: Protocol::Http1,
    };
    let rounds = bench.rounds();
    let measured = spawn_blocking(move || {
        Closed::connect(target, connections)?.run(rounds.warm_up, rounds.time)
    });
    let measured = measured.await?;
    hello.kill().await?;
    measured
}

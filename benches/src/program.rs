//! Measures Pollen: the release binary, started as somebody would start it, beside a bare server of the same stack, with
//! a model of the harness's own and a real database. `scripts/bench.sh` builds all that is needed and runs it.

mod baseline;
mod bench;
mod cases;
mod client;
mod compare;
mod count;
mod disk;
mod hidden;
mod http;
mod load;
mod machine;
mod postgres;
mod process;
mod procfs;
mod report;
mod rig;
mod server;
mod sqlite;
mod stats;
mod talks;
mod upstream;
mod yardstick;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use tokio::time::timeout;

use bench::Bench;
use cases::Case;
use machine::{Facts, Pinning};
use report::{Report, Row, note};

/// A case that takes longer than this has failed.
const CASE: Duration = Duration::from_mins(6);

/// Measures Pollen.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    hidden: Option<Hidden>,
    /// The server's binary.
    #[arg(long, default_value = "target/release/pollen")]
    server: PathBuf,
    /// Where databases, logs and the report go. A directory on a disk, not in memory.
    #[arg(long, default_value = "target/bench")]
    directory: PathBuf,
    /// Fewer and shorter rounds.
    #[arg(long)]
    quick: bool,
    /// Keeps databases and logs.
    #[arg(long)]
    keep: bool,
    /// What to measure; all of it if nothing is named.
    #[arg(value_enum)]
    cases: Vec<Case>,
}

/// The harness's own child processes.
#[derive(Subcommand)]
enum Hidden {
    /// The bare server.
    #[command(hide = true)]
    Baseline {
        #[arg(long)]
        bytes: usize,
    },
    /// The model.
    #[command(hide = true)]
    Upstream,
    /// Counts the instructions of the polls and compares them with the record.
    Count {
        /// Writes the record anew instead.
        #[arg(long)]
        record: bool,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.hidden {
        Some(Hidden::Baseline { bytes }) => baseline::run(bytes).map(|()| true),
        Some(Hidden::Upstream) => upstream::run().map(|()| true),
        Some(Hidden::Count { record }) => count(&cli, record),
        None => measure(cli),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            note(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// False if a poll has become too dear.
fn count(cli: &Cli, records: bool) -> Result<bool> {
    let server = cli.server.canonicalize();
    let server =
        server.with_context(|| format!("there is no server at {}", cli.server.display()))?;
    let pinning = Pinning::set_up()?;
    let bench = Bench::new(server, &cli.directory, pinning, cli.quick, cli.keep)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(count::run(&bench, records))
}

/// True if no case failed.
fn measure(cli: Cli) -> Result<bool> {
    let pinning = Pinning::set_up()?;
    let server = cli
        .server
        .canonicalize()
        .with_context(|| format!("there is no server at {}", cli.server.display()))?;
    let facts = Facts::gather(&server)?;
    let bench = Bench::new(server, &cli.directory, pinning, cli.quick, cli.keep)?;
    let how = bench.how();
    let report = Report::begin(cli.directory, facts, how);
    let cases = match cli.cases {
        named if named.is_empty() => Case::all(),
        named => named,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(async {
        tokio::select! {
            done = run(&bench, &cases, report) => done,
            () = interrupted() => anyhow::bail!("interrupted"),
        }
    });
    // A generator that is still asking must not keep the program: what it asks is gone.
    runtime.shutdown_background();
    done
}

async fn run(bench: &Bench, cases: &[Case], mut report: Report) -> Result<bool> {
    for case in cases {
        let begun = std::time::Instant::now();
        let slowness = yardstick::slowness(bench).await?;
        let rows = match timeout(CASE, case.run(bench)).await {
            Ok(Ok(rows)) => rows,
            Ok(Err(error)) => vec![Row::failed(&error)],
            Err(_) => vec![Row::failed(&anyhow::anyhow!("it took too long"))],
        };
        report.add(&case.name(), slowness, rows)?;
        note(&format!(
            "{}: {:.0} s; the machine took {slowness:.1} times as long as the targets' before",
            case.name(),
            begun.elapsed().as_secs_f64()
        ));
    }
    Ok(!report.has_failures())
}

/// Ctrl-C, or whoever started it wants it to end: what was started ends with it.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        },
        Err(_) => std::future::pending().await,
    }
}

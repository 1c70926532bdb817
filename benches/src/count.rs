//! Instructions of one poll, counted by callgrind: a figure that does not depend on how busy the machine is. It is
//! compared with the one on record, so that a poll does not become dearer unnoticed; the record is changed on purpose,
//! by `scripts/count.sh --record`.
//!
//! What is counted is all that the server's process does while it answers, hyper and tokio included, and the kernel
//! not: 500 polls, and the difference to 100, so that what beginning and ending a count costs falls out.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::process::Command;

use crate::bench::Bench;
use crate::client::Client;
use crate::http;
use crate::report::note;
use crate::rig::Rig;
use crate::talks::{self, Talk, Until};
use crate::upstream::Order;

/// What is on record, from the root of the repository.
const RECORD: &str = "benches/instructions.json";
/// How much dearer than the record a poll may be.
const TOLERANCE: f64 = 0.10;
/// Polls before anything is counted.
const WARM_UP: u32 = 50;
const FEW: u32 = 100;
const MANY: u32 = 600;
/// What the server does by itself now and then is counted too, so the least of some counts is taken.
const TRIES: u32 = 5;
/// So many bytes before the end of the text are asked for.
const NEW_BYTES: u64 = 12;

/// The server's wrapper: nothing is counted until it is asked for.
pub const VALGRIND: [&str; 4] = [
    "valgrind",
    "--tool=callgrind",
    "--instr-atstart=no",
    "--callgrind-out-file=callgrind.out",
];

/// Instructions by the poll's name.
type Counts = BTreeMap<String, u64>;

/// Counts, and compares or records. False: something is dearer than it may be.
pub async fn run(bench: &Bench, records: bool) -> Result<bool> {
    let counts = count(bench).await?;
    if records {
        fs::write(RECORD, serde_json::to_string_pretty(&counts)? + "\n")?;
        note(&format!("recorded in {RECORD}"));
        return Ok(true);
    }
    let record = fs::read_to_string(RECORD).with_context(|| format!("cannot read {RECORD}"))?;
    let record: Counts = serde_json::from_str(&record)?;
    let mut is_fine = true;
    for (poll, counted) in &counts {
        let Some(before) = record.get(poll) else {
            bail!("{poll} is not on record: ./scripts/count.sh --record");
        };
        let change = ratio(*counted, *before) - 1.0;
        note(&format!(
            "{poll}: {counted} instructions, {:+.1} % of the {before} on record",
            change * 100.0
        ));
        if change > TOLERANCE {
            note(&format!(
                "{poll} is dearer than it may be. Make it cheaper, or say in a commit why not: ./scripts/count.sh --record"
            ));
            is_fine = false;
        }
    }
    Ok(is_fine)
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn ratio(a: u64, b: u64) -> f64 {
    a as f64 / b as f64
}

async fn count(bench: &Bench) -> Result<Counts> {
    let rig = Rig::start_counted(bench).await?;
    let standing = Order {
        tokens: 100,
        holds: true,
        ..Order::of(100)
    };
    let address = rig.server()?.address;
    let live = only(talks::make(address, &[standing], Until::Said).await?)?;
    let finished = only(talks::make(address, &[Order::of(100)], Until::Completed).await?)?;
    let mut client = Client::connect(address).await?;
    let from = live.position - NEW_BYTES;
    let open = "open=200&reasoning=0&after=300";
    let polls = [
        (
            "tokens of a live answer",
            http::get(&live.tokens_path(from)),
        ),
        (
            "tokens of a live answer, on a page",
            http::get_fragment(&format!("{}?{open}", live.tokens_path(from))),
        ),
        (
            "tokens of a finished answer",
            http::get(&finished.tokens_path(finished.position)),
        ),
        (
            "messages, nothing new",
            http::get(&finished.messages_path()),
        ),
    ];
    let mut counts = Counts::new();
    let counter = Counter {
        pid: rig.server()?.pid,
        directory: rig.directory().to_owned(),
    };
    for (name, request) in polls {
        ask(&mut client, &request, WARM_UP).await?;
        let few = counter.least(&mut client, &request, FEW).await?;
        let many = counter.least(&mut client, &request, MANY).await?;
        let each = many.saturating_sub(few) / u64::from(MANY - FEW);
        counts.insert(name.to_owned(), each);
    }
    rig.end().await?;
    Ok(counts)
}

fn only(talks: Vec<Talk>) -> Result<Talk> {
    talks.into_iter().next().context("no chat was made")
}

async fn ask(client: &mut Client, request: &[u8], times: u32) -> Result<()> {
    for _ in 0..times {
        client.ask(request).await?.expect(200)?;
    }
    Ok(())
}

/// What counts in a process that runs under callgrind.
struct Counter {
    pid: u32,
    /// Where it leaves what it has counted.
    directory: PathBuf,
}

impl Counter {
    /// Instructions of so many polls, with as little else beside them as the server does.
    async fn least(&self, client: &mut Client, request: &[u8], times: u32) -> Result<u64> {
        let mut least = u64::MAX;
        for _ in 0..TRIES {
            least = least.min(self.count(client, request, times).await?);
        }
        Ok(least)
    }

    /// Instructions of so many polls.
    async fn count(&self, client: &mut Client, request: &[u8], times: u32) -> Result<u64> {
        self.control(&["-z"]).await?;
        self.control(&["-i", "on"]).await?;
        ask(client, request, times).await?;
        self.control(&["-i", "off"]).await?;
        self.control(&["-d"]).await?;
        let dump = newest(&self.directory)?;
        let text = fs::read_to_string(&dump)?;
        fs::remove_file(dump)?;
        let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
        let total = total.context("callgrind tells no total")?;
        Ok(total.trim().parse()?)
    }

    async fn control(&self, words: &[&str]) -> Result<()> {
        let pid = self.pid.to_string();
        let done = Command::new("callgrind_control")
            .args(words)
            .arg(&pid)
            .output()
            .await
            .context("callgrind_control is missing: install valgrind")?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "callgrind_control: {said}");
        Ok(())
    }
}

/// The dump with the highest number: they are numbered as they come.
fn newest(directory: &Path) -> Result<PathBuf> {
    let mut dumps = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if let Some(number) = name.strip_prefix("callgrind.out.") {
            dumps.push((number.parse::<u32>().unwrap_or(0), path.clone()));
        }
    }
    let last = dumps.into_iter().max();
    Ok(last.context("callgrind has left no dump")?.1)
}

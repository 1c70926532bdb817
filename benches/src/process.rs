//! Programs that are started: each at its place, gone with the value that holds it, whatever ends the harness.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::machine::{Pinning, Place};
use crate::procfs;

/// What has not started after this has failed. A database with ten million messages takes its time.
const START: Duration = Duration::from_mins(1);
/// What has not ended after this is killed.
const END: Duration = Duration::from_mins(1);
const LOOK: Duration = Duration::from_millis(5);

/// A program that has said where it listens. Dropping it kills it.
pub struct Process {
    child: Child,
    pub pid: u32,
    pub address: SocketAddr,
    /// A child of the harness's own ends when this closes.
    _stdin: Option<ChildStdin>,
    /// Open, so that it may print.
    _stdout: Lines<BufReader<ChildStdout>>,
}

/// What to start.
pub struct Start<'a> {
    pub program: &'a Path,
    pub arguments: Vec<String>,
    pub directory: &'a Path,
    /// Nothing else is in its environment but `PATH`.
    pub variables: Vec<(String, String)>,
    pub place: Place,
    /// Where standard error goes.
    pub log: PathBuf,
}

impl Process {
    /// Starts it, and waits for the line with its address: `http://127.0.0.1:PORT`.
    pub async fn start(pinning: &Pinning, start: Start<'_>) -> Result<Self> {
        let mut words = pinning.prefix(start.place);
        words.push(start.program.display().to_string());
        words.extend(start.arguments);
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .current_dir(start.directory)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(start.variables)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::options().create(true).append(true).open(&start.log)?)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", words.join(" ")))?;
        let pid = child.id().context("it has ended already")?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("no standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        let said = timeout(START, lines.next_line()).await;
        let Ok(Ok(Some(line))) = said else {
            let log = std::fs::read_to_string(&start.log).unwrap_or_default();
            bail!("{} did not start: {}", words.join(" "), last_lines(&log));
        };
        let address = line
            .split_once("http://")
            .and_then(|(_, rest)| rest.split_whitespace().next())
            .and_then(|address| address.trim_end_matches(['/', ',']).parse().ok())
            .with_context(|| format!("no address in {line:?}"))?;
        Ok(Self {
            child,
            pid,
            address,
            _stdin: stdin,
            _stdout: lines,
        })
    }

    /// Asks it to end, and waits until it has.
    pub async fn terminate(mut self) -> Result<()> {
        self.signal("-TERM").await?;
        let end = Instant::now() + END;
        while !procfs::has_ended(self.pid)? {
            anyhow::ensure!(Instant::now() < end, "it did not end when asked to");
            tokio::time::sleep(LOOK).await;
        }
        let status = self.child.wait().await?;
        anyhow::ensure!(status.success(), "it ended with {status}");
        Ok(())
    }

    /// Ends it where it stands, and waits until it is gone.
    pub async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// By the shell's own `kill`: the program is not on every machine.
    async fn signal(&self, signal: &str) -> Result<()> {
        let pid = self.pid.to_string();
        let kill = Command::new("sh")
            .args(["-c", "kill \"$0\" \"$1\"", signal, &pid])
            .status()
            .await?;
        anyhow::ensure!(kill.success(), "process {pid} is gone already");
        Ok(())
    }
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(5)..].join(" / ")
}

//! The real binary, as somebody would start it, with an environment of its own.

use std::fs::File;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

/// How often a start is tried again at an address that is taken, and the pause between.
const TRIES: usize = 50;
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// The binary, in this directory, with these variables and no other that could matter.
pub fn pollen(dir: &Path, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pollen"));
    command
        .current_dir(dir)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        // No Ollama of the machine's own is to be found.
        .env("POLLEN_OLLAMA__BASE_URL", "http://127.0.0.1:9")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Sends a process a signal.
pub async fn send_signal(child: &Child, signal: &str) {
    let pid = child.id().unwrap().to_string();
    // The shell's own `kill`: the program is not on every machine.
    let kill = Command::new("sh")
        .args(["-c", "kill \"$0\" \"$1\"", signal, &pid])
        .status()
        .await
        .unwrap();
    assert!(kill.success());
}

/// Runs the binary to its end.
pub async fn run(dir: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    pollen(dir, variables)
        .args(arguments)
        .output()
        .await
        .unwrap()
}

/// A running server. Dropping it kills it.
pub struct Server {
    child: Child,
    /// The line that it printed.
    pub summary: String,
    pub base: String,
    /// What a test calls it.
    pub name: String,
}

impl Server {
    /// Starts it on a free port and waits for its line.
    pub async fn start(dir: &Path, variables: &[(&str, &str)]) -> Self {
        Self::start_at(dir, variables, "127.0.0.1:0").await
    }

    /// Starts it on this address and waits for its line.
    pub async fn start_at(dir: &Path, variables: &[(&str, &str)], listen: &str) -> Self {
        let mut log = String::new();
        for _ in 0..TRIES {
            let mut child = pollen(dir, variables)
                .args(["--listen", listen])
                .spawn()
                .unwrap();
            if let Some(summary) = first_line(&mut child).await {
                return Self::running(child, summary);
            }
            log.clear();
            let mut stderr = child.stderr.take().unwrap();
            stderr.read_to_string(&mut log).await.unwrap();
            // Somebody may have the address for a moment.
            if !log.contains("cannot listen") {
                break;
            }
            tokio::time::sleep(TRY_AGAIN).await;
        }
        panic!("the server did not start: {log}");
    }

    /// As [`Server::start`], with a log that goes to the end of a file: nobody has to read it for
    /// the server to go on. None if it did not start.
    pub async fn try_start(dir: &Path, variables: &[(&str, &str)], log: &Path) -> Option<Self> {
        let log = File::options().create(true).append(true).open(log).unwrap();
        let mut child = pollen(dir, variables)
            .args(["--listen", "127.0.0.1:0"])
            .stderr(log)
            .spawn()
            .unwrap();
        let summary = first_line(&mut child).await?;
        Some(Self::running(child, summary))
    }

    fn running(child: Child, summary: String) -> Self {
        let address = summary
            .split_whitespace()
            .find(|word| word.starts_with("http://"))
            .unwrap_or_else(|| panic!("no address in {summary:?}"));
        Self {
            child,
            base: address.to_owned(),
            summary,
            name: String::new(),
        }
    }

    /// Files and sockets that it has open.
    pub fn open_files(&self) -> usize {
        let pid = self.child.id().unwrap();
        std::fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .count()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub fn named(self, name: String) -> Self {
        Self { name, ..self }
    }

    /// Sends it a signal: `-STOP` halts it where it stands, `-CONT` lets it go on.
    pub async fn signal(&self, signal: &str) {
        send_signal(&self.child, signal).await;
    }

    /// Kills it where it stands.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Asks it to end, and waits; its log.
    pub async fn terminate(mut self, signal: &str) -> (std::process::ExitStatus, String) {
        self.signal(signal).await;
        let mut log = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut log).await.unwrap();
        (self.child.wait().await.unwrap(), log)
    }
}

/// What it prints when it serves. None if it ended before.
async fn first_line(child: &mut Child) -> Option<String> {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.next_line().await.unwrap()
}

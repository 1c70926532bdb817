//! The real binary, as somebody would start it, with an environment of its own.

use std::path::Path;
use std::process::{Output, Stdio};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

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
}

impl Server {
    /// Starts it on a free port and waits for its line.
    pub async fn start(dir: &Path, variables: &[(&str, &str)]) -> Self {
        let mut child = pollen(dir, variables)
            .args(["--listen", "127.0.0.1:0"])
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let Some(summary) = lines.next_line().await.unwrap() else {
            let mut log = String::new();
            let mut stderr = child.stderr.take().unwrap();
            stderr.read_to_string(&mut log).await.unwrap();
            panic!("the server did not start: {log}");
        };
        let address = summary
            .split_whitespace()
            .find(|word| word.starts_with("http://"))
            .unwrap_or_else(|| panic!("no address in {summary:?}"));
        Self {
            child,
            base: address.to_owned(),
            summary,
        }
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Kills it where it stands.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Asks it to end, and waits; its log.
    pub async fn terminate(mut self, signal: &str) -> (std::process::ExitStatus, String) {
        let pid = self.child.id().unwrap().to_string();
        // The shell's own `kill`: the program is not on every machine.
        let kill = Command::new("sh")
            .args(["-c", "kill \"$0\" \"$1\"", signal, &pid])
            .status()
            .await
            .unwrap();
        assert!(kill.success());
        let mut log = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut log).await.unwrap();
        (self.child.wait().await.unwrap(), log)
    }
}

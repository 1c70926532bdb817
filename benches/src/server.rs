//! The server that is measured: the release binary as somebody would start it, with all that is on by default. What has to
//! be raised for a load that no default is meant for is listed here, and in the report.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::bench::Bench;
use crate::machine::Place;
use crate::process::{Process, Start};

/// Beyond the defaults, for all cases.
pub const RAISED: [(&str, &str); 7] = [
    // Live answers: 10,000 at once, where the default is 1,000 a node.
    ("POLLEN_WORKER__MAX_RUNNING", "20000"),
    // Viewers: the step that fails has more than the default of 20,000.
    ("POLLEN_LIMITS__CONNECTIONS", "60000"),
    // Answers that stand still, or take minutes, are no fault of the model here.
    ("POLLEN_UPSTREAM__STALL_TIMEOUT_MS", "3600000"),
    ("POLLEN_UPSTREAM__FIRST_BYTE_TIMEOUT_MS", "3600000"),
    ("POLLEN_WORKER__FIRST_TOKEN_TIMEOUT_MS", "3600000"),
    ("POLLEN_WORKER__DEADLINE_MS", "3600000"),
    // Connections that are kept for the other server's turn.
    ("POLLEN_LIMITS__IDLE_TIMEOUT_MS", "300000"),
];

/// How one is to be started.
#[derive(Clone, Debug)]
pub struct Settings {
    pub database_url: String,
    /// The model's server.
    pub upstream: SocketAddr,
    pub place: Place,
    /// What it is started by, if not by itself.
    pub wrapper: Vec<String>,
}

/// A running server.
pub struct Server {
    process: Process,
    pub pid: u32,
    pub address: SocketAddr,
    log: PathBuf,
}

impl Server {
    pub async fn start(bench: &Bench, directory: &Path, settings: &Settings) -> Result<Self> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut variables: Vec<(String, String)> = RAISED.iter().map(own).collect();
        variables.extend([
            ("POLLEN_DATABASE_URL".into(), settings.database_url.clone()),
            ("POLLEN_DEFAULT_PROVIDER".into(), "openai".into()),
            (
                "OPENAI_BASE_URL".into(),
                format!("http://{}/v1", settings.upstream),
            ),
            ("POLLEN_OPENAI__MODEL".into(), "bench".into()),
            // No Ollama of the machine's own is to be found.
            (
                "POLLEN_OLLAMA__BASE_URL".into(),
                "http://127.0.0.1:9".into(),
            ),
        ]);
        if bench.pinning.is_one_core(settings.place) {
            variables.push(("TOKIO_WORKER_THREADS".into(), "1".into()));
        }
        let log = directory.join("server.log");
        let own = bench.server.display().to_string();
        let listen = ["--listen".to_owned(), "127.0.0.1:0".to_owned()];
        let words = settings.wrapper.iter().cloned().chain([own]).chain(listen);
        let words: Vec<String> = words.collect();
        let process = Process::start(
            &bench.pinning,
            Start {
                program: Path::new(&words[0]),
                arguments: words[1..].to_vec(),
                directory,
                variables,
                place: settings.place,
                log: log.clone(),
            },
        )
        .await?;
        Ok(Self {
            pid: process.pid,
            address: process.address,
            process,
            log,
        })
    }

    /// Asks it to end, and waits: all that it has is in the database then. All bytes that it has had written.
    pub async fn stop(self) -> Result<()> {
        self.process.terminate().await
    }

    pub async fn kill(self) -> Result<()> {
        self.process.kill().await
    }

    /// What it has logged that somebody would have to look at.
    pub fn complaints(&self) -> Vec<String> {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.lines()
            .filter(|line| line.contains("WARN") || line.contains("ERROR"))
            .map(str::to_owned)
            .collect()
    }
}

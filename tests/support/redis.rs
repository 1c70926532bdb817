//! A Redis server of a test's own, which keeps nothing on disk.

use std::process::Stdio;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::ports::free_port;
use super::process::send_signal;

const MISSING: &str =
    "redis-server is missing: install Debian's package `redis-server` (./scripts/test.sh does)";
/// What it says when it serves.
const READY: &str = "Ready to accept connections";
/// Another program may take the free port before it does.
const TRIES: usize = 5;
/// No server takes this long to say whether it serves.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A running server. Dropping it kills it, also when it is halted.
pub struct Redis {
    port: u16,
    dir: TempDir,
    child: Child,
}

impl Redis {
    /// Starts it on a free port and waits until it serves.
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..TRIES {
            let port = free_port();
            if let Some(child) = serve(port, &dir).await {
                return Self { port, dir, child };
            }
        }
        panic!("redis-server did not start on any of {TRIES} ports");
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A connection past the server that is tested.
    pub async fn connect(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.url()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// Kills it where it stands. What it had is gone.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Starts it anew on the same port.
    pub async fn start_again(&mut self) {
        self.child = serve(self.port, &self.dir)
            .await
            .expect("its port is its own");
    }

    /// Halts it: what is sent to it is taken and not answered.
    pub async fn pause(&self) {
        send_signal(&self.child, "-STOP").await;
    }

    /// Lets it go on with what it has been sent.
    pub async fn resume(&self) {
        send_signal(&self.child, "-CONT").await;
    }
}

/// None if it ended before it served.
async fn serve(port: u16, dir: &TempDir) -> Option<Child> {
    let mut child = Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
        .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
        .arg("--dir")
        .arg(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect(MISSING);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains(READY) {
                return true;
            }
        }
        false
    };
    let is_ready = tokio::time::timeout(START_LIMIT, ready).await;
    is_ready
        .expect("redis-server says whether it serves")
        .then_some(child)
}

//! One PostgreSQL for the whole test run, with a database in it for each test; and, for a test that
//! takes it down, one of its own.
//!
//! It is kept by a shell that reads commands from a pipe of this process: when the process ends,
//! however it ends, the pipe closes, and the shell stops the server and removes its directory.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use sea_orm::ConnectionTrait;

use super::ports::free_port;

const MISSING: &str =
    "PostgreSQL is missing: install Debian's package `postgresql` (./scripts/test.sh does)";

const KEEPER: &str = r#"
set -e
bin=$1 port=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
start() {
  "$bin/pg_ctl" -D "$dir/data" -w -l "$dir/log" \
    -o "-p $port -k $dir -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=400" start >/dev/null \
    || { cat "$dir/log"; exit 1; }
  echo ready
}
stop() { "$bin/pg_ctl" -D "$dir/data" -w -m immediate stop >/dev/null 2>&1 || true; }
"$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --no-sync >"$dir/log" 2>&1 || { cat "$dir/log"; exit 1; }
start
while read -r command; do
  case $command in
    start) start ;;
    stop) stop; echo stopped ;;
  esac
done
stop
"#;

static CLUSTER: LazyLock<Cluster> = LazyLock::new(Cluster::start);
static DATABASES: AtomicUsize = AtomicUsize::new(0);

/// A PostgreSQL server, gone when this is dropped or the process ends.
pub struct Cluster {
    port: u16,
    keeper: Child,
    /// Closed by the end of this process.
    pipe: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
}

impl Cluster {
    /// One that no other test uses, so that it may be taken down.
    pub async fn of_its_own() -> Self {
        tokio::task::spawn_blocking(Self::start).await.unwrap()
    }

    fn start() -> Self {
        let port = free_port();
        let mut command = as_unprivileged_user("sh");
        let mut keeper = command
            .args(["-c", KEEPER, "keeper"])
            .arg(binaries())
            .arg(port.to_string())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect(MISSING);
        let mut cluster = Self {
            port,
            pipe: keeper.stdin.take().unwrap(),
            said: BufReader::new(keeper.stdout.take().unwrap()).lines(),
            keeper,
        };
        cluster.wait_for("ready");
        cluster
    }

    /// Takes the server down as a crash would: connections end in the middle of whatever it is.
    /// Waits for it, so the runtime must have more than one thread.
    pub fn stop(&mut self) {
        self.tell("stop", "stopped");
    }

    /// Brings it up again, on the same port and with what was committed.
    pub fn start_again(&mut self) {
        self.tell("start", "ready");
    }

    fn tell(&mut self, command: &str, answer: &str) {
        tokio::task::block_in_place(|| {
            writeln!(self.pipe, "{command}").unwrap();
            self.wait_for(answer);
        });
    }

    fn wait_for(&mut self, answer: &str) {
        let mut log = Vec::new();
        for line in &mut self.said {
            let line = line.unwrap();
            if line == answer {
                return;
            }
            log.push(line);
        }
        let ended = self.keeper.wait().unwrap();
        panic!("PostgreSQL did not do it ({ended}): {}", log.join("\n"));
    }

    /// The URL of a new, empty database.
    pub async fn create_database(&self) -> String {
        let number = DATABASES.fetch_add(1, Ordering::Relaxed);
        let base = format!("postgres://postgres@127.0.0.1:{}", self.port);
        let mut options = sea_orm::ConnectOptions::new(format!("{base}/postgres"));
        options.max_connections(1).sqlx_logging(false);
        let admin = sea_orm::Database::connect(options).await.unwrap();
        admin
            .execute_unprepared(&format!("CREATE DATABASE test_{number}"))
            .await
            .unwrap();
        admin.close().await.unwrap();
        format!("{base}/test_{number}")
    }
}

/// PostgreSQL refuses to run as root.
fn as_unprivileged_user(program: &str) -> Command {
    let is_root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    if !is_root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args([
            "--reuid=postgres",
            "--regid=postgres",
            "--clear-groups",
            "--",
        ])
        .arg(program);
    command
}

fn binaries() -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|versions| {
            versions
                .flatten()
                .map(|version| version.path().join("bin"))
                .filter(|bin| bin.join("initdb").exists())
                .collect()
        })
        .unwrap_or_default();
    found.sort();
    found.pop().or_else(on_path).expect(MISSING)
}

fn on_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .find(|dir| dir.join("initdb").exists() && dir.join("pg_ctl").exists())
}

/// The URL of a new, empty database in the server that all tests share.
pub async fn create_database() -> String {
    let cluster = tokio::task::spawn_blocking(|| &*CLUSTER).await.unwrap();
    cluster.create_database().await
}

//! One PostgreSQL for the whole test run, with a database in it for each test.
//!
//! It is kept by a shell that waits on a pipe from this process: when the process ends, however
//! it ends, the pipe closes, and the shell stops the server and removes its directory.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use sea_orm::ConnectionTrait;

const MISSING: &str =
    "PostgreSQL is missing: install Debian's package `postgresql` (./scripts/test.sh does)";

const KEEPER: &str = r#"
set -e
bin=$1 port=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"$bin/initdb" -D "$dir/data" -U postgres -A trust --no-sync >"$dir/log" 2>&1 || { cat "$dir/log"; exit 1; }
"$bin/pg_ctl" -D "$dir/data" -w -l "$dir/log" \
  -o "-p $port -k $dir -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=400" start >/dev/null \
  || { cat "$dir/log"; exit 1; }
echo ready
read -r _ || true
"$bin/pg_ctl" -D "$dir/data" -m immediate stop >/dev/null 2>&1 || true
"#;

static CLUSTER: LazyLock<Cluster> = LazyLock::new(Cluster::start);
static DATABASES: AtomicUsize = AtomicUsize::new(0);

struct Cluster {
    port: u16,
    _keeper: Child,
    /// Closed by the end of this process.
    _pipe: ChildStdin,
}

impl Cluster {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .unwrap()
            .port();
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
        let mut lines = BufReader::new(keeper.stdout.take().unwrap()).lines();
        let mut said = Vec::new();
        for line in &mut lines {
            let line = line.unwrap();
            if line == "ready" {
                let pipe = keeper.stdin.take().unwrap();
                return Self {
                    port,
                    _keeper: keeper,
                    _pipe: pipe,
                };
            }
            said.push(line);
        }
        let ended = keeper.wait().unwrap();
        panic!("PostgreSQL did not start ({ended}): {}", said.join("\n"));
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

/// The URL of a new, empty database.
pub async fn create_database() -> String {
    let cluster = tokio::task::spawn_blocking(|| &*CLUSTER).await.unwrap();
    let number = DATABASES.fetch_add(1, Ordering::Relaxed);
    let base = format!("postgres://postgres@127.0.0.1:{}", cluster.port);
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

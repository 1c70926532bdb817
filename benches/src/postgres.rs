//! A PostgreSQL of the harness's own, with the settings it comes with: what is promised of a disk is not measured with
//! `fsync` switched off.
//!
//! As in the tests it is kept by a shell that reads a pipe of this process: when the process ends, however it ends, the
//! pipe closes, and the shell stops the server and removes its directory.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, bail};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::bench::Bench;
use crate::machine::Place;

const MISSING: &str = "PostgreSQL is missing: install Debian's package `postgresql`";

/// Connections: three nodes of sixteen, and the harness's own.
const KEEPER: &str = r#"
set -e
bin=$1 port=$2 parent=$3
dir=$(mktemp -d "$parent/XXXXXX")
trap 'rm -rf "$dir"' EXIT
"$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 >"$dir/log" 2>&1 || { cat "$dir/log"; exit 1; }
"$bin/pg_ctl" -D "$dir/data" -w -l "$dir/log" \
  -o "-p $port -k $dir -c listen_addresses=127.0.0.1 -c max_connections=200 -c log_line_prefix='%d '" start >/dev/null \
  || { cat "$dir/log"; exit 1; }
echo "ready $dir/log"
while read -r _; do :; done
"$bin/pg_ctl" -D "$dir/data" -w -m immediate stop >/dev/null 2>&1 || true
"#;

/// A running one. It ends with the value, or the process.
pub struct Cluster {
    port: u16,
    log: PathBuf,
    databases: AtomicUsize,
    _keeper: Child,
    /// What keeps the keeper.
    _pipe: ChildStdin,
    _said: Lines<BufReader<ChildStdout>>,
    _parent: Option<TempDir>,
}

/// Statements that a database was asked to run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Statements {
    pub all: u64,
    pub reads: u64,
}

impl Cluster {
    pub async fn start(bench: &Bench) -> Result<Self> {
        let binaries = binaries()?;
        let is_root = said("id", &["-u"]).await? == "0";
        let parent = bench.directory()?;
        let path = match is_root {
            true if reaches(parent.path()).await => {
                said("chown", &["postgres", &parent.path().display().to_string()]).await?;
                parent.path().to_owned()
            }
            // Its user does not get there; this one is on a disk, too.
            true => PathBuf::from("/var/tmp"),
            false => parent.path().to_owned(),
        };
        let port = free_port()?;
        let mut words = bench.pinning.prefix(Place::Anywhere);
        if is_root {
            words.extend(UNPRIVILEGED.map(str::to_owned));
        }
        words.extend(["sh", "-c", KEEPER, "keeper"].map(str::to_owned));
        let mut keeper = Command::new(&words[0])
            .args(&words[1..])
            .args([binaries.as_path(), Path::new(&port.to_string()), &path])
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context(MISSING)?;
        let pipe = keeper.stdin.take().context("no pipe")?;
        let stdout = keeper.stdout.take().context("no standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        let mut log = Vec::new();
        while let Some(line) = lines.next_line().await? {
            if let Some(log) = line.strip_prefix("ready ") {
                return Ok(Self {
                    port,
                    log: PathBuf::from(log),
                    databases: AtomicUsize::new(0),
                    _keeper: keeper,
                    _pipe: pipe,
                    _said: lines,
                    _parent: Some(parent),
                });
            }
            log.push(line);
        }
        bail!("PostgreSQL did not start: {}", log.join(" / "));
    }

    /// The URL of a new, empty database.
    pub async fn create_database(&self) -> Result<String> {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("bench_{number}");
        self.execute(&format!("CREATE DATABASE {name}")).await?;
        let port = self.port;
        Ok(format!("postgres://postgres@127.0.0.1:{port}/{name}"))
    }

    /// Runs a statement in a database that is not measured.
    pub async fn execute(&self, sql: &str) -> Result<()> {
        let mut admin = self.connect().await?;
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(&mut admin)
            .await?;
        Ok(())
    }

    /// From now on everybody who connects to the database with this URL is written down.
    pub async fn log_statements(&self, url: &str) -> Result<()> {
        let name = database(url);
        self.execute(&format!("ALTER DATABASE {name} SET log_statement = 'all'"))
            .await
    }

    /// What has been written down so far.
    pub async fn statements(&self, url: &str) -> Result<Statements> {
        let log = tokio::fs::read_to_string(&self.log).await?;
        Ok(Statements::count(&log, database(url)))
    }

    async fn connect(&self) -> Result<PgConnection> {
        let options = PgConnectOptions::new()
            .host("127.0.0.1")
            .port(self.port)
            .username("postgres")
            .database("postgres")
            .disable_statement_logging();
        Ok(options.connect().await?)
    }
}

impl Statements {
    /// Each statement is a line that begins with the database's name, as `log_line_prefix` has it.
    fn count(log: &str, database: &str) -> Self {
        let mut statements = Self::default();
        let prefix = format!("{database} LOG:  ");
        for line in log.lines().filter_map(|line| line.strip_prefix(&prefix)) {
            let is_one = line.starts_with("execute ") || line.starts_with("statement: ");
            let (_, sql) = line.split_once(": ").unwrap_or_default();
            statements.all += u64::from(is_one);
            statements.reads += u64::from(is_one && sql.trim_start().starts_with("SELECT"));
        }
        statements
    }
}

/// The name at the end of its URL.
fn database(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or_default()
}

/// PostgreSQL refuses to run as root.
const UNPRIVILEGED: [&str; 5] = [
    "setpriv",
    "--reuid=postgres",
    "--regid=postgres",
    "--clear-groups",
    "--",
];

/// Whether its user gets to a directory.
async fn reaches(directory: &Path) -> bool {
    let parent = directory.parent().unwrap_or(directory);
    Command::new(UNPRIVILEGED[0])
        .args(&UNPRIVILEGED[1..])
        .args(["test", "-x"])
        .arg(parent)
        .status()
        .await
        .is_ok_and(|status| status.success())
}

async fn said(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output().await?;
    anyhow::ensure!(output.status.success(), "{program} failed");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn binaries() -> Result<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let mut found: Vec<PathBuf> = versions
        .flatten()
        .map(|version| version.path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    found.sort();
    found.pop().or_else(on_path).context(MISSING)
}

fn on_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .find(|dir| dir.join("initdb").exists() && dir.join("pg_ctl").exists())
}

/// Below those that systems give out by themselves: nobody takes it between the look at it and its use.
fn free_port() -> Result<u16> {
    let first = 20_000 + u16::try_from(std::process::id() % 10_000)?;
    (first..first + 2_000)
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .context("no free port")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_counted_for_their_own_database() {
        let log = "bench_1 LOG:  execute sqlx_s_1: SELECT 1\n\
                   bench_1 DETAIL:  parameters: $1 = 'x'\n\
                   bench_1 LOG:  statement: BEGIN\n\
                   bench_10 LOG:  statement: BEGIN\n";
        let counted = Statements::count(log, database("postgres://u@h:1/bench_1"));
        assert_eq!((counted.all, counted.reads), (2, 1));
    }
}

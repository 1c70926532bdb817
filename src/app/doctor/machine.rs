//! The machine: room on its disks, files that a process may have open, and the port.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{statfs, statvfs};
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::Finding;
use super::database::directory;
use crate::app::copies::size;
use crate::config::Config;

const DISK: &str = "disk";
const FILES: &str = "files";
const PORT: &str = "port";
/// Of the space that is enough, this part is hardly any.
const HARDLY_ANY: u64 = 10;
/// Files that a server has open besides its clients' connections and the database's.
const OTHER_FILES: u64 = 100;
/// How long whoever has the port may take to say who it is.
const HEALTH_LIMIT: Duration = Duration::from_secs(3);
/// File systems over which processes share no memory, as SQLite's log needs it: NFS, SMB (three kinds), 9P.
/// From Linux's `magic.h`.
const REMOTE: [(i64, &str); 5] = [
    (0x6969, "NFS"),
    (0x517B, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB2"),
    (0x0102_1997, "9P"),
];

pub(super) fn look(config: &Config, enough: u64) -> Vec<Finding> {
    let mut findings = Vec::new();
    let database = directory(config);
    if let Some(dir) = &database {
        findings.extend(room(dir, "the database", enough));
        findings.extend(kind(dir));
    }
    let temp = std::env::temp_dir();
    if database.as_ref() != Some(&temp) {
        findings.extend(room(&temp, "temporary files", enough));
    }
    findings.push(open_files(config));
    findings
}

/// None: what keeps it from being looked at is told by somebody else.
fn room(dir: &Path, what: &str, enough: u64) -> Option<Finding> {
    let seen = statvfs(dir).ok()?;
    let free = seen.f_bavail.saturating_mul(seen.f_frsize);
    let found = format!("{} free in {} for {what}", size(free), dir.display());
    let advice = "Make room, or move the database to a larger disk: when it is full no message is taken any more.";
    Some(if free < enough / HARDLY_ANY {
        Finding::problem(DISK, found, advice)
    } else if free < enough {
        Finding::warning(DISK, found, advice)
    } else {
        Finding::ok(DISK, found)
    })
}

fn kind(dir: &Path) -> Option<Finding> {
    let magic = statfs(dir).ok()?.f_type;
    let found = REMOTE
        .iter()
        .find(|(number, _)| i128::from(*number) == i128::from(magic))?;
    Some(Finding::problem(
        DISK,
        format!(
            "{} lies on {}, where SQLite loses data",
            dir.display(),
            found.1
        ),
        "Put the file on a disk of this machine, or use PostgreSQL.",
    ))
}

fn open_files(config: &Config) -> Finding {
    let wanted =
        config.limits.connections as u64 + u64::from(config.database.max_connections) + OTHER_FILES;
    let Some(limit) = getrlimit(Resource::Nofile).current else {
        return Finding::ok(FILES, "as many files may be open as there are");
    };
    let found = format!("{limit} files may be open, and {wanted} may be wanted");
    if limit < wanted {
        return Finding::warning(
            FILES,
            found,
            "Raise it (LimitNOFILE= of systemd, or `ulimit -n`), or lower `limits.connections`.",
        );
    }
    Finding::ok(FILES, found)
}

pub(super) async fn port(config: &Config) -> Finding {
    let address = config.listen;
    match TcpListener::bind(address).await {
        Ok(_) => Finding::ok(PORT, format!("{address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            if timeout(HEALTH_LIMIT, is_pollen(config))
                .await
                .unwrap_or(false)
            {
                return Finding::ok(PORT, format!("a Pollen listens on {address} and is well"));
            }
            Finding::problem(
                PORT,
                format!("something else listens on {address}"),
                "Stop it, or set `listen` to another port; `ss -ltnp` shows who it is.",
            )
        }
        Err(error) => Finding::problem(
            PORT,
            format!("nobody can listen on {address}: {error}"),
            "Set `listen` to an address of this machine, and to a port above 1023 if Pollen does not run as root.",
        ),
    }
}

/// Whether whoever listens there says that it is well, as Pollen says it.
async fn is_pollen(config: &Config) -> bool {
    let mut address = config.listen;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await?;
        let mut answer = Vec::new();
        stream.take(16_384).read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = asked.await.unwrap_or_default();
    answer.contains("x-request-id") && answer.contains("{\"status\":\"ok\"}")
}

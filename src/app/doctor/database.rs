//! The database: whether it can be reached, read and written, whether it is sound, how far its schema is, and what time
//! it thinks it is.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret as _;

use super::Finding;
use crate::app::copies::size;
use crate::app::store_settings;
use crate::config::Config;
use crate::model::clock::{Clock as _, SystemClock};
use crate::store::{self, ExamineError, Examined, Schema};

const CHECK: &str = "database";
const CLOCK: &str = "clock";
/// A difference of clocks that is nothing to speak of, in milliseconds.
const SKEW_MS: u64 = 1_000;
/// So many empty bytes are nothing to speak of.
const MUCH_FREE_BYTES: i64 = 64 << 20;
/// The part of a lease by which clocks may differ before nodes take each other's answers away.
const LEASE_SHARE: u64 = 3;

pub(super) async fn look(config: &Config) -> Vec<Finding> {
    let name = config.database_name();
    let mut findings = Vec::new();
    if let Some(dir) = directory(config)
        && let Some(problem) = not_writable(&dir)
    {
        findings.push(problem);
    }
    let began = SystemClock.now();
    match Box::pin(store::examine(&store_settings(config))).await {
        Ok(examined) => {
            let ended = SystemClock.now();
            findings.extend(seen(config, &examined));
            if let Some(theirs) = examined.now_ms {
                // Asked somewhere in between.
                findings.push(clocks(config, theirs, (began.0, ended.0)));
            }
        }
        // Where no file can be made, none is missing yet.
        Err(ExamineError::NoFileYet(_)) if !findings.is_empty() => {}
        Err(error) => findings.push(not_seen(&name, &error)),
    }
    findings
}

/// Where the file of SQLite lies.
pub(super) fn directory(config: &Config) -> Option<PathBuf> {
    let url = config.database_url.expose_secret();
    let file = url.strip_prefix("sqlite:")?.trim_start_matches("//");
    let file = Path::new(file.split('?').next().unwrap_or(file));
    let parent = file
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    Some(parent.unwrap_or(Path::new(".")).to_owned())
}

/// SQLite makes files beside its own.
fn not_writable(dir: &Path) -> Option<Finding> {
    let trial = dir.join(format!(".pollen-doctor-{}", std::process::id()));
    let made = OpenOptions::new().write(true).create_new(true).open(&trial);
    match made {
        Ok(_) => {
            // What was made is taken away again.
            let _ = std::fs::remove_file(&trial);
            None
        }
        Err(error) => Some(Finding::problem(
            CHECK,
            format!("no file can be made in {}: {error}", dir.display()),
            "Make the directory, and give it to the user that Pollen runs as, or name another in `database_url`.",
        )),
    }
}

fn seen(config: &Config, examined: &Examined) -> Vec<Finding> {
    let name = config.database_name();
    let engine = &examined.engine;
    let mut findings = Vec::new();
    if let Some(complaint) = &examined.complaint {
        findings.push(Finding::problem(
            CHECK,
            format!("{name} is damaged ({complaint})"),
            "Stop the server and bring back a copy: pollen restore FILE. What is there is kept beside it.",
        ));
    }
    let in_use = if examined.is_in_use {
        ", in use by a server"
    } else {
        ""
    };
    findings.push(match &examined.schema {
        Schema::Current => Finding::ok(
            CHECK,
            format!("{name}: {engine}, schema up to date{in_use}"),
        ),
        Schema::Empty => Finding::ok(
            CHECK,
            format!("{name}: {engine}, empty; the first start fills it"),
        ),
        Schema::Behind(count) => Finding::ok(
            CHECK,
            format!(
                "{name}: {engine}, {count} migrations behind; the next start runs them{in_use}"
            ),
        ),
        Schema::Newer(newest) => Finding::problem(
            CHECK,
            format!("{name}: a newer Pollen than this one has changed its schema ({newest})"),
            "Start the newer version, or restore a copy from before it.",
        ),
        Schema::Foreign if examined.complaint.is_some() => return findings,
        Schema::Foreign => Finding::warning(
            CHECK,
            format!("{name}: {engine}, with tables in it that are not Pollen's"),
            "Give Pollen a database of its own in `database_url`.",
        ),
    });
    if let Some((free, size)) = examined.free {
        findings.extend(emptiness(free, size));
    }
    if let Some(connections) = examined.connections {
        findings.push(room(config, connections.used, connections.most));
    }
    findings
}

/// A file that is mostly empty.
fn emptiness(free: i64, bytes: i64) -> Option<Finding> {
    (free >= MUCH_FREE_BYTES && free > bytes / 2).then(|| {
        let spelled = |bytes: i64| size(bytes.unsigned_abs());
        Finding::warning(
            CHECK,
            format!("{} of the file's {} are empty", spelled(free), spelled(bytes)),
            "They are written to again. To give them back, stop the server and run: pollen maintain",
        )
    })
}

/// Whether the pool of one more node finds room.
fn room(config: &Config, used: i64, most: i64) -> Finding {
    let wanted = i64::from(config.database.max_connections);
    let found = format!("{used} of {most} connections are in use, and this node may want {wanted}");
    if used + wanted > most {
        return Finding::problem(
            CHECK,
            found,
            "Lower `database.max_connections`, raise PostgreSQL's `max_connections`, or put a pooler in between: all nodes together must fit.",
        );
    }
    Finding::ok(CHECK, found)
}

fn clocks(config: &Config, theirs: i64, (began, ended): (i64, i64)) -> Finding {
    let skew = if theirs < began {
        began.abs_diff(theirs)
    } else {
        theirs.saturating_sub(ended).max(0).unsigned_abs()
    };
    let found = format!("the database's clock and this machine's differ by {skew} ms");
    let advice = "Set both by NTP (systemd-timesyncd, chrony): leases and expiries compare the times of different machines.";
    if skew >= config.worker.lease_ms / LEASE_SHARE {
        Finding::problem(CLOCK, found, advice)
    } else if skew >= SKEW_MS {
        Finding::warning(CLOCK, found, advice)
    } else {
        Finding::ok(CLOCK, found)
    }
}

fn not_seen(name: &str, error: &ExamineError) -> Finding {
    let found = format!("{name}: {error}");
    let advice = match error {
        ExamineError::NoFileYet(_) => {
            return Finding::ok(CHECK, format!("{found}; the first start makes it"));
        }
        ExamineError::NotOurs(..) => {
            "Give the file to the user that Pollen runs as: chown, and chmod 600."
        }
        ExamineError::NoDatabase(..) => {
            "If it was Pollen's, bring back a copy: pollen restore FILE. Else name another file in `database_url`."
        }
        ExamineError::Unreachable(_) | ExamineError::TooSlow => {
            "Is it running, and are host and port in `database_url` right? A firewall may be in between."
        }
        ExamineError::Refused(_) => {
            "Put the user and the password in `database_url` right, or pg_hba.conf on the database's server."
        }
        ExamineError::NoSuchDatabase(_) => {
            "Make it (createdb), or name another one in `database_url`."
        }
        ExamineError::Store(_) => "Look at the database's own log.",
    };
    Finding::problem(CHECK, found, advice)
}

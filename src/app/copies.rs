//! `pollen backup` and `pollen restore`: the database's file, and with it the key that cookies are signed with, without
//! which nobody who is not signed in elsewhere would be known again.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;

use super::access::{KEY_ENDING, key_file};
use crate::config::Config;
use crate::model::clock::{Clock as _, SystemClock};
use crate::store::{self, CopyError};

/// Why it was not done, and what to do instead.
#[derive(Debug, thiserror::Error)]
pub enum CopiesError {
    #[error(
        "PostgreSQL makes its copies itself, also while servers run:\n  \
         pg_dump --format=custom --file={file} {url}"
    )]
    DumpItself { file: String, url: String },
    #[error(
        "PostgreSQL brings its copies back itself. Stop all servers of this database, and then:\n  \
         pg_restore --clean --if-exists --no-owner --dbname={url} {file}"
    )]
    RestoreItself { file: String, url: String },
    #[error("the key of the cookies, {path}: {source}")]
    Key { path: String, source: io::Error },
    #[error(transparent)]
    Copy(#[from] CopyError),
}

/// Copies the database to `target`, and its key beside it. What was done, for whoever asked for it.
///
/// # Errors
/// If that is not possible, in words that say what is.
pub async fn back_up(config: &Config, target: &Path, replace: bool) -> Result<String, CopiesError> {
    let url = config.database_url.expose_secret();
    let copied = Box::pin(store::back_up(url, target, replace)).await;
    let copied = copied.map_err(|error| match error {
        CopyError::NoFile => CopiesError::DumpItself {
            file: target.display().to_string(),
            url: config.database_name(),
        },
        error => error.into(),
    })?;
    let mut said = format!(
        "{}: {}, read through and found sound. It holds what people have said: keep it where nobody else can read it.\n",
        target.display(),
        size(copied.bytes)
    );
    let key = target.with_extension(KEY_ENDING);
    if key != target && copy_key(&key_file(config), &key)? {
        let key = key.display();
        // Writing to a String cannot fail.
        let _ = writeln!(
            said,
            "{key}: the key that cookies are signed with. Keep it with the copy."
        );
    }
    let copy = target.display();
    Ok(said
        + "The configuration (`pollen.toml`, `agents/`, the environment) is not in it.\n"
        + &format!("To bring it back, stop the server and run: pollen restore {copy}\n"))
}

/// Puts a copy, and the key that is beside it, in the database's place. What was done, for whoever asked for it.
///
/// # Errors
/// If that is not possible; then nothing has changed.
pub async fn restore(config: &Config, source: &Path) -> Result<String, CopiesError> {
    let url = config.database_url.expose_secret();
    let stamp = SystemClock
        .now()
        .to_datetime()
        .format("%Y%m%dT%H%M%SZ")
        .to_string();
    let restored = Box::pin(store::restore(url, source, &stamp)).await;
    let restored = restored.map_err(|error| match error {
        CopyError::NoFile => CopiesError::RestoreItself {
            file: source.display().to_string(),
            url: config.database_name(),
        },
        error => error.into(),
    })?;
    let mut said = format!(
        "{} is back, {}.\n",
        config.database_name(),
        size(restored.copied.bytes)
    );
    if let Some(before) = restored.before {
        let before = before.display();
        // Writing to a String cannot fail.
        let _ = writeln!(
            said,
            "What was there is in {before}: delete it once all is well."
        );
    }
    let (copy, key) = (source.with_extension(KEY_ENDING), key_file(config));
    if copy != source && copy.exists() {
        if key.exists() {
            let before = PathBuf::from(format!("{}.before-restore-{stamp}", key.display()));
            fs::rename(&key, before).map_err(|source| key_error(&key, source))?;
        }
        copy_key(&copy, &key)?;
        said.push_str("The key that cookies are signed with is back too.\n");
    }
    if restored.copied.behind > 0 {
        said.push_str("It is of an older Pollen: the next start brings it up to date.\n");
    }
    Ok(said)
}

/// Gives back the room of what is gone, and has the database look at the rest. What was done, for whoever asked for it.
///
/// # Errors
/// If a server uses the file of SQLite, or the database fails.
pub async fn maintain(config: &Config) -> Result<String, CopiesError> {
    let done = Box::pin(store::maintain(&super::store_settings(config))).await?;
    let name = config.database_name();
    Ok(match (done.before, done.after) {
        (Some(before), Some(after)) => {
            format!(
                "{name} is in good shape: {}, before {}\n",
                size(after),
                size(before)
            )
        }
        _ => format!("{name} is in good shape\n"),
    })
}

/// Whether there was one.
fn copy_key(from: &Path, to: &Path) -> Result<bool, CopiesError> {
    let secret = match fs::read(from) {
        Ok(secret) => secret,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(key_error(from, source)),
    };
    // What was there may be readable for others, and keeps its rights when it is written over.
    let written = match fs::remove_file(to) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    let written = written
        .and_then(|()| {
            let mut options = fs::OpenOptions::new();
            options.write(true).create_new(true).mode(0o600).open(to)
        })
        .and_then(|mut file| {
            io::Write::write_all(&mut file, &secret)?;
            file.sync_all()
        });
    written.map_err(|source| key_error(to, source))?;
    Ok(true)
}

fn key_error(path: &Path, source: io::Error) -> CopiesError {
    CopiesError::Key {
        path: path.display().to_string(),
        source,
    }
}

/// Bytes, as people read them.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut tenths = u128::from(bytes) * 10 / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_spelled() {
        assert_eq!(size(1000), "1000 bytes");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(5 << 20), "5.0 MiB");
        assert_eq!(size(3 << 40), "3.0 TiB");
    }
}

//! One process per SQLite file, held by a lock of the operating system, which ends with the process.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;

use super::error::StoreError;

/// Held while the file is in use. The lock lies on a file beside the database: SQLite's own
/// locks on the database file itself would be disturbed.
#[derive(Debug)]
pub(super) struct FileLock {
    file: File,
}

/// A lock lasts as long as any copy of its file is open, and a child process that is just being
/// started has one until its program runs. So it is let go, not only closed.
impl Drop for FileLock {
    fn drop(&mut self) {
        if let Err(error) = self.file.unlock() {
            tracing::warn!(%error, "the lock on the database's file could not be let go");
        }
    }
}

/// Makes the database's file where there is none, for its owner alone: it holds what people say. SQLite gives the files
/// beside it the same rights. What cannot be made here SQLite will say itself.
pub(super) fn make_private(database: &str) -> std::io::Result<()> {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(database);
    match made {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

impl FileLock {
    pub fn take(database: &str) -> Result<Self, StoreError> {
        let path = format!("{database}.lock");
        let cannot = |source| StoreError::Lock {
            path: path.clone(),
            source,
        };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse(database.to_owned())),
            Err(TryLockError::Error(source)) => Err(cannot(source)),
        }
    }
}

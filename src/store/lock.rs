//! One process per SQLite file, held by a lock of the operating system, which ends with the process.

use std::fs::{File, OpenOptions, TryLockError};

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

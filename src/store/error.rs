//! What can go wrong with the database, for the rooms above, which do not know which one it is.

use sea_orm::{DbErr, SqlErr};

use super::dialect;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database URL must begin with sqlite: or postgres://")]
    UnknownScheme,
    #[error(
        "the database {0} is in use by another Pollen process; stop it, or use PostgreSQL for several"
    )]
    InUse(String),
    #[error("cannot lock {path}: {source}")]
    Lock {
        path: String,
        source: std::io::Error,
    },
    #[error("SQLite {0} may corrupt its write-ahead log; 3.51.3 or newer is needed")]
    OldSqlite(String),
    #[error(
        "a newer Pollen than this one, {version}, has changed its schema ({0}): start that one, or restore a copy from before",
        version = env!("CARGO_PKG_VERSION")
    )]
    NewerSchema(String),
    #[error("a transaction was still held when it had to end")]
    TransactionHeld,
    /// Another transaction was faster, and this one has to look again.
    #[error("another transaction was faster")]
    Raced,
    /// What the transaction was to act on is not what was read before it: read again.
    #[error("what was read has changed meanwhile")]
    Stale,
    /// It could not be read a moment ago, and is left alone for a while.
    #[error("the database was away a moment ago")]
    Away,
    #[error("a stored {what} is missing")]
    Missing { what: &'static str },
    #[error(transparent)]
    Database(#[from] DbErr),
}

impl StoreError {
    /// Whether the same transaction may well succeed when tried again.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Raced => true,
            Self::Database(error) => dialect::is_transient(error),
            _ => false,
        }
    }

    /// Whether the database cannot be used at the moment, or is so busy that no try got through.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Away | Self::Raced | Self::Stale => true,
            Self::Database(error) => dialect::is_unavailable(error),
            _ => false,
        }
    }

    /// Whether somebody else was faster: a row that must be the only one is there already.
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        matches!(self, Self::Database(error)
            if matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))))
    }
}

//! All SQL, and nothing but SQL. What happens is decided above; here it is only read and written.
//!
//! Writes are methods of [`Tx`] and so always stand in a transaction, which [`Store::tx`] alone
//! begins. `dialect.rs` alone knows which database it is.
//!
//! A row that is unique is looked for by `all`, and not by `one` with its `LIMIT`: that is a value which is bound,
//! and SQLite prepares a statement anew at each run if its plan may depend on one.

mod accounts;
mod archives;
mod attempts;
mod audit;
mod batches;
mod chats;
mod checkpoint;
mod copy;
mod counts;
mod deletion;
mod dialect;
mod error;
mod examine;
mod gauges;
mod group;
mod keys;
mod ledger;
mod lock;
mod maintain;
mod messages;
mod pages;
mod repairs;
mod requests;
mod retention;
mod schema;
mod search;
mod sessions;
mod shares;
mod tokens;
mod tx;
mod users;
mod versions;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use migration::{Migrator, MigratorTrait};
use sea_orm::{ConnectionTrait, DatabaseConnection};

pub use accounts::{Account, Beside};
pub use archives::{ArchiveEnd, ArchiveProgress};
pub use attempts::{UsageGroup, UsageSum};
pub use audit::Actor;
pub use chats::{Advance, ChatChange, Head, Preview};
pub use copy::{Copied, CopyError, Restored, back_up, restore};
pub use deletion::Erased;
pub use error::StoreError;
pub use examine::{ExamineError, Examined, examine};
pub use gauges::{PoolUse, Queue, TableSize};
pub use keys::KeyScope;
pub use ledger::{Chunk, LedgerTexts};
pub use maintain::{Maintained, maintain};
pub use messages::{Finish, Rewrite, Watched};
pub use pages::MessagePage;
pub use requests::{Claim, Fence, Lease, RequestEnd};
pub use retention::{Clearance, TierChats};
pub use schema::Schema;
pub use search::SearchHit;
pub use sessions::Sessions;
pub use tx::Tx;
pub use users::UserChange;
pub use watch::Watch;

use dialect::Dialect;
use group::Group;
use lock::FileLock;

/// How to reach a database.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// `sqlite:FILE` or `postgres://…`
    pub url: String,
    /// Connections at most, the writer of SQLite not counted.
    pub max_connections: u32,
    /// How long to wait for a connection, and on SQLite for a lock.
    pub acquire_timeout: Duration,
}

/// The database, open.
pub struct Store {
    dialect: Dialect,
    writer: DatabaseConnection,
    reader: DatabaseConnection,
    watched: Arc<watch::Watched>,
    counts: counts::Counts,
    /// Who waits for the writer, where there is one alone.
    group: Option<Group>,
    /// Held for as long as the store is: one process per SQLite file.
    _lock: Option<FileLock>,
}

impl Store {
    /// Opens the database, creating a SQLite file that is not there, and brings its schema up to date.
    ///
    /// # Errors
    /// If the database cannot be reached, is in use by another process (SQLite), or cannot be migrated.
    pub async fn open(settings: &StoreSettings) -> Result<Self, StoreError> {
        let dialect = Dialect::of(&settings.url)?;
        let lock = dialect.lock(&settings.url)?;
        Self::open_locked(dialect, lock, settings).await
    }

    /// The same for a command that reads and writes a few rows of users: also beside a server that has the
    /// file of SQLite, whose schema is then up to date.
    ///
    /// # Errors
    /// As [`Self::open`], but for the file's being in use.
    pub async fn open_beside(settings: &StoreSettings) -> Result<Self, StoreError> {
        let dialect = Dialect::of(&settings.url)?;
        match dialect.lock(&settings.url) {
            Ok(lock) => Self::open_locked(dialect, lock, settings).await,
            Err(StoreError::InUse(_)) => Self::connect(dialect, None, settings).await,
            Err(error) => Err(error),
        }
    }

    async fn open_locked(
        dialect: Dialect,
        lock: Option<FileLock>,
        settings: &StoreSettings,
    ) -> Result<Self, StoreError> {
        let migrator = dialect.connect_migrator(settings).await?;
        dialect.migrate(&migrator).await?;
        migrator.close().await?;
        Self::connect(dialect, lock, settings).await
    }

    async fn connect(
        dialect: Dialect,
        lock: Option<FileLock>,
        settings: &StoreSettings,
    ) -> Result<Self, StoreError> {
        let (writer, reader) = dialect.connect(settings).await?;
        let group = dialect.has_one_writer().then(|| {
            let group = Group::new(dialect, writer.clone(), settings.acquire_timeout);
            if let Some(checkpoint) = dialect.checkpoint() {
                let commits = group.commits();
                tokio::spawn(checkpoint::run(checkpoint, reader.clone(), commits));
            }
            group
        });
        Ok(Self {
            dialect,
            writer,
            reader,
            watched: Arc::default(),
            counts: counts::Counts::new(),
            group,
            _lock: lock,
        })
    }

    /// Asks the database for a sign of life.
    ///
    /// # Errors
    /// If it gives none.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.reader.execute_unprepared("SELECT 1").await?;
        Ok(())
    }

    /// Whether any request found `running` at start must be of a process that has ended.
    #[must_use]
    pub fn is_single_process(&self) -> bool {
        self.dialect.is_single_process()
    }

    /// Closes all connections, after which everything that was committed is in the database's hands.
    ///
    /// # Errors
    /// If a connection cannot be closed.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.reader.clone().close().await?;
        self.writer.clone().close().await?;
        Ok(())
    }

    fn reader(&self) -> &DatabaseConnection {
        &self.reader
    }
}

/// Runs the migrations that have not run yet. A database of a newer program is left alone: what it has become is not
/// known here.
async fn run_migrations(
    dialect: Dialect,
    connection: &DatabaseConnection,
) -> Result<(), StoreError> {
    if let Schema::Newer(newest) = schema::schema_of(connection, dialect).await? {
        return Err(StoreError::NewerSchema(newest));
    }
    Migrator::up(connection, None).await?;
    Ok(())
}

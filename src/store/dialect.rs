//! What differs between SQLite and PostgreSQL, all of it: how to connect, how to begin, how to
//! keep two nodes from migrating at once, and which errors are worth another try.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use entity::Metadata;
use percent_encoding::percent_decode_str;
use sea_orm::sea_query::Expr;
use sea_orm::sqlx::Connection as _;
use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    Condition, ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction,
    DbErr, RuntimeErr, SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait,
    sqlx,
};

use super::error::StoreError;
use super::examine::Trouble;
use super::lock::{self, FileLock};
use super::{PoolUse, StoreSettings, run_migrations};
use crate::model::search::SearchWords;

/// The oldest SQLite without the WAL-reset corruption that releases up to 3.51.2 have.
const OLDEST_SQLITE: (u32, u32, u32) = (3, 51, 3);
/// Any number will do, as long as all nodes use the same: "Pollen" on a telephone's keys.
const MIGRATION_LOCK: i64 = 765_536;
/// How long to wait for a file that is looked at, and for whoever has it locked.
const OPEN_LIMIT: Duration = Duration::from_secs(5);
/// The space in which names are locked, apart from the migration's.
const NAMED_LOCKS: i32 = 765_537;
/// What separates words in PostgreSQL's index of them.
const MARKS: &str = r##"!"#$%&'()*+,-./:;<=>?@[\]^_`{|}~"##;
/// A pooled connection that rested longer than this is pinged before it is used again.
const PING_AFTER_IDLE: Duration = Duration::from_secs(30);
/// After this time PostgreSQL ends a connection whose transaction has stopped in its middle.
const MAX_IDLE_IN_TRANSACTION: Duration = Duration::from_secs(5);
/// Pages of SQLite's WAL, of 4 KiB each, that wait to be moved into the file: so many are moved beside the
/// writer.
const CHECKPOINT_PAGES: i32 = 8_000;
/// At this length of the WAL the writer does it, 64 MiB.
const WAL_AUTOCHECKPOINT_PAGES: &str = "16000";
/// The largest file of SQLite, in bytes, of which it is found out which table takes how much.
const MOST_BYTES_LOOKED_AT: u64 = 256 << 20;
/// What a WAL file is cut back to after a checkpoint.
const WAL_SIZE_LIMIT_BYTES: &str = "67108864";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

/// How what was written is moved from a log into its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checkpoint {
    /// The length of the `log` and how much of it is `checkpointed` already.
    pub look: &'static str,
    /// Moves what can be moved without making anybody wait.
    pub step: &'static str,
    /// What may wait to be moved.
    pub pages: i32,
}

/// How a database that is one file is looked after. PostgreSQL has tools of its own for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileCare {
    /// Writes a copy, as of now, to the file `$1`.
    pub copy: &'static str,
    /// Reads all of it, indexes compared with their tables: `ok`, or the first complaint.
    pub check: &'static str,
    /// The same without the comparison.
    pub quick_check: &'static str,
    /// Reads the file's beginning.
    pub look: &'static str,
}

/// What a server of databases is asked about itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct OfServer {
    /// `now_ms`: its clock.
    pub now_ms: &'static str,
    /// `used` and `most`: its connections.
    pub connections: &'static str,
}

impl FileCare {
    /// The one connection to a file that is there. Nothing of how it is kept is changed. Where it is only read and has no
    /// log, nobody writes to it, and nothing is made beside it either.
    pub async fn open(self, path: &Path, access: Access) -> Result<DatabaseConnection, DbErr> {
        let mut options = ConnectOptions::new("sqlite:");
        options
            .max_connections(1)
            .sqlx_logging(false)
            .connect_timeout(OPEN_LIMIT);
        let path = path.to_owned();
        let log = format!("{}-wal", path.display());
        let is_only_read = access == Access::ReadOnly;
        let is_still = is_only_read && !Path::new(&log).exists();
        options.map_sqlx_sqlite_opts(move |sqlite| {
            sqlite
                .filename(&path)
                .immutable(is_still)
                .create_if_missing(false)
                .read_only(is_only_read)
                .busy_timeout(OPEN_LIMIT)
        });
        Database::connect(options).await
    }
}

impl Dialect {
    pub fn of(url: &str) -> Result<Self, StoreError> {
        if url.starts_with("sqlite:") {
            Ok(Self::Sqlite)
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            Ok(Self::Postgres)
        } else {
            Err(StoreError::UnknownScheme)
        }
    }

    /// The file that it is.
    pub fn file(self, url: &str) -> Option<Cow<'_, str>> {
        match self {
            Self::Sqlite => Some(sqlite_file(url)),
            Self::Postgres => None,
        }
    }

    /// How that file is looked after.
    pub fn care(self) -> Option<FileCare> {
        match self {
            Self::Sqlite => Some(FileCare {
                copy: "VACUUM INTO $1",
                check: "PRAGMA integrity_check(1)",
                quick_check: "PRAGMA quick_check(1)",
                look: "PRAGMA schema_version",
            }),
            Self::Postgres => None,
        }
    }

    /// Has it look at how rows are spread, where that has changed, and at a part of them alone. PostgreSQL's autovacuum
    /// does so.
    pub fn spread(self) -> Option<[&'static str; 2]> {
        match self {
            Self::Sqlite => Some(["PRAGMA analysis_limit = 400", "PRAGMA optimize"]),
            Self::Postgres => None,
        }
    }

    /// Gives back the room of rows that are gone, and looks at how all others are spread.
    pub fn upkeep(self) -> &'static [&'static str] {
        match self {
            // Through a file: it is as large as the database.
            Self::Sqlite => &[
                "PRAGMA temp_store = FILE",
                "VACUUM",
                "ANALYZE",
                "PRAGMA wal_checkpoint(TRUNCATE)",
            ],
            Self::Postgres => &["VACUUM (ANALYZE)"],
        }
    }

    /// The bytes of a file that nothing stands in: `free`, and all of them: `size`. PostgreSQL's VACUUM sees to its own.
    pub fn free_bytes(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => Some(
                "SELECT f.freelist_count * s.page_size AS free, p.page_count * s.page_size AS size \
                 FROM pragma_freelist_count() f, pragma_page_count() p, pragma_page_size() s",
            ),
            Self::Postgres => None,
        }
    }

    /// What it is asked about itself, where it is a server.
    pub fn of_server(self) -> Option<OfServer> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some(OfServer {
                now_ms: "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT) AS now_ms",
                connections: "SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS used, \
                    CAST(current_setting('max_connections') AS BIGINT) \
                      - CAST(current_setting('superuser_reserved_connections') AS BIGINT) AS most",
            }),
        }
    }

    /// The statement that says what it is: `engine`.
    pub fn engine(self) -> &'static str {
        match self {
            Self::Sqlite => "SELECT 'SQLite ' || sqlite_version() AS engine",
            Self::Postgres => "SELECT 'PostgreSQL ' || current_setting('server_version') AS engine",
        }
    }

    /// Comes in by the front door, and goes again: a pool would only say that it has waited for nothing.
    pub async fn knock(self, url: &str, limit: Duration) -> Result<(), DbErr> {
        match self {
            Self::Sqlite => Ok(()),
            Self::Postgres => {
                let knocked = tokio::time::timeout(limit, sqlx::PgConnection::connect(url));
                let knocked = knocked.await.unwrap_or(Err(sqlx::Error::PoolTimedOut));
                let connection = knocked.map_err(of_driver)?;
                connection.close().await.map_err(of_driver)
            }
        }
    }

    /// The statement that names all tables.
    pub fn tables(self) -> &'static str {
        match self {
            Self::Sqlite => "SELECT name FROM sqlite_schema WHERE type = 'table'",
            Self::Postgres => {
                "SELECT CAST(table_name AS TEXT) FROM information_schema.tables \
                 WHERE table_schema = current_schema()"
            }
        }
    }

    /// Whether all users of the database are in this process, which the lock holds.
    pub fn is_single_process(self) -> bool {
        match self {
            Self::Sqlite => true,
            Self::Postgres => false,
        }
    }

    /// Writes where a value is bound. SQLite knows numbers too, but as names, which the driver looks up for each value
    /// among those of all others.
    pub fn write_placeholder(self, number: usize, sql: &mut String) {
        match self {
            Self::Sqlite => sql.push('?'),
            Self::Postgres => {
                // Writing to a String cannot fail.
                let _ = write!(sql, "${number}");
            }
        }
    }

    /// Whether transactions wait for each other anyhow, and so may as well be committed together.
    /// PostgreSQL runs them side by side and has a group commit of its own.
    pub fn has_one_writer(self) -> bool {
        match self {
            Self::Sqlite => true,
            Self::Postgres => false,
        }
    }

    /// How to move the log into the file. PostgreSQL does so itself.
    pub fn checkpoint(self) -> Option<Checkpoint> {
        match self {
            Self::Sqlite => Some(Checkpoint {
                look: "PRAGMA wal_checkpoint(NOOP)",
                step: "PRAGMA wal_checkpoint(PASSIVE)",
                pages: CHECKPOINT_PAGES,
            }),
            Self::Postgres => None,
        }
    }

    /// Whether the chunks of a request are found by an index. SQLite has none on the ledger, so that a flush
    /// appends to its end and writes nothing else.
    pub fn finds_chunks(self) -> bool {
        match self {
            Self::Sqlite => false,
            Self::Postgres => true,
        }
    }

    /// A SQLite file belongs to one process: a second one would take the first one's running
    /// requests for abandoned.
    pub fn lock(self, url: &str) -> Result<Option<FileLock>, StoreError> {
        match self {
            Self::Sqlite => {
                let file = sqlite_file(url);
                let lock = FileLock::take(&file)?;
                if let Err(error) = lock::make_private(&file) {
                    tracing::debug!(%error, "the database's file could not be made beforehand");
                }
                Ok(Some(lock))
            }
            Self::Postgres => Ok(None),
        }
    }

    /// (writer, reader). SQLite has one writer, so that writers queue in this process and none
    /// meets "database is locked"; PostgreSQL's pool serves both.
    pub async fn connect(
        self,
        settings: &StoreSettings,
    ) -> Result<(DatabaseConnection, DatabaseConnection), StoreError> {
        match self {
            Self::Sqlite => {
                let mut writer = Self::options(settings, 1);
                sqlite_pragmas(&mut writer, settings.acquire_timeout, Access::ReadWrite);
                let writer = Database::connect(writer).await?;
                check_sqlite_version(&writer).await?;
                let mut reader = Self::options(settings, settings.max_connections);
                sqlite_pragmas(&mut reader, settings.acquire_timeout, Access::ReadOnly);
                let reader = Database::connect(reader).await?;
                Ok((writer, reader))
            }
            Self::Postgres => {
                let mut options = Self::options(settings, settings.max_connections);
                postgres_limits(&mut options, settings.acquire_timeout);
                let pool = Database::connect(options).await?;
                Ok((pool.clone(), pool))
            }
        }
    }

    /// One connection, which a session-wide lock can live on.
    pub async fn connect_migrator(
        self,
        settings: &StoreSettings,
    ) -> Result<DatabaseConnection, StoreError> {
        let mut options = Self::options(settings, 1);
        if self == Self::Sqlite {
            sqlite_pragmas(&mut options, settings.acquire_timeout, Access::ReadWrite);
        }
        Ok(Database::connect(options).await?)
    }

    /// Migrates under a lock, so that nodes that start together do it once.
    pub async fn migrate(self, connection: &DatabaseConnection) -> Result<(), StoreError> {
        match self {
            Self::Sqlite => run_migrations(self, connection).await,
            Self::Postgres => {
                let lock = format!("SELECT pg_advisory_lock({MIGRATION_LOCK})");
                connection.execute_unprepared(&lock).await?;
                let migrated = run_migrations(self, connection).await;
                let unlock = format!("SELECT pg_advisory_unlock({MIGRATION_LOCK})");
                connection.execute_unprepared(&unlock).await?;
                migrated
            }
        }
    }

    /// SQLite begins as a writer: a read that turns into a write in mid-transaction fails at once
    /// when another one wrote meanwhile, whatever the time limit.
    pub async fn begin(
        self,
        writer: &DatabaseConnection,
    ) -> Result<DatabaseTransaction, StoreError> {
        let options = TransactionOptions {
            sqlite_transaction_mode: match self {
                Self::Sqlite => Some(SqliteTransactionMode::Immediate),
                Self::Postgres => None,
            },
            ..TransactionOptions::default()
        };
        // In a task of its own, which goes on when the caller is dropped in the middle: the driver
        // only rolls back what it knows to have begun, and would give the next caller a connection
        // that is in a transaction already.
        let writer = writer.clone();
        let begun = tokio::spawn(async move { writer.begin_with_options(options).await });
        let begun = begun.await;
        Ok(begun.map_err(|error| DbErr::Custom(error.to_string()))??)
    }

    /// Waits until no other transaction holds this name, and holds it until this one ends.
    /// SQLite's one writer does so anyhow.
    pub async fn lock_until_commit(
        self,
        transaction: &DatabaseTransaction,
        name: &str,
    ) -> Result<(), StoreError> {
        if self == Self::Postgres {
            let lock = Statement::from_sql_and_values(
                transaction.get_database_backend(),
                "SELECT pg_advisory_xact_lock($1, hashtext($2))",
                [NAMED_LOCKS.into(), name.into()],
            );
            transaction.execute_raw(lock).await?;
        }
        Ok(())
    }

    /// The chat's UUID as text: SQLite keeps its bytes.
    pub fn chat_id_text(self) -> &'static str {
        match self {
            Self::Sqlite => "lower(hex(chat_id))",
            Self::Postgres => "CAST(chat_id AS TEXT)",
        }
    }

    /// (chat, sequence) of the messages that have the words of the query `$2`, and of the titles, whose
    /// sequence is 0.
    pub fn search_hits(self) -> String {
        match self {
            Self::Sqlite => {
                "SELECT e.chat_id, COALESCE(m.sequence, 0) AS sequence FROM search_text \
                 JOIN search_entry e ON e.id = search_text.rowid \
                 LEFT JOIN chat_message m ON m.id = e.message_id WHERE search_text MATCH $2"
                    .to_owned()
            }
            Self::Postgres => format!(
                "SELECT chat_id, sequence FROM chat_message \
                   WHERE role <> 'system' AND deleted_at IS NULL AND superseded_at IS NULL \
                   AND {} @@ to_tsquery('simple', $2) \
                 UNION ALL \
                 SELECT id, 0 FROM chat WHERE {} @@ to_tsquery('simple', $2)",
                postgres_words("content"),
                postgres_words("title")
            ),
        }
    }

    /// Whether a chat has all of these pairs among its metadata.
    pub fn has_metadata(self, pairs: &Metadata) -> Condition {
        match self {
            // Not `json_extract`: a key is not a path.
            Self::Sqlite => {
                let each = pairs.0.iter().map(|(key, value)| {
                    Expr::cust_with_values(
                        "EXISTS (SELECT 1 FROM json_each(chat.metadata) e WHERE e.key = ? AND e.atom = ?)",
                        [key.as_str(), value.as_str()],
                    )
                });
                each.fold(Condition::all(), Condition::add)
            }
            Self::Postgres => {
                let contains = Expr::cust_with_values("chat.metadata @> $1", [pairs.clone()]);
                Condition::all().add(contains)
            }
        }
    }

    /// The statement that takes a step in putting the index of words together anew, of so many pages at
    /// most; a number below nought begins. SQLite's index forgets what was deleted from it only so:
    /// until then it keeps the words, though it finds them no more. PostgreSQL's is seen to by its VACUUM.
    pub fn search_sweep(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => {
                Some("INSERT INTO search_text (search_text, rank) VALUES ('merge', $1)")
            }
            Self::Postgres => None,
        }
    }

    /// All of the words, each as the beginning of one. They are quoted, and have nothing in them that
    /// would end a quotation.
    pub fn search_query(self, words: &SearchWords) -> String {
        let (quoted, all): (Vec<String>, &str) = match self {
            Self::Sqlite => {
                let quote = |word: &str| format!("\"{}\" *", word.replace('"', ""));
                (words.iter().map(quote).collect(), " AND ")
            }
            Self::Postgres => {
                let quote = |word: &str| format!("'{}':*", word.replace(['\'', '\\'], ""));
                (words.iter().map(quote).collect(), " & ")
            }
        };
        quoted.join(all)
    }

    /// What a subquery that picks a row to claim ends with.
    pub fn skip_locked(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => "FOR UPDATE OF r SKIP LOCKED",
        }
    }

    /// The connections of (writer, reader).
    pub fn pools(self, writer: &DatabaseConnection, reader: &DatabaseConnection) -> Vec<PoolUse> {
        let used = |pool, size: u32, idle: usize, most: u32| {
            let [size, most] = [size, most].map(|n| usize::try_from(n).unwrap_or(usize::MAX));
            PoolUse {
                pool,
                in_use: size.saturating_sub(idle),
                idle,
                most,
            }
        };
        match self {
            Self::Sqlite => [("writer", writer), ("reader", reader)]
                .map(|(name, connection)| {
                    let pool = connection.get_sqlite_connection_pool();
                    let most = pool.options().get_max_connections();
                    used(name, pool.size(), pool.num_idle(), most)
                })
                .into(),
            Self::Postgres => {
                let pool = reader.get_postgres_connection_pool();
                let most = pool.options().get_max_connections();
                vec![used("all", pool.size(), pool.num_idle(), most)]
            }
        }
    }

    /// Asks for the size of the database, in bytes, as `n`.
    pub fn database_bytes(self) -> &'static str {
        match self {
            Self::Sqlite => {
                "SELECT page_count * page_size AS n FROM pragma_page_count(), pragma_page_size()"
            }
            Self::Postgres => "SELECT pg_database_size(current_database()) AS n",
        }
    }

    /// Asks for the tables' names and their `bytes`. SQLite reads the whole file for it, so that a large one is not
    /// asked; PostgreSQL looks at the lengths of its files. What belongs to the index of words counts as one.
    pub fn table_sizes(self, database_bytes: u64) -> Option<&'static str> {
        match self {
            Self::Sqlite if database_bytes > MOST_BYTES_LOOKED_AT => None,
            Self::Sqlite => Some(
                "SELECT CASE WHEN m.tbl_name LIKE 'search_text%' THEN 'search_text' ELSE m.tbl_name END AS name, \
                   SUM(d.pgsize) AS bytes \
                 FROM dbstat d JOIN sqlite_schema m ON m.name = d.name \
                 WHERE d.aggregate = TRUE GROUP BY 1 ORDER BY 2 DESC",
            ),
            Self::Postgres => Some(
                "SELECT relname AS name, pg_total_relation_size(relid) AS bytes \
                 FROM pg_stat_user_tables WHERE schemaname = current_schema() ORDER BY 2 DESC",
            ),
        }
    }

    fn options(settings: &StoreSettings, connections: u32) -> ConnectOptions {
        let mut options = ConnectOptions::new(settings.url.clone());
        options
            .max_connections(connections)
            .acquire_timeout(settings.acquire_timeout)
            .connect_timeout(settings.acquire_timeout)
            // At 300 ms polls a line per statement is a flood.
            .sqlx_logging(false)
            .test_before_acquire_if_idle_for(PING_AFTER_IDLE);
        options
    }
}

/// The words of a column, exactly as the migration indexes them.
fn postgres_words(column: &str) -> String {
    let spaces = " ".repeat(MARKS.len());
    let marks = MARKS.replace('\'', "''");
    format!("to_tsvector('simple', translate(left({column}, 200000), '{marks}', '{spaces}'))")
}

/// The file that a `sqlite:` URL names, decoded as the driver decodes it.
fn sqlite_file(url: &str) -> Cow<'_, str> {
    let path = url.trim_start_matches("sqlite:");
    let path = path.strip_prefix("//").unwrap_or(path);
    let path = path.split('?').next().unwrap_or(path);
    percent_decode_str(path).decode_utf8_lossy()
}

/// A node that is halted in the middle of a transaction must not hold its locks for ever: others
/// would wait for them with the rescue of its answers. No transaction of ours is ever idle.
fn postgres_limits(options: &mut ConnectOptions, lock_timeout: Duration) {
    let lock_ms = lock_timeout.as_millis().to_string();
    let idle_ms = MAX_IDLE_IN_TRANSACTION.as_millis().to_string();
    options.map_sqlx_postgres_opts(move |postgres| {
        postgres.options([
            ("lock_timeout", lock_ms.as_str()),
            ("idle_in_transaction_session_timeout", idle_ms.as_str()),
        ])
    });
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    ReadWrite,
    ReadOnly,
}

fn sqlite_pragmas(options: &mut ConnectOptions, busy_timeout: Duration, access: Access) {
    // `query_only` and not a read-only file handle: that one could not open a WAL by itself.
    let (query_only, temp_store) = match access {
        Access::ReadOnly => ("ON", "DEFAULT"),
        Access::ReadWrite => ("OFF", "MEMORY"),
    };
    // A transaction that SQLite has rolled back by itself, as it does when the disk is full, is still open to
    // the driver: such a connection is not used again.
    options.map_sqlx_sqlite_pool_opts(|pool| {
        pool.after_release(|connection, _| {
            Box::pin(async move { Ok(!connection.is_in_transaction()) })
        })
    });
    options.map_sqlx_sqlite_opts(move |sqlite| {
        sqlite
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A send that was answered must survive a power cut, so each commit is synced.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(busy_timeout)
            .foreign_keys(true)
            .pragma("wal_autocheckpoint", WAL_AUTOCHECKPOINT_PAGES)
            .pragma("journal_size_limit", WAL_SIZE_LIMIT_BYTES)
            // A transaction that spoils many pages may have to bring them back: not by way of the disk.
            .pragma("temp_store", temp_store)
            .pragma("query_only", query_only)
    });
}

async fn check_sqlite_version(connection: &DatabaseConnection) -> Result<(), StoreError> {
    let row = connection
        .query_one_raw(Statement::from_string(
            connection.get_database_backend(),
            "SELECT sqlite_version() AS version",
        ))
        .await?;
    let version: String = match row {
        Some(row) => row.try_get("", "version")?,
        None => String::new(),
    };
    let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    if (next(), next(), next()) < OLDEST_SQLITE {
        return Err(StoreError::OldSqlite(version));
    }
    Ok(())
}

/// The database's own code for an error: an SQLSTATE, or SQLite's primary result code.
fn code(error: &DbErr) -> Option<String> {
    let (DbErr::Exec(runtime) | DbErr::Query(runtime) | DbErr::Conn(runtime)) = error else {
        return None;
    };
    let RuntimeErr::SqlxError(error) = runtime else {
        return None;
    };
    let code = error.as_database_error()?.code()?.into_owned();
    // SQLite's extended codes have the primary one in their lowest byte; an SQLSTATE has five places.
    Some(match code.parse::<u32>() {
        Ok(extended) if code.len() < 5 => (extended & 0xff).to_string(),
        _ => code,
    })
}

fn of_driver(error: sqlx::Error) -> DbErr {
    DbErr::Conn(RuntimeErr::SqlxError(error.into()))
}

/// Why nobody came in.
pub(super) fn trouble(error: &DbErr) -> Trouble {
    match code(error).as_deref() {
        // invalid_authorization_specification, invalid_password; insufficient_privilege.
        Some("28000" | "28P01" | "42501") => Trouble::Refused,
        // invalid_catalog_name.
        Some("3D000") => Trouble::NoSuchDatabase,
        _ => Trouble::Unreachable,
    }
}

/// Whether the same transaction may well succeed when tried again at once.
pub(super) fn is_transient(error: &DbErr) -> bool {
    // PostgreSQL: serialization_failure, deadlock_detected.
    // SQLite: BUSY, LOCKED.
    code(error).is_some_and(|code| ["40001", "40P01", "5", "6"].contains(&code.as_str()))
}

/// Whether the database cannot be used at the moment, whatever is asked of it.
pub(super) fn is_unavailable(error: &DbErr) -> bool {
    // A server that is going down may answer a greeting with nothing that makes sense.
    let is_greeting = matches!(error, DbErr::Conn(RuntimeErr::SqlxError(error))
        if matches!(&**error, sqlx::Error::Protocol(_)));
    if is_greeting || matches!(error, DbErr::ConnectionAcquire(_)) {
        return true;
    }
    if let DbErr::Exec(RuntimeErr::SqlxError(error))
    | DbErr::Query(RuntimeErr::SqlxError(error))
    | DbErr::Conn(RuntimeErr::SqlxError(error)) = error
        && matches!(
            &**error,
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed
        )
    {
        return true;
    }
    // PostgreSQL: classes 08 (connection), 53 (resources), 57P (shutdown), lock_not_available, and a
    // transaction that was idle for too long.
    // SQLite: BUSY and LOCKED for longer than we waited, FULL, IOERR, CANTOPEN.
    code(error).is_some_and(|code| {
        ["08", "53", "57P"]
            .iter()
            .any(|class| code.len() == 5 && code.starts_with(class))
            || ["5", "6", "10", "13", "14", "55P03", "25P03"].contains(&code.as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_disk_is_an_unavailable_database() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}/full.db?mode=rwc", dir.path().display());
        let mut options = ConnectOptions::new(url);
        options.max_connections(1);
        let connection = Database::connect(options).await.unwrap();
        // To SQLite a file that may not grow is a disk that is full: SQLITE_FULL.
        let setup = "CREATE TABLE t (x TEXT); PRAGMA max_page_count = 10";
        connection.execute_unprepared(setup).await.unwrap();
        let insert = "INSERT INTO t VALUES (hex(randomblob(40000)))";
        let error = connection.execute_unprepared(insert).await.unwrap_err();
        assert!(is_unavailable(&error), "{error}");
        assert!(!is_transient(&error), "and not worth another try at once");
    }
}

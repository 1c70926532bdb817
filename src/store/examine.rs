//! A look at a database for whoever sets it up: nothing is made, migrated or written.

use std::path::Path;
use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, Statement};
use tokio::time::timeout;

use super::copy::first_complaint;
use super::dialect::{self, Access, Dialect};
use super::lock::FileLock;
use super::schema::{Schema, schema_of};
use super::{StoreError, StoreSettings};

/// How long the whole look may take; a large file is read through in it.
const LIMIT: Duration = Duration::from_mins(2);

/// What was seen.
#[derive(Debug)]
pub struct Examined {
    /// The database's own name for itself.
    pub engine: String,
    pub schema: Schema,
    /// What a check of the file complains of first.
    pub complaint: Option<String>,
    /// A server has it.
    pub is_in_use: bool,
    /// What the database's clock says, in milliseconds since the epoch, where it has one of its own.
    pub now_ms: Option<i64>,
    pub connections: Option<Connections>,
    /// Of a file: (bytes that nothing stands in, all of them).
    pub free: Option<(i64, i64)>,
}

/// Connections that a server of databases has, and lets in.
#[derive(Clone, Copy, Debug)]
pub struct Connections {
    pub used: i64,
    pub most: i64,
}

/// Why nothing was seen.
#[derive(Debug, thiserror::Error)]
pub enum ExamineError {
    #[error("there is no file {0} yet")]
    NoFileYet(String),
    #[error("{0} cannot be read or written: {1}")]
    NotOurs(String, std::io::Error),
    #[error("{0} is not a database of SQLite's, or its beginning is damaged: {1}")]
    NoDatabase(String, DbErr),
    #[error("the server of the database cannot be reached: {0}")]
    Unreachable(DbErr),
    #[error("the server of the database does not let us in: {0}")]
    Refused(DbErr),
    #[error("there is no such database: {0}")]
    NoSuchDatabase(DbErr),
    #[error("the database did not answer in time")]
    TooSlow,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a failure to connect comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    Unreachable,
    Refused,
    NoSuchDatabase,
}

/// Looks at the database of these settings.
///
/// # Errors
/// If it cannot be looked at, with the reason.
pub async fn examine(settings: &StoreSettings) -> Result<Examined, ExamineError> {
    let looked = timeout(LIMIT, try_examine(settings)).await;
    looked.unwrap_or(Err(ExamineError::TooSlow))
}

async fn try_examine(settings: &StoreSettings) -> Result<Examined, ExamineError> {
    let dialect = Dialect::of(&settings.url)?;
    let connection = if let Some(file) = dialect.file(&settings.url) {
        open_file(dialect, &file).await?
    } else {
        let knocked = dialect.knock(&settings.url, settings.acquire_timeout).await;
        knocked.map_err(explained)?;
        dialect
            .connect_migrator(settings)
            .await
            .map_err(|error| match error {
                StoreError::Database(error) => explained(error),
                error => error.into(),
            })?
    };
    let seen = look(dialect, settings, &connection).await;
    connection.close().await.map_err(StoreError::from)?;
    seen
}

fn explained(error: DbErr) -> ExamineError {
    match dialect::trouble(&error) {
        Trouble::Unreachable => ExamineError::Unreachable(error),
        Trouble::Refused => ExamineError::Refused(error),
        Trouble::NoSuchDatabase => ExamineError::NoSuchDatabase(error),
    }
}

async fn open_file(dialect: Dialect, file: &str) -> Result<DatabaseConnection, ExamineError> {
    let path = Path::new(file);
    if !path.exists() {
        return Err(ExamineError::NoFileYet(file.to_owned()));
    }
    let opened = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path);
    opened.map_err(|error| ExamineError::NotOurs(file.to_owned(), error))?;
    let no_database = |error| ExamineError::NoDatabase(file.to_owned(), error);
    let care = dialect.care().ok_or(StoreError::UnknownScheme)?;
    let connection = care.open(path, Access::ReadOnly).await;
    let connection = connection.map_err(no_database)?;
    // Only now the file is read.
    match connection.execute_unprepared(care.look).await {
        Ok(_) => Ok(connection),
        Err(error) => Err(no_database(error)),
    }
}

async fn look(
    dialect: Dialect,
    settings: &StoreSettings,
    connection: &DatabaseConnection,
) -> Result<Examined, ExamineError> {
    let complaint = match dialect.care() {
        Some(care) => match first_complaint(connection, care.quick_check).await {
            Ok(complaint) => complaint,
            // Where so much is damaged that the check cannot go on, that is its complaint.
            Err(error) => Some(error.to_string()),
        },
        None => None,
    };
    let schema = match (&complaint, schema_of(connection, dialect).await) {
        (_, Ok(schema)) => schema,
        (Some(_), Err(_)) => Schema::Foreign,
        (None, Err(error)) => return Err(error.into()),
    };
    let (now_ms, connections) = match dialect.of_server() {
        Some(sql) => {
            let row = one(connection, sql.now_ms).await?;
            let counts = one(connection, sql.connections).await?;
            let used = counts.try_get("", "used").map_err(StoreError::from)?;
            let most = counts.try_get("", "most").map_err(StoreError::from)?;
            let now_ms = row.try_get("", "now_ms").map_err(StoreError::from)?;
            (Some(now_ms), Some(Connections { used, most }))
        }
        None => (None, None),
    };
    let free = match dialect.free_bytes() {
        Some(sql) if complaint.is_none() => {
            let row = one(connection, sql).await?;
            let free = row.try_get("", "free").map_err(StoreError::from)?;
            Some((free, row.try_get("", "size").map_err(StoreError::from)?))
        }
        _ => None,
    };
    let row = one(connection, dialect.engine()).await?;
    Ok(Examined {
        engine: row.try_get("", "engine").map_err(StoreError::from)?,
        schema,
        complaint,
        is_in_use: is_in_use(dialect, &settings.url),
        now_ms,
        connections,
        free,
    })
}

/// Tries the lock that a server holds, where its file is there already, and lets it go again.
fn is_in_use(dialect: Dialect, url: &str) -> bool {
    let Some(file) = dialect.file(url) else {
        return false;
    };
    let is_there = Path::new(&format!("{file}.lock")).exists();
    is_there && matches!(FileLock::take(&file), Err(StoreError::InUse(_)))
}

async fn one(
    connection: &DatabaseConnection,
    sql: &str,
) -> Result<sea_orm::QueryResult, StoreError> {
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    let row = connection.query_one_raw(statement).await?;
    row.ok_or(StoreError::Missing {
        what: "answer of the database",
    })
}

//! What can be read off the database for whoever watches: the queue, the connections, the sizes of the tables.

use entity::Timestamp;
use sea_orm::{ConnectionTrait, Statement};

use super::{Store, StoreError};

/// Requests that have not ended, of all nodes together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    pub waiting: u64,
    /// When the one that has waited longest was queued.
    pub oldest: Option<Timestamp>,
    pub running: u64,
}

/// Connections of one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolUse {
    pub pool: &'static str,
    pub in_use: usize,
    pub idle: usize,
    pub most: usize,
}

/// Bytes of one table with its indexes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSize {
    pub table: String,
    pub bytes: u64,
}

impl Store {
    /// What waits and what runs. The words are those of the partial indexes, so that ended requests cost nothing.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn queue(&self) -> Result<Queue, StoreError> {
        let sql = "SELECT \
            (SELECT count(*) FROM llm_request WHERE status = 'queued') AS waiting, \
            (SELECT min(created_at) FROM llm_request WHERE status = 'queued') AS oldest, \
            (SELECT count(*) FROM llm_request WHERE status = 'running') AS running";
        let connection = self.reader();
        let query = Statement::from_string(connection.get_database_backend(), sql);
        let Some(row) = connection.query_one_raw(query).await? else {
            return Ok(Queue::default());
        };
        Ok(Queue {
            waiting: whole(row.try_get("", "waiting")?),
            oldest: row.try_get::<Option<i64>>("", "oldest")?.map(Timestamp),
            running: whole(row.try_get("", "running")?),
        })
    }

    /// The connections that there are.
    #[must_use]
    pub fn pools(&self) -> Vec<PoolUse> {
        self.dialect.pools(&self.writer, &self.reader)
    }

    /// Bytes of the whole database.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn bytes(&self) -> Result<u64, StoreError> {
        Ok(whole(self.number(self.dialect.database_bytes()).await?))
    }

    /// The tables and their sizes, the largest first. None: the database is so large that looking would cost more than
    /// it is worth.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn table_sizes(&self) -> Result<Option<Vec<TableSize>>, StoreError> {
        let Some(sql) = self.dialect.table_sizes(self.bytes().await?) else {
            return Ok(None);
        };
        let connection = self.reader();
        let query = Statement::from_string(connection.get_database_backend(), sql);
        let rows = connection.query_all_raw(query).await?;
        let size = |row: &sea_orm::QueryResult| {
            Ok(TableSize {
                table: row.try_get("", "name")?,
                bytes: whole(row.try_get("", "bytes")?),
            })
        };
        rows.iter()
            .map(size)
            .collect::<Result<_, StoreError>>()
            .map(Some)
    }

    /// How many migrations the database has seen.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn schema_version(&self) -> Result<u64, StoreError> {
        let count = "SELECT count(*) AS n FROM seaql_migrations";
        Ok(whole(self.number(count).await?))
    }

    async fn number(&self, sql: &str) -> Result<i64, StoreError> {
        let connection = self.reader();
        let query = Statement::from_string(connection.get_database_backend(), sql);
        match connection.query_one_raw(query).await? {
            Some(row) => Ok(row.try_get("", "n")?),
            None => Ok(0),
        }
    }
}

fn whole(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

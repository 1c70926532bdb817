//! A database of its own for each test, and a look into it past the server.

use std::path::PathBuf;
use std::sync::Arc;

use entity::{chat, chat_message, llm_request, token_ledger};
use sea_orm::{ColumnTrait, DatabaseConnection, EntityTrait, PaginatorTrait, QueryFilter};
use tempfile::TempDir;

use super::postgres;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
}

/// A database that no other test uses, gone with its test.
#[derive(Clone)]
pub struct Database {
    pub url: String,
    dir: Arc<TempDir>,
}

impl Database {
    pub async fn create(kind: Kind) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let url = match kind {
            Kind::Sqlite => format!("sqlite:{}/pollen.db", dir.path().display()),
            Kind::Postgres => postgres::create_database().await,
        };
        Self { url, dir }
    }

    /// In a PostgreSQL server of the test's own.
    pub async fn create_in(cluster: &postgres::Cluster) -> Self {
        let url = cluster.create_database().await;
        let dir = Arc::new(tempfile::tempdir().unwrap());
        Self { url, dir }
    }

    /// A directory that lives as long as the database.
    pub fn dir(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    pub async fn connect(&self) -> DatabaseConnection {
        let mut options = sea_orm::ConnectOptions::new(self.url.clone());
        options.max_connections(1).sqlx_logging(false);
        sea_orm::Database::connect(options).await.unwrap()
    }

    /// Runs a statement behind the server's back.
    pub async fn execute(&self, sql: &str) {
        use sea_orm::ConnectionTrait;
        let db = self.connect().await;
        db.execute_unprepared(sql).await.unwrap();
        db.close().await.unwrap();
    }

    /// Rows of a table.
    pub async fn count(&self, table: &str) -> i64 {
        use sea_orm::{ConnectionTrait, Statement};
        let db = self.connect().await;
        let sql = format!("SELECT count(*) AS n FROM \"{table}\"");
        let statement = Statement::from_string(db.get_database_backend(), sql);
        let row = db.query_one_raw(statement).await.unwrap().unwrap();
        let count = row.try_get("", "n").unwrap();
        db.close().await.unwrap();
        count
    }

    /// Fails if anything is left over: a message that is pending, a request that has not ended, a
    /// chat that waits for the chatbot, a row in the ledger.
    pub async fn assert_nothing_left_over(&self) {
        let db = self.connect().await;
        let pending = chat_message::Entity::find()
            .filter(chat_message::Column::Status.eq(chat_message::Status::Pending))
            .count(&db)
            .await
            .unwrap();
        let unfinished = llm_request::Entity::find()
            .filter(
                llm_request::Column::Status
                    .is_in([llm_request::Status::Queued, llm_request::Status::Running]),
            )
            .count(&db)
            .await
            .unwrap();
        let waiting = chat::Entity::find()
            .filter(chat::Column::Status.eq(chat::Status::WaitingForChatbot))
            .count(&db)
            .await
            .unwrap();
        let rows = token_ledger::Entity::find().count(&db).await.unwrap();
        db.close().await.unwrap();
        assert_eq!(
            (pending, unfinished, waiting, rows),
            (0, 0, 0, 0),
            "left over: (pending messages, unfinished requests, waiting chats, ledger rows)"
        );
    }
}

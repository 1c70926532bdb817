//! Rows written into a SQLite database behind the server's back, while it is stopped: a chat of a hundred thousand
//! messages would take the server an hour.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _, SqliteConnection};

/// The copies' ids, of the row `c` of numbers for the chat and `s` for the message in it: UUIDs of version 7.
const CHAT_HEX: &str = "printf('%08x000070008000000000000000', c.n)";
const MESSAGE_HEX: &str = "printf('%08x000170008000%012x', c.n, s.n)";

/// A copied chat's id, by its number.
pub fn chat_id(chat: u64) -> String {
    format!("{chat:08x}-0000-7000-8000-000000000000")
}

/// A copied message's id, by the numbers of its chat and of itself in it.
pub fn message_id(chat: u64, message: u64) -> String {
    format!("{chat:08x}-0001-7000-8000-{message:012x}")
}

fn blob(id: &str) -> String {
    format!("x'{}'", id.replace('-', ""))
}

/// A table of numbers from 1.
fn counted(name: &str, last: u64) -> String {
    format!("{name}(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM {name} WHERE n < {last})")
}

/// Opened to be filled: nothing of it has to survive a crash.
pub struct Filler {
    connection: SqliteConnection,
}

impl Filler {
    pub async fn open(file: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .journal_mode(SqliteJournalMode::Off)
            .synchronous(SqliteSynchronous::Off)
            .busy_timeout(Duration::from_secs(5))
            .pragma("cache_size", "-262144")
            .disable_statement_logging();
        Ok(Self {
            connection: options.connect().await?,
        })
    }

    pub async fn execute(&mut self, sql: &str) -> Result<()> {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    /// Copies of the chat's last message behind it, so that the chat has `messages`. Nothing else changes: the copies
    /// have the revision that the chat has. The id of the last one.
    pub async fn lengthen_chat(&mut self, chat: &str, messages: u64) -> Result<String> {
        let (columns, values) = self
            .copied("chat_message", |column| match column {
                "id" => Some("randomblob(16)".to_owned()),
                "sequence" => Some("m.sequence + c.n".to_owned()),
                "request_id" | "reply_to" => Some("NULL".to_owned()),
                _ => None,
            })
            .await?;
        let chat = blob(chat);
        self.execute(&format!(
            "WITH RECURSIVE {} INSERT INTO chat_message ({columns}) SELECT {values} FROM c, chat_message m
             WHERE m.chat_id = {chat}
               AND m.sequence = (SELECT max(sequence) FROM chat_message WHERE chat_id = {chat});
             UPDATE chat SET next_sequence = (SELECT max(sequence) + 1 FROM chat_message WHERE chat_id = {chat})
             WHERE id = {chat}",
            counted("c", messages.saturating_sub(2))
        ))
        .await?;
        let sql = format!(
            "SELECT id FROM chat_message WHERE chat_id = {chat} ORDER BY sequence DESC LIMIT 1"
        );
        let row = sqlx::query(AssertSqlSafe(sql))
            .fetch_one(&mut self.connection)
            .await?;
        Ok(uuid::Uuid::from_slice(row.get("id"))?.to_string())
    }

    /// Chats like this one, of so many messages each, which are copies of its last one, all complete and quiet. The ids
    /// rise, as those do that the server gives.
    pub async fn copy_chat(&mut self, chat: &str, chats: u64, messages: u64) -> Result<()> {
        let triggers = self.take_triggers().await?;
        let template = blob(chat);
        let (columns, values) = self
            .copied("chat", |column| match column {
                "id" => Some(format!("unhex({CHAT_HEX})")),
                "next_sequence" => Some((messages + 1).to_string()),
                _ => None,
            })
            .await?;
        self.execute(&format!(
            "WITH RECURSIVE {} INSERT INTO chat ({columns}) SELECT {values} FROM c, chat m WHERE m.id = {template}",
            counted("c", chats)
        ))
        .await?;
        let (columns, values) = self
            .copied("chat_message", |column| match column {
                "id" => Some(format!("unhex({MESSAGE_HEX})")),
                "chat_id" => Some(format!("unhex({CHAT_HEX})")),
                "sequence" => Some("s.n".to_owned()),
                "request_id" | "reply_to" => Some("NULL".to_owned()),
                _ => None,
            })
            .await?;
        self.execute(&format!(
            "WITH RECURSIVE {}, {} INSERT INTO chat_message ({columns}) SELECT {values}
             FROM c CROSS JOIN s CROSS JOIN (SELECT * FROM chat_message WHERE chat_id = {template}
               ORDER BY sequence DESC LIMIT 1) m",
            counted("c", chats),
            counted("s", messages)
        ))
        .await?;
        for trigger in triggers {
            self.execute(&trigger).await?;
        }
        Ok(())
    }

    /// Takes the triggers away that keep the index of words, which would take longer than all the rest; the statements
    /// that make them.
    async fn take_triggers(&mut self) -> Result<Vec<String>> {
        let sql = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name IN ('chat', 'chat_message')";
        let rows = sqlx::query(sql).fetch_all(&mut self.connection).await?;
        let mut made = Vec::new();
        for row in rows {
            let name: String = row.get("name");
            self.execute(&format!("DROP TRIGGER {name}")).await?;
            made.push(row.get("sql"));
        }
        Ok(made)
    }

    /// The columns of a table, and what a copy of the row `m` has in them.
    async fn copied(
        &mut self,
        table: &str,
        other: impl Fn(&str) -> Option<String>,
    ) -> Result<(String, String)> {
        let columns = self.columns(table).await?;
        let value = |column: &String| other(column).unwrap_or_else(|| format!("m.{column}"));
        let values: Vec<String> = columns.iter().map(value).collect();
        Ok((columns.join(", "), values.join(", ")))
    }

    async fn columns(&mut self, table: &str) -> Result<Vec<String>> {
        let sql = format!("SELECT name FROM pragma_table_info('{table}') ORDER BY cid");
        let rows = sqlx::query(AssertSqlSafe(sql))
            .fetch_all(&mut self.connection)
            .await?;
        Ok(rows.iter().map(|row| row.get("name")).collect())
    }

    pub async fn close(self) -> Result<()> {
        Ok(self.connection.close().await?)
    }
}

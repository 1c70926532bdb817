//! What the page needs: chats whose deletion can be taken back, reactions to answers, and an index of
//! all words for the search.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer_null, text_null};
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, mut column) in columns() {
            let alter = Table::alter()
                .table(table)
                .add_column(&mut column)
                .to_owned();
            manager.alter_table(alter).await?;
        }
        // Partial, over the few chats that wait to be erased.
        manager
            .create_index(
                Index::create()
                    .name("chat_deleted")
                    .table("chat")
                    .col("deleted_at")
                    .and_where(Expr::col("deleted_at").is_not_null())
                    .to_owned(),
            )
            .await?;
        let connection = manager.get_connection();
        for statement in search(manager.get_database_backend()).up {
            connection.execute_unprepared(statement).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        for statement in search(manager.get_database_backend()).down {
            connection.execute_unprepared(statement).await?;
        }
        manager
            .drop_index(Index::drop().name("chat_deleted").to_owned())
            .await?;
        for (table, column) in columns().into_iter().rev() {
            let alter = Table::alter()
                .table(table)
                .drop_column(column.get_column_name())
                .to_owned();
            manager.alter_table(alter).await?;
        }
        Ok(())
    }
}

fn columns() -> Vec<(&'static str, ColumnDef)> {
    vec![
        ("chat", big_integer_null("deleted_at")),
        ("chat_message", text_null("reaction")),
        ("chat_message", text_null("reaction_comment")),
        ("message_version", text_null("reaction")),
        ("message_version", text_null("reaction_comment")),
    ]
}

/// The statements that make the index of words, and those that take it away.
struct Search {
    up: &'static [&'static str],
    down: &'static [&'static str],
}

fn search(backend: DbBackend) -> Search {
    match backend {
        DbBackend::Postgres => Search {
            up: &POSTGRES_UP,
            down: &POSTGRES_DOWN,
        },
        _ => Search {
            up: &SQLITE_UP,
            down: &SQLITE_DOWN,
        },
    }
}

/// A tsvector has at most 1 MiB; the words of so many characters always fit. Marks become spaces, or
/// addresses, paths and words with a hyphen would be words of their own.
const POSTGRES_UP: [&str; 2] = [
    r##"CREATE INDEX chat_message_words ON chat_message USING gin (to_tsvector('simple',
         translate(left(content, 200000), '!"#$%&''()*+,-./:;<=>?@[\]^_`{|}~', '                                ')))
       WHERE role <> 'system' AND deleted_at IS NULL AND superseded_at IS NULL"##,
    r##"CREATE INDEX chat_words ON chat USING gin (to_tsvector('simple',
         translate(left(title, 200000), '!"#$%&''()*+,-./:;<=>?@[\]^_`{|}~', '                                ')))"##,
];

const POSTGRES_DOWN: [&str; 2] = ["DROP INDEX chat_message_words", "DROP INDEX chat_words"];

/// The index holds words and no texts. It names what has them by an integer, which `search_entry` gives
/// to each message that can be found and to each title: the row numbers of tables with other keys are
/// not kept by a VACUUM.
const SQLITE_UP: [&str; 13] = [
    "CREATE TABLE search_entry (id INTEGER PRIMARY KEY, chat_id BLOB NOT NULL, message_id BLOB UNIQUE)",
    "CREATE UNIQUE INDEX search_entry_of_title ON search_entry (chat_id) WHERE message_id IS NULL",
    "CREATE VIRTUAL TABLE search_text USING fts5(text, content='', contentless_delete=1, \
       tokenize='unicode61 remove_diacritics 2')",
    "INSERT INTO search_entry (chat_id) SELECT id FROM chat",
    "INSERT INTO search_entry (chat_id, message_id) SELECT chat_id, id FROM chat_message \
       WHERE content <> '' AND role <> 'system' AND deleted_at IS NULL AND superseded_at IS NULL",
    "INSERT INTO search_text (rowid, text) SELECT e.id, c.title \
       FROM search_entry e JOIN chat c ON c.id = e.chat_id WHERE e.message_id IS NULL",
    "INSERT INTO search_text (rowid, text) SELECT e.id, substr(m.content, 1, 200000) \
       FROM search_entry e JOIN chat_message m ON m.id = e.message_id",
    "CREATE TRIGGER search_chat_insert AFTER INSERT ON chat BEGIN \
       INSERT INTO search_entry (chat_id) VALUES (new.id); \
       INSERT INTO search_text (rowid, text) SELECT id, new.title \
         FROM search_entry WHERE chat_id = new.id AND message_id IS NULL; \
     END",
    "CREATE TRIGGER search_chat_update AFTER UPDATE OF title ON chat WHEN old.title <> new.title BEGIN \
       DELETE FROM search_text WHERE rowid IN (\
         SELECT id FROM search_entry WHERE chat_id = old.id AND message_id IS NULL); \
       INSERT INTO search_text (rowid, text) SELECT id, new.title \
         FROM search_entry WHERE chat_id = new.id AND message_id IS NULL; \
     END",
    "CREATE TRIGGER search_chat_delete AFTER DELETE ON chat BEGIN \
       DELETE FROM search_text WHERE rowid IN (\
         SELECT id FROM search_entry WHERE chat_id = old.id AND message_id IS NULL); \
       DELETE FROM search_entry WHERE chat_id = old.id AND message_id IS NULL; \
     END",
    "CREATE TRIGGER search_message_insert AFTER INSERT ON chat_message \
     WHEN new.content <> '' AND new.role <> 'system' AND new.deleted_at IS NULL \
       AND new.superseded_at IS NULL BEGIN \
       INSERT INTO search_entry (chat_id, message_id) VALUES (new.chat_id, new.id); \
       INSERT INTO search_text (rowid, text) SELECT id, substr(new.content, 1, 200000) \
         FROM search_entry WHERE message_id = new.id; \
     END",
    "CREATE TRIGGER search_message_update AFTER UPDATE OF content, deleted_at, superseded_at \
     ON chat_message WHEN old.content <> new.content \
       OR (old.deleted_at IS NULL) <> (new.deleted_at IS NULL) \
       OR (old.superseded_at IS NULL) <> (new.superseded_at IS NULL) BEGIN \
       DELETE FROM search_text WHERE rowid IN (SELECT id FROM search_entry WHERE message_id = old.id); \
       DELETE FROM search_entry WHERE message_id = old.id; \
       INSERT INTO search_entry (chat_id, message_id) SELECT new.chat_id, new.id \
         WHERE new.content <> '' AND new.role <> 'system' AND new.deleted_at IS NULL \
           AND new.superseded_at IS NULL; \
       INSERT INTO search_text (rowid, text) SELECT id, substr(new.content, 1, 200000) \
         FROM search_entry WHERE message_id = new.id; \
     END",
    "CREATE TRIGGER search_message_delete AFTER DELETE ON chat_message BEGIN \
       DELETE FROM search_text WHERE rowid IN (SELECT id FROM search_entry WHERE message_id = old.id); \
       DELETE FROM search_entry WHERE message_id = old.id; \
     END",
];

const SQLITE_DOWN: [&str; 8] = [
    "DROP TRIGGER search_chat_insert",
    "DROP TRIGGER search_chat_update",
    "DROP TRIGGER search_chat_delete",
    "DROP TRIGGER search_message_insert",
    "DROP TRIGGER search_message_update",
    "DROP TRIGGER search_message_delete",
    "DROP TABLE search_text",
    "DROP TABLE search_entry",
];

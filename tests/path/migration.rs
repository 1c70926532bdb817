//! A database of an earlier version: what is in it is there afterwards, and can be found.

use entity::{ChatId, MessageId, OwnerId};
use migration::{Migrator, MigratorTrait};
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement, Value};

use crate::support::{Database, TestApp, Upstream};

/// Migrations of the version before the page.
const BEFORE_THE_PAGE: u32 = 3;

async fn insert(db: &DatabaseConnection, sql: &str, values: Vec<Value>) {
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    db.execute_raw(statement).await.unwrap();
}

/// A chat with one message of the user's.
async fn fill(db: &DatabaseConnection) -> ChatId {
    let chat = ChatId::generate();
    let sql = "INSERT INTO chat (id, owner_id, title, status, next_sequence, revision, created_at, updated_at) \
               VALUES ($1, $2, 'An old title', 'waiting_for_user', 2, 1, 1, 1)";
    insert(db, sql, vec![chat.into(), OwnerId::LOCAL.into()]).await;
    let sql = "INSERT INTO chat_message (id, chat_id, sequence, revision, role, status, content, edition, created_at) \
               VALUES ($1, $2, 1, 1, 'user', 'completed', 'some old words', 0, 1)";
    insert(db, sql, vec![MessageId::generate().into(), chat.into()]).await;
    chat
}

on_both_databases! {
    async fn what_was_said_before_can_be_found_after(kind: Kind) {
        let database = Database::create(kind).await;
        if let Some(path) = database.url.strip_prefix("sqlite:") {
            // An empty file is an empty database.
            std::fs::File::create(path).unwrap();
        }
        let db = database.connect().await;
        Migrator::up(&db, Some(BEFORE_THE_PAGE)).await.unwrap();
        let chat = fill(&db).await.to_string();
        Migrator::up(&db, None).await.unwrap();
        // And back, as far as it goes.
        Migrator::down(&db, Some(1)).await.unwrap();
        db.close().await.unwrap();
        let app = TestApp::start_on(database, Upstream::echo().await, &[]).await;
        for (query, is_message) in [("title", false), ("word", true)] {
            let found = app.get(&format!("/chat/search?q={query}")).await.expect(200).json();
            assert_eq!(found["found"][0]["chat"]["uuid"], chat, "{query}");
            assert_eq!(found["found"][0]["message_uuid"].is_string(), is_message, "{query}");
        }
        assert_eq!(app.messages(&chat).await.len(), 1);
        app.stop().await;
    }
}

//! A database of every version that there was: brought to the newest without losing a row, and written by the old version
//! beside the new one. What an old version's tables and rows looked like is frozen in `fixtures/` and `snapshots/`:
//! whoever edits a migration that has landed is told here.

use migration::{Migrator, MigratorTrait};
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};

use crate::support::database::Kind;
use crate::support::{Database, TestApp, Upstream, app::eventually};

/// What each version wrote, by the number of its migrations.
const ROWS: [&str; 10] = [
    include_str!("fixtures/rows_01.sql"),
    include_str!("fixtures/rows_02.sql"),
    include_str!("fixtures/rows_03.sql"),
    include_str!("fixtures/rows_04.sql"),
    include_str!("fixtures/rows_05.sql"),
    include_str!("fixtures/rows_06.sql"),
    include_str!("fixtures/rows_07.sql"),
    include_str!("fixtures/rows_08.sql"),
    include_str!("fixtures/rows_09.sql"),
    include_str!("fixtures/rows_10.sql"),
];

/// The UUIDs of the fixtures end with their number.
fn uuid(number: usize) -> String {
    format!("00000000-0000-0000-0000-{number:012}")
}

/// A fixture's text as the database writes UUIDs: SQLite keeps their bytes.
fn spelled(kind: Kind, text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (number, after) = match after.split_once('}') {
            Some((name, after)) if name.starts_with("id:") || name.starts_with("text:") => {
                (name, after)
            }
            // A brace of a JSON text.
            _ => {
                out.push_str(before);
                out.push('{');
                rest = after;
                continue;
            }
        };
        let (form, number) = number.split_once(':').unwrap();
        let uuid = uuid(number.parse().unwrap());
        out.push_str(before);
        let spelled = match (form, kind) {
            ("id", Kind::Sqlite) => format!("X'{}'", uuid.replace('-', "")),
            _ => format!("'{uuid}'"),
        };
        out.push_str(&spelled);
        rest = after;
    }
    out + rest
}

async fn fill(db: &DatabaseConnection, kind: Kind, version: usize) {
    let rows = spelled(kind, ROWS[version - 1]);
    db.execute_unprepared(&rows).await.unwrap();
}

async fn lines(db: &DatabaseConnection, sql: &str) -> Vec<String> {
    let statement = Statement::from_string(db.get_database_backend(), sql);
    let rows = db.query_all_raw(statement).await.unwrap();
    let lines = rows.iter().map(|row| row.try_get_by_index(0).unwrap());
    lines.collect()
}

/// The tables with rows of ours.
async fn tables(db: &DatabaseConnection, kind: Kind) -> Vec<String> {
    let mut tables = lines(
        db,
        match kind {
            Kind::Sqlite => "SELECT name FROM sqlite_schema WHERE type = 'table'",
            Kind::Postgres => {
                "SELECT CAST(table_name AS TEXT) FROM information_schema.tables WHERE table_schema = 'public'"
            }
        },
    )
    .await;
    let is_ours = |name: &String| {
        !["seaql_", "sqlite_", "search_"]
            .iter()
            .any(|of| name.starts_with(of))
    };
    tables.retain(is_ours);
    tables.sort();
    tables
}

/// (table, rows) of these tables.
async fn counts(db: &DatabaseConnection, tables: &[String]) -> Vec<(String, String)> {
    let mut counts = Vec::new();
    for table in tables {
        let sql = format!("SELECT CAST(count(*) AS TEXT) FROM \"{table}\"");
        counts.push((table.clone(), lines(db, &sql).await.remove(0)));
    }
    counts
}

/// All that a database says of its own tables.
async fn schema(db: &DatabaseConnection, kind: Kind) -> String {
    let statements: &[&str] = match kind {
        Kind::Sqlite => &[
            "SELECT coalesce(sql, type || ' ' || name || ' on ' || tbl_name) FROM sqlite_schema \
             WHERE name NOT LIKE 'sqlite_%' AND name NOT LIKE 'seaql_%' ORDER BY tbl_name, type DESC, name",
        ],
        Kind::Postgres => &[
            "SELECT CAST(table_name || '.' || column_name || ' ' || data_type || ' nullable ' || is_nullable \
               || coalesce(' default ' || column_default, '') AS TEXT) \
             FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE 'seaql_%' \
             ORDER BY table_name, ordinal_position",
            "SELECT CAST(indexdef AS TEXT) FROM pg_indexes \
             WHERE schemaname = 'public' AND tablename NOT LIKE 'seaql_%' ORDER BY indexname",
            "SELECT CAST(CAST(conrelid AS regclass) AS TEXT) || ' ' || pg_get_constraintdef(oid) FROM pg_constraint \
             WHERE contype = 'f' ORDER BY 1",
        ],
    };
    let mut text = String::new();
    for sql in statements {
        for line in lines(db, sql).await {
            text.push_str(&line);
            text.push('\n');
        }
    }
    text
}

async fn empty(kind: Kind) -> Database {
    let database = Database::create(kind).await;
    if let Some(path) = database.url.strip_prefix("sqlite:") {
        // An empty file is an empty database.
        std::fs::File::create(path).unwrap();
    }
    database
}

async fn migrate(db: &DatabaseConnection, steps: usize) {
    Migrator::up(db, Some(u32::try_from(steps).unwrap()))
        .await
        .unwrap();
}

/// What was said in a version's chats is there, and what it left unfinished is answered.
async fn assert_read(app: &TestApp, version: usize) {
    let number = |k: usize| uuid(version * 100 + k);
    let messages = app.messages(&number(1)).await;
    let texts: Vec<&str> = messages
        .iter()
        .map(|m| m["content"].as_str().unwrap())
        .collect();
    let (question, answer) = (
        format!("Question {version}"),
        format!("Answer {version}, as it was given"),
    );
    assert_eq!(texts, [question.as_str(), answer.as_str()]);
    assert_eq!(messages[1]["uuid"], number(3));
    let answered = eventually("the old version's answer is taken up", async || {
        let messages = app.messages(&number(5)).await;
        (messages[1]["status"] != "pending").then_some(messages)
    })
    .await;
    assert_eq!(answered[1]["status"], "completed", "{answered:?}");
    assert_ne!(answered[1]["content"], "half an ");
    let found = app
        .get(&format!("/chat/search?q=Question+{version}"))
        .await
        .expect(200)
        .json();
    let found = found["found"].as_array().unwrap();
    assert!(
        found.iter().any(|one| one["chat"]["uuid"] == number(1)),
        "{found:?}"
    );
}

#[test]
fn every_migration_has_its_fixture() {
    assert_eq!(
        ROWS.len(),
        Migrator::migrations().len(),
        "write down what the new version writes: fixtures/rows_NN.sql"
    );
}

on_both_databases! {
    async fn a_migration_that_has_landed_is_not_edited(kind: Kind) {
        let database = empty(kind).await;
        let db = database.connect().await;
        for version in 1..=ROWS.len() {
            migrate(&db, 1).await;
            let name = match kind {
                Kind::Sqlite => format!("sqlite_{version:02}"),
                Kind::Postgres => format!("postgres_{version:02}"),
            };
            insta::assert_snapshot!(name, schema(&db, kind).await);
        }
        db.close().await.unwrap();
    }

    async fn a_database_of_every_version_is_brought_to_the_newest(kind: Kind) {
        for version in 1..=ROWS.len() {
            let database = empty(kind).await;
            let db = database.connect().await;
            migrate(&db, version).await;
            fill(&db, kind, version).await;
            let tables = tables(&db, kind).await;
            let before = counts(&db, &tables).await;
            let filled = before.iter().filter(|(_, rows)| rows != "0").count();
            assert_eq!(filled, tables.len(), "a fixture has a row of each table: {before:?}");
            Migrator::up(&db, None).await.unwrap();
            assert_eq!(counts(&db, &tables).await, before, "version {version}");
            db.close().await.unwrap();
            let app = TestApp::start_on(database, Upstream::echo().await, &[]).await;
            assert_read(&app, version).await;
            app.stop().await;
        }
    }

    /// A node of the version before goes on while one of the new version has migrated: all that it knows still works.
    async fn an_older_version_writes_beside_the_newest(kind: Kind) {
        let database = empty(kind).await;
        let db = database.connect().await;
        Migrator::up(&db, None).await.unwrap();
        for version in 1..=ROWS.len() {
            fill(&db, kind, version).await;
            // And the changes of an answer's life, in the words of the first version.
            let of_version = |text: &str| spelled(kind, &text.replace('#', &version.to_string()));
            for sql in [
                "UPDATE chat SET next_sequence = next_sequence + 0, revision = revision + 1, updated_at = 3000 \
                 WHERE id = {id:#01}",
                "UPDATE chat_message SET content = content, revision = 3 WHERE id = {id:#03}",
                "UPDATE llm_request SET lease_expires_at = 1600 WHERE id = {id:#08} AND attempt = 0",
                "INSERT INTO token_ledger (request_id, attempt, start_offset, text) VALUES ({id:#08}, 0, 8, 'answer')",
            ] {
                db.execute_unprepared(&of_version(sql)).await.unwrap();
            }
            let ledger = "SELECT text FROM token_ledger WHERE request_id = {id:#08} AND attempt = 0 ORDER BY id";
            assert_eq!(lines(&db, &of_version(ledger)).await, ["half an ", "answer"]);
        }
        db.close().await.unwrap();
        let app = TestApp::start_on(database, Upstream::echo().await, &[]).await;
        for version in 1..=ROWS.len() {
            assert_read(&app, version).await;
        }
        app.stop().await;
    }
}

//! What is stored of people: that they can have all of it, that all of it can go, and that it goes by
//! itself when its time is up. What is gone is looked for in every table there is.

mod export;
mod forget;
mod retention;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use entity::{ChatId, MessageId, OwnerId, SessionId, ShareId, Timestamp, TokenId};
use entity::{api_token, chat, chat_message, session, share, user};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DatabaseConnection, EntityTrait,
    IntoActiveModel, QueryFilter, Statement,
};
use serde_json::json;

use crate::support::app::eventually;
use crate::support::database::Kind;
use crate::support::{Database, TestApp, Upstream};

/// Erased as soon as may be.
const SOON: [(&str, &str); 1] = [("worker.repair_interval_ms", "50")];

/// A word that nothing else has, in all that the local user leaves behind.
const WORD: &str = "quixplantword";
/// The same of another user.
const THEIRS: &str = "zebraplantword";

/// The ids of what was planted.
struct Planted {
    chat: String,
    answer: String,
    token: TokenId,
    session: SessionId,
    share: ShareId,
    ids: Vec<String>,
}

/// Leaves the local user's word wherever there is a place for it.
async fn plant(app: &TestApp) -> Planted {
    let body = json!({"title": format!("Title {WORD}"), "message": format!("one {WORD}")});
    let created = app
        .post_once("/chat/create", "k", &body)
        .await
        .expect(201)
        .json();
    let chat = created["uuid"].as_str().unwrap().to_owned();
    let message = created["message"]["uuid"].as_str().unwrap().to_owned();
    let answer = app.answer_to(&chat, &message).await;
    app.read(&answer).await;
    let path = format!("/chat/message/{answer}");
    app.put(
        &format!("{path}/reaction"),
        &json!({"reaction": "like", "comment": format!("why {WORD}")}),
    )
    .await
    .expect(200);
    app.post_bare(&format!("{path}/regenerate"))
        .await
        .expect(202);
    app.settle().await;
    let said = json!({"input": format!("two {WORD}"), "conversation": chat, "instructions": format!("Be {WORD}."),
        "metadata": {"topic": WORD}, "background": true});
    app.post_once("/v1/responses", "s", &said).await.expect(200);
    app.settle().await;
    let db = app.database.connect().await;
    let (token, session) = plant_keys(&db, OwnerId::LOCAL, Timestamp(i64::MAX / 2)).await;
    let share = plant_share(&db, chat.parse().unwrap()).await;
    db.close().await.unwrap();
    let ids = vec![
        chat.clone(),
        message,
        answer.clone(),
        token.to_string(),
        share.to_string(),
    ];
    Planted {
        chat,
        answer,
        token,
        session,
        share,
        ids,
    }
}

/// A token and a session of the user's that began now, or at this time.
async fn plant_keys(
    db: &DatabaseConnection,
    user_id: OwnerId,
    expires_at: Timestamp,
) -> (TokenId, SessionId) {
    let token = api_token::Model {
        id: TokenId::generate(),
        user_id,
        name: format!("key {WORD}"),
        head: "pln_head".into(),
        hash: format!("hash-{}", TokenId::generate()),
        scope: api_token::Scope::Write,
        made_with: None,
        created_at: Timestamp(1),
        expires_at: Some(expires_at),
        revoked_at: None,
        used_at: None,
    };
    let session = session::Model {
        id: SessionId::generate(),
        user_id,
        token_id: None,
        browser: format!("Browser {WORD}"),
        created_at: expires_at,
        seen_at: expires_at,
        ends_at: None,
        ended_at: None,
    };
    let ids = (token.id, session.id);
    api_token::Entity::insert(token.into_active_model())
        .exec_without_returning(db)
        .await
        .unwrap();
    session::Entity::insert(session.into_active_model())
        .exec_without_returning(db)
        .await
        .unwrap();
    ids
}

async fn plant_share(db: &DatabaseConnection, chat_id: ChatId) -> ShareId {
    let id = ShareId::generate();
    let row = share::Model {
        id,
        chat_id,
        head: "pls_head".into(),
        hash: format!("hash-{id}"),
        created_at: Timestamp(1),
        expires_at: None,
        revoked_at: None,
    };
    share::Entity::insert(row.into_active_model())
        .exec_without_returning(db)
        .await
        .unwrap();
    id
}

/// Somebody else, of this tier.
async fn plant_user(
    db: &DatabaseConnection,
    issuer: &str,
    tier: Option<&str>,
    seen_at: Timestamp,
) -> OwnerId {
    let id = OwnerId::generate();
    let row = user::Model {
        id,
        issuer: issuer.into(),
        subject: id.to_string(),
        name: format!("Name {THEIRS}"),
        tier: tier.map(str::to_owned),
        is_admin: false,
        disabled_at: None,
        deleted_at: None,
        created_at: Timestamp(1),
        seen_at,
    };
    user::Entity::insert(row.into_active_model())
        .exec_without_returning(db)
        .await
        .unwrap();
    id
}

/// A chat with one message, last changed at this time. That is said last: from then on it may be erased.
async fn plant_chat(
    db: &DatabaseConnection,
    owner_id: OwnerId,
    word: &str,
    updated_at: Timestamp,
) -> ChatId {
    let id = ChatId::generate();
    let row = chat::Model {
        id,
        owner_id,
        title: format!("Title {word}"),
        agent: None,
        model: None,
        status: chat::Status::WaitingForUser,
        on_busy: None,
        parameters: None,
        metadata: Some(entity::Metadata(
            [("word".to_owned(), word.to_owned())].into(),
        )),
        summary: Some(format!("summary {word}")),
        summary_through: Some(1),
        next_sequence: 2,
        revision: 1,
        created_at: Timestamp(1),
        updated_at: Timestamp(i64::MAX / 2),
        deleted_at: None,
        expires_at: None,
    };
    chat::Entity::insert(row.into_active_model())
        .exec_without_returning(db)
        .await
        .unwrap();
    let message = chat_message::Model {
        id: MessageId::generate(),
        chat_id: id,
        sequence: 1,
        revision: 1,
        role: chat_message::Role::User,
        status: chat_message::Status::Completed,
        reply_to: None,
        request_id: None,
        content: format!("said {word}"),
        reasoning: format!("thought {word}"),
        origin: None,
        edition: 0,
        version: 1,
        versions: 1,
        error_code: None,
        error_message: None,
        reaction: None,
        reaction_comment: None,
        created_at: Timestamp(1),
        completed_at: Some(Timestamp(1)),
        deleted_at: None,
        superseded_at: None,
    };
    chat_message::Entity::insert(message.into_active_model())
        .exec_without_returning(db)
        .await
        .unwrap();
    let aged = chat::ActiveModel {
        id: Set(id),
        updated_at: Set(updated_at),
        ..Default::default()
    };
    // One that is erased already would not be returned.
    chat::Entity::update_many()
        .set(aged)
        .filter(chat::Column::Id.eq(id))
        .exec(db)
        .await
        .unwrap();
    id
}

async fn texts(db: &DatabaseConnection, sql: String) -> Vec<String> {
    let statement = Statement::from_string(db.get_database_backend(), sql);
    let rows = db.query_all_raw(statement).await.unwrap();
    rows.iter()
        .map(|row| row.try_get_by_index(0).unwrap())
        .collect()
}

/// All that each table holds: SQLite's in hexadecimal, for some of it is bytes.
pub async fn dump(database: &Database) -> BTreeMap<String, String> {
    let db = database.connect().await;
    let is_sqlite = database.url.starts_with("sqlite:");
    let tables = if is_sqlite {
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    } else {
        "SELECT CAST(table_name AS TEXT) FROM information_schema.tables WHERE table_schema = 'public'"
    };
    let mut all = BTreeMap::new();
    for table in texts(&db, tables.to_owned()).await {
        let row = if is_sqlite {
            let columns = texts(
                &db,
                format!("SELECT name FROM pragma_table_info('{table}')"),
            )
            .await;
            let hex = columns
                .iter()
                .map(|name| format!("coalesce(hex(CAST(\"{name}\" AS BLOB)), '')"));
            hex.collect::<Vec<_>>().join(" || '|' || ")
        } else {
            "CAST(t AS TEXT)".to_owned()
        };
        let rows = texts(&db, format!("SELECT {row} FROM \"{table}\" t")).await;
        all.insert(table, rows.join("\n"));
    }
    db.close().await.unwrap();
    assert!(all.len() > 10, "these are not all tables: {:?}", all.keys());
    all
}

/// The tables that still have one of these words or ids, but for the record of rights.
async fn holders(database: &Database, needles: &[String]) -> Vec<String> {
    let hex = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02X}");
            hex
        })
    };
    let mut forms = Vec::new();
    for needle in needles {
        forms.push(needle.clone());
        forms.push(hex(needle.as_bytes()));
        if let Ok(uuid) = uuid::Uuid::try_parse(needle) {
            forms.push(hex(uuid.as_bytes()));
        }
    }
    let mut found = Vec::new();
    for (table, rows) in dump(database).await {
        if table != "audit_log" && forms.iter().any(|form| rows.contains(form.as_str())) {
            found.push(table);
        }
    }
    found
}

/// Waits until no table has any of it.
async fn gone(database: &Database, needles: &[String]) {
    let mut last = Vec::new();
    let wait = eventually("it is gone from every table", async || {
        last = holders(database, needles).await;
        last.is_empty().then_some(())
    });
    let waited = tokio::time::timeout(std::time::Duration::from_mins(1), wait).await;
    assert!(waited.is_ok(), "it is still in {last:?}");
}

/// The words of the local user and the ids of what was theirs.
fn needles(planted: &Planted) -> Vec<String> {
    let mut needles = planted.ids.clone();
    needles.push(WORD.to_owned());
    needles
}

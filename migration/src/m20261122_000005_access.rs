//! Users, and what lets them in: tokens, sessions, links to chats; the record of who did what to
//! rights; and chats that end by themselves.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, boolean, pk_auto, text, text_null, uuid, uuid_null,
};
use sea_orm_migration::sea_orm::ConnectionTrait;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create_user(manager).await?;
        create_api_token(manager).await?;
        create_session(manager).await?;
        create_share(manager).await?;
        create_audit_log(manager).await?;
        let alter = Table::alter()
            .table("chat")
            .add_column(big_integer_null("expires_at"))
            .to_owned();
        manager.alter_table(alter).await?;
        // Partial, over the chats that end by themselves.
        manager
            .create_index(
                Index::create()
                    .name("chat_expires")
                    .table("chat")
                    .col("expires_at")
                    .and_where(Expr::col("expires_at").is_not_null())
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_index(Index::drop().name("chat_expires").to_owned())
            .await?;
        let alter = Table::alter()
            .table("chat")
            .drop_column("expires_at")
            .to_owned();
        manager.alter_table(alter).await?;
        for table in ["audit_log", "share", "session", "api_token", "user"] {
            manager
                .drop_table(Table::drop().table(table).to_owned())
                .await?;
        }
        Ok(())
    }
}

async fn create_user(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            Table::create()
                .table("user")
                .col(uuid("id").primary_key())
                .col(text("issuer"))
                .col(text("subject"))
                .col(text("name"))
                .col(text_null("tier"))
                .col(boolean("is_admin"))
                .col(big_integer_null("disabled_at"))
                .col(big_integer_null("deleted_at"))
                .col(big_integer("created_at"))
                .col(big_integer("seen_at"))
                .to_owned(),
        )
        .await?;
    create_index(
        manager,
        "user_by_subject",
        "user",
        &["issuer", "subject"],
        true,
    )
    .await?;
    // The local user holds all chats that there are so far. Its id is made of zeros.
    let columns = [
        "id",
        "issuer",
        "subject",
        "name",
        "is_admin",
        "created_at",
        "seen_at",
    ];
    let insert = Query::insert()
        .into_table("user")
        .columns(columns)
        .values_panic([
            ::uuid::Uuid::nil().into(),
            "local".into(),
            "local".into(),
            "".into(),
            true.into(),
            0i64.into(),
            0i64.into(),
        ])
        .to_owned();
    manager.get_connection().execute(&insert).await?;
    Ok(())
}

async fn create_api_token(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            Table::create()
                .table("api_token")
                .col(uuid("id").primary_key())
                .col(uuid("user_id"))
                .col(text("name"))
                .col(text("head"))
                .col(text("hash"))
                .col(text("scope"))
                .col(uuid_null("made_with"))
                .col(big_integer("created_at"))
                .col(big_integer_null("expires_at"))
                .col(big_integer_null("revoked_at"))
                .col(big_integer_null("used_at"))
                .foreign_key(
                    ForeignKey::create()
                        .from("api_token", "user_id")
                        .to("user", "id")
                        .on_delete(ForeignKeyAction::Cascade),
                )
                .to_owned(),
        )
        .await?;
    create_index(manager, "api_token_by_hash", "api_token", &["hash"], true).await?;
    create_index(
        manager,
        "api_token_by_user",
        "api_token",
        &["user_id"],
        false,
    )
    .await
}

/// Without a reference to the user: a session that has ended with its user must still be known.
async fn create_session(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            Table::create()
                .table("session")
                .col(uuid("id").primary_key())
                .col(uuid("user_id"))
                .col(uuid_null("token_id"))
                .col(text("browser"))
                .col(big_integer("created_at"))
                .col(big_integer("seen_at"))
                .col(big_integer_null("ends_at"))
                .col(big_integer_null("ended_at"))
                .to_owned(),
        )
        .await?;
    create_index(manager, "session_by_user", "session", &["user_id"], false).await?;
    create_index(manager, "session_by_age", "session", &["created_at"], false).await
}

async fn create_share(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            Table::create()
                .table("share")
                .col(uuid("id").primary_key())
                .col(uuid("chat_id"))
                .col(text("head"))
                .col(text("hash"))
                .col(big_integer("created_at"))
                .col(big_integer_null("expires_at"))
                .col(big_integer_null("revoked_at"))
                .foreign_key(
                    ForeignKey::create()
                        .from("share", "chat_id")
                        .to("chat", "id")
                        .on_delete(ForeignKeyAction::Cascade),
                )
                .to_owned(),
        )
        .await?;
    create_index(manager, "share_by_hash", "share", &["hash"], true).await?;
    create_index(manager, "share_by_chat", "share", &["chat_id"], false).await
}

async fn create_audit_log(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            Table::create()
                .table("audit_log")
                .col(pk_auto("id").big_integer())
                .col(big_integer("at"))
                .col(uuid_null("actor_id"))
                .col(text("action"))
                .col(text("target"))
                .col(text_null("address"))
                .to_owned(),
        )
        .await
}

async fn create_index(
    manager: &SchemaManager<'_>,
    name: &'static str,
    table: &'static str,
    columns: &[&'static str],
    is_unique: bool,
) -> Result<(), DbErr> {
    let mut index = Index::create().name(name).table(table).to_owned();
    for column in columns {
        index.col(*column);
    }
    if is_unique {
        index.unique();
    }
    manager.create_index(index).await
}

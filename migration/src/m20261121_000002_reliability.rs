//! What attempts, cancels, versions, edits, idempotency keys and the usage ledger need.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, boolean, text, text_null, uuid, uuid_null,
};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    /// On SQLite too, or a process that is killed in the middle leaves tables behind that no later
    /// start can create again.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        add_columns(manager).await?;
        add_indexes(manager).await?;
        create_message_version(manager).await?;
        create_llm_attempt(manager).await?;
        create_idempotency_key(manager).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["idempotency_key", "llm_attempt", "message_version"] {
            manager
                .drop_table(Table::drop().table(table).to_owned())
                .await?;
        }
        for index in [
            "chat_message_pending",
            "chat_waiting_for_chatbot",
            "llm_request_by_lease_owner",
        ] {
            manager
                .drop_index(Index::drop().name(index).to_owned())
                .await?;
        }
        for (table, column) in COLUMNS {
            let alter = Table::alter().table(table).drop_column(column).to_owned();
            manager.alter_table(alter).await?;
        }
        Ok(())
    }
}

const COLUMNS: [(&str, &str); 5] = [
    ("chat", "on_busy"),
    ("chat_message", "version"),
    ("chat_message", "versions"),
    ("chat_message", "superseded_at"),
    ("llm_request", "deadline_at"),
];

/// One by one: SQLite adds one column in a statement.
async fn add_columns(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    for (table, column) in COLUMNS {
        let mut definition = match column {
            "on_busy" => text_null(column),
            "version" | "versions" => {
                let mut column = big_integer(column);
                column.default(1);
                column
            }
            _ => big_integer_null(column),
        };
        let alter = Table::alter()
            .table(table)
            .add_column(&mut definition)
            .to_owned();
        manager.alter_table(alter).await?;
    }
    Ok(())
}

/// Partial ones, over the few rows that something goes on in.
async fn add_indexes(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_index(
            Index::create()
                .name("chat_message_pending")
                .table("chat_message")
                .col("id")
                .and_where(Expr::col("status").eq("pending"))
                .to_owned(),
        )
        .await?;
    manager
        .create_index(
            Index::create()
                .name("chat_waiting_for_chatbot")
                .table("chat")
                .col("id")
                .and_where(Expr::col("status").eq("waiting_for_chatbot"))
                .to_owned(),
        )
        .await?;
    manager
        .create_index(
            Index::create()
                .name("llm_request_by_lease_owner")
                .table("llm_request")
                .col("lease_owner")
                .and_where(Expr::col("status").eq("running"))
                .to_owned(),
        )
        .await?;
    Ok(())
}

async fn create_message_version(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            Table::create()
                .table("message_version")
                .col(uuid("message_id"))
                .col(big_integer("number"))
                .col(uuid("chat_id"))
                .col(text("status"))
                .col(text("content"))
                .col(uuid_null("request_id"))
                .col(text_null("error_code"))
                .col(text_null("error_message"))
                .col(big_integer_null("completed_at"))
                .primary_key(Index::create().col("message_id").col("number"))
                .foreign_key(
                    ForeignKey::create()
                        .from("message_version", "chat_id")
                        .to("chat", "id")
                        .on_delete(ForeignKeyAction::Cascade),
                )
                .to_owned(),
        )
        .await?;
    // What the deletion of a chat looks for.
    manager
        .create_index(
            Index::create()
                .name("message_version_by_chat")
                .table("message_version")
                .col("chat_id")
                .to_owned(),
        )
        .await?;
    Ok(())
}

async fn create_llm_attempt(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    // No foreign key: what was used stays used when its chat is deleted.
    manager
        .create_table(
            Table::create()
                .table("llm_attempt")
                .col(uuid("request_id"))
                .col(big_integer("attempt"))
                .col(uuid("owner_id"))
                .col(uuid("chat_id"))
                .col(uuid_null("message_id"))
                .col(text_null("provider"))
                .col(text_null("model"))
                .col(text("outcome"))
                .col(text_null("finish_reason"))
                .col(text_null("error_code"))
                .col(big_integer("input_tokens"))
                .col(big_integer("output_tokens"))
                .col(big_integer("reasoning_tokens"))
                .col(big_integer("cached_tokens"))
                .col(boolean("estimated"))
                .col(big_integer_null("cost_micros"))
                .col(big_integer("started_at"))
                .col(big_integer_null("first_token_at"))
                .col(big_integer("finished_at"))
                .primary_key(Index::create().col("request_id").col("attempt"))
                .to_owned(),
        )
        .await?;
    manager
        .create_index(
            Index::create()
                .name("llm_attempt_by_owner")
                .table("llm_attempt")
                .col("owner_id")
                .col("finished_at")
                .to_owned(),
        )
        .await?;
    Ok(())
}

async fn create_idempotency_key(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            Table::create()
                .table("idempotency_key")
                .col(uuid("owner_id"))
                .col(text("route"))
                .col(text("key"))
                .col(text("body_hash"))
                .col(text("answer"))
                .col(big_integer("expires_at"))
                .primary_key(Index::create().col("owner_id").col("route").col("key"))
                .to_owned(),
        )
        .await?;
    manager
        .create_index(
            Index::create()
                .name("idempotency_key_expiry")
                .table("idempotency_key")
                .col("expires_at")
                .to_owned(),
        )
        .await?;
    Ok(())
}

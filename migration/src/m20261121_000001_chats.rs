//! Chats, their messages, the requests that answer them, and the token ledger.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, pk_auto, text, text_null, uuid, uuid_null,
};
use sea_orm_migration::sea_orm::DbBackend;

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
        create_chat(manager).await?;
        create_chat_message(manager).await?;
        create_llm_request(manager).await?;
        create_llm_request_indexes(manager).await?;
        create_token_ledger(manager).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["token_ledger", "llm_request", "chat_message", "chat"] {
            manager
                .drop_table(Table::drop().table(table).to_owned())
                .await?;
        }
        Ok(())
    }
}

async fn create_chat(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            Table::create()
                .table("chat")
                .col(uuid("id").primary_key())
                .col(uuid("owner_id"))
                .col(text("title"))
                .col(text_null("agent"))
                .col(text_null("model"))
                .col(text("status"))
                .col(big_integer("next_sequence"))
                .col(big_integer("revision"))
                .col(big_integer("created_at"))
                .col(big_integer("updated_at"))
                .to_owned(),
        )
        .await?;
    manager
        .create_index(
            Index::create()
                .name("chat_by_owner_newest")
                .table("chat")
                .col("owner_id")
                .col("updated_at")
                .col("id")
                .to_owned(),
        )
        .await?;
    Ok(())
}

async fn create_chat_message(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            Table::create()
                .table("chat_message")
                .col(uuid("id").primary_key())
                .col(uuid("chat_id"))
                .col(big_integer("sequence"))
                .col(big_integer("revision"))
                .col(text("role"))
                .col(text("status"))
                .col(uuid_null("reply_to"))
                .col(uuid_null("request_id"))
                .col(text("content"))
                .col(big_integer("edition"))
                .col(text_null("error_code"))
                .col(text_null("error_message"))
                .col(big_integer("created_at"))
                .col(big_integer_null("completed_at"))
                .col(big_integer_null("deleted_at"))
                .foreign_key(
                    ForeignKey::create()
                        .from("chat_message", "chat_id")
                        .to("chat", "id")
                        .on_delete(ForeignKeyAction::Cascade),
                )
                .to_owned(),
        )
        .await?;
    manager
        .create_index(
            Index::create()
                .name("chat_message_by_sequence")
                .table("chat_message")
                .col("chat_id")
                .col("sequence")
                .unique()
                .to_owned(),
        )
        .await?;
    manager
        .create_index(
            Index::create()
                .name("chat_message_by_revision")
                .table("chat_message")
                .col("chat_id")
                .col("revision")
                .to_owned(),
        )
        .await?;
    Ok(())
}

async fn create_llm_request(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            Table::create()
                .table("llm_request")
                .col(uuid("id").primary_key())
                .col(uuid("chat_id"))
                .col(uuid("user_message_id"))
                .col(big_integer("sequence"))
                .col(uuid_null("assistant_message_id"))
                .col(text("status"))
                .col(big_integer("attempt"))
                .col(big_integer("edition"))
                .col(text_null("model"))
                .col(text_null("provider"))
                .col(text_null("lease_owner"))
                .col(big_integer_null("lease_expires_at"))
                .col(text_null("finish_reason"))
                .col(big_integer_null("input_tokens"))
                .col(big_integer_null("output_tokens"))
                .col(text_null("error_code"))
                .col(text_null("error_message"))
                .col(big_integer("created_at"))
                .col(big_integer_null("started_at"))
                .col(big_integer_null("first_token_at"))
                .col(big_integer_null("finished_at"))
                .foreign_key(
                    ForeignKey::create()
                        .from("llm_request", "chat_id")
                        .to("chat", "id")
                        .on_delete(ForeignKeyAction::Cascade),
                )
                .to_owned(),
        )
        .await?;
    Ok(())
}

async fn create_llm_request_indexes(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_index(
            Index::create()
                .name("llm_request_by_chat")
                .table("llm_request")
                .col("chat_id")
                .col("sequence")
                .to_owned(),
        )
        .await?;
    // One chat runs one request at a time, and the database is who says so.
    manager
        .create_index(
            Index::create()
                .name("llm_request_one_running_per_chat")
                .table("llm_request")
                .col("chat_id")
                .unique()
                .and_where(Expr::col("status").eq("running"))
                .to_owned(),
        )
        .await?;
    manager
        .create_index(
            Index::create()
                .name("llm_request_queue")
                .table("llm_request")
                .col("created_at")
                .col("id")
                .and_where(Expr::col("status").eq("queued"))
                .to_owned(),
        )
        .await?;
    manager
        .create_index(
            Index::create()
                .name("llm_request_queue_of_chat")
                .table("llm_request")
                .col("chat_id")
                .col("sequence")
                .and_where(Expr::col("status").eq("queued"))
                .to_owned(),
        )
        .await?;
    manager
        .create_index(
            Index::create()
                .name("llm_request_leases")
                .table("llm_request")
                .col("lease_expires_at")
                .and_where(Expr::col("status").eq("running"))
                .to_owned(),
        )
        .await?;
    Ok(())
}

async fn create_token_ledger(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            Table::create()
                .table("token_ledger")
                .col(pk_auto("id").big_integer())
                .col(uuid("request_id"))
                .col(big_integer("attempt"))
                .col(big_integer("start_offset"))
                .col(text("text"))
                .to_owned(),
        )
        .await?;
    // Other nodes of a PostgreSQL follow an answer through this table. A SQLite file has one
    // process, which reads its own memory instead, and an index would cost it every flush.
    if manager.get_database_backend() == DbBackend::Postgres {
        manager
            .create_index(
                Index::create()
                    .name("token_ledger_by_request")
                    .table("token_ledger")
                    .col("request_id")
                    .col("attempt")
                    .col("start_offset")
                    .to_owned(),
            )
            .await?;
    }
    Ok(())
}

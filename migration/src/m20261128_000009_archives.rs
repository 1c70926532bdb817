//! Archives of all of somebody's chats: the work on one, and what it came to, in pieces, so that every node has it.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, big_integer_null, blob, text, text_null, uuid};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("archive")
            .col(uuid("id").primary_key())
            .col(uuid("owner_id"))
            .col(text("status"))
            .col(big_integer("attempt"))
            .col(big_integer_null("lease_expires_at"))
            .col(big_integer("chats_done"))
            .col(big_integer("chats_total"))
            .col(big_integer("bytes"))
            .col(big_integer("pieces"))
            .col(text_null("error_code"))
            .col(big_integer("created_at"))
            .col(big_integer_null("finished_at"))
            .col(big_integer_null("expires_at"))
            .foreign_key(
                ForeignKey::create()
                    .from("archive", "owner_id")
                    .to("user", "id")
                    .on_delete(ForeignKeyAction::Cascade),
            )
            .to_owned();
        manager.create_table(table).await?;
        // One at a time for each owner, but for those that are on their way out.
        let one_each = Index::create()
            .name("archive_one_each")
            .table("archive")
            .col("owner_id")
            .unique()
            .and_where(Expr::col("status").ne("discarded"))
            .to_owned();
        manager.create_index(one_each).await?;
        let table = Table::create()
            .table("archive_piece")
            .col(uuid("archive_id"))
            .col(big_integer("number"))
            .col(blob("data"))
            .primary_key(Index::create().col("archive_id").col("number"))
            .foreign_key(
                ForeignKey::create()
                    .from("archive_piece", "archive_id")
                    .to("archive", "id")
                    .on_delete(ForeignKeyAction::Cascade),
            )
            .to_owned();
        manager.create_table(table).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["archive_piece", "archive"] {
            manager
                .drop_table(Table::drop().table(table).to_owned())
                .await?;
        }
        Ok(())
    }
}

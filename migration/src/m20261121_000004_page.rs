//! What the page needs: chats whose deletion can be taken back, and reactions to answers.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer_null, text_null};

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
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
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

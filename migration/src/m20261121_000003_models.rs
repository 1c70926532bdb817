//! What models with parameters, reasoning, agents, context windows and a response cache need.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, boolean, json_null, small_integer, text, text_null,
};

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
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
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

/// Columns that are never null have a default, for the rows that are there already.
fn columns() -> Vec<(&'static str, ColumnDef)> {
    vec![
        ("chat", json_null("parameters")),
        ("chat", text_null("summary")),
        ("chat", big_integer_null("summary_through")),
        ("chat_message", with_default(text("reasoning"), "")),
        ("chat_message", json_null("origin")),
        ("message_version", with_default(text("reasoning"), "")),
        ("message_version", json_null("origin")),
        ("llm_request", json_null("parameters")),
        ("llm_request", with_default(boolean("names_model"), false)),
        ("llm_request", with_default(text("cache_use"), "any")),
        ("token_ledger", with_default(small_integer("channel"), 0)),
        ("llm_attempt", text_null("cache")),
        ("llm_attempt", with_default(big_integer("saved_tokens"), 0)),
    ]
}

fn with_default(mut column: ColumnDef, value: impl Into<Expr>) -> ColumnDef {
    column.default(value);
    column
}

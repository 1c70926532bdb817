//! What programs of OpenAI's interface say beside a question: instructions for one answer, and what they are to be told again.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{json_null, text_null};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in [text_null("instructions"), json_null("asked_as")] {
            let alter = Table::alter()
                .table("llm_request")
                .add_column(column)
                .to_owned();
            manager.alter_table(alter).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in ["asked_as", "instructions"] {
            let alter = Table::alter()
                .table("llm_request")
                .drop_column(column)
                .to_owned();
            manager.alter_table(alter).await?;
        }
        Ok(())
    }
}

//! Fewer indexes where each change of a request writes a page of each.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub struct Migration;

/// Over the running requests, as is the index that lets a chat have one of them alone: a SQLite file has one
/// process, whose requests are all of those, and it reads them by that one.
const INDEXES: [(&str, &str); 2] = [
    ("llm_request_leases", "lease_expires_at"),
    ("llm_request_by_lease_owner", "lease_owner"),
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Sqlite {
            for (name, _) in INDEXES {
                manager
                    .drop_index(Index::drop().name(name).to_owned())
                    .await?;
            }
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Sqlite {
            for (name, column) in INDEXES {
                let index = Index::create()
                    .name(name)
                    .table("llm_request")
                    .col(column)
                    .and_where(Expr::col("status").eq("running"))
                    .to_owned();
                manager.create_index(index).await?;
            }
        }
        Ok(())
    }
}

//! The schema's history. A migration that has been released is frozen: it spells out its own
//! table and column names and never imports `entity`, which moves on.

pub use sea_orm_migration::prelude::*;

mod m20261121_000001_chats;
mod m20261121_000002_reliability;
mod m20261121_000003_models;
mod m20261121_000004_page;
mod m20261122_000005_access;
mod m20261127_000006_writes;
mod m20261128_000007_traces;
mod m20261128_000008_metadata;
mod m20261128_000009_archives;
mod m20261128_000010_openai;

pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261121_000001_chats::Migration),
            Box::new(m20261121_000002_reliability::Migration),
            Box::new(m20261121_000003_models::Migration),
            Box::new(m20261121_000004_page::Migration),
            Box::new(m20261122_000005_access::Migration),
            Box::new(m20261127_000006_writes::Migration),
            Box::new(m20261128_000007_traces::Migration),
            Box::new(m20261128_000008_metadata::Migration),
            Box::new(m20261128_000009_archives::Migration),
            Box::new(m20261128_000010_openai::Migration),
        ]
    }
}

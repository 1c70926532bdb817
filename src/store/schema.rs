//! How far a database's schema is, seen without changing it.

use std::collections::HashSet;

use migration::{Migrator, MigratorTrait as _};
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};

use super::StoreError;
use super::dialect::Dialect;

/// How a database's schema stands to this program's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schema {
    /// There is nothing in it.
    Empty,
    /// There is something in it, but nothing of ours.
    Foreign,
    /// So many migrations are still to come.
    Behind(usize),
    Current,
    /// It has migrations that this program does not know: the last of them.
    Newer(String),
}

/// Looks at which migrations have run.
pub(super) async fn schema_of(
    connection: &DatabaseConnection,
    dialect: Dialect,
) -> Result<Schema, StoreError> {
    let tables = names(connection, dialect.tables()).await?;
    if tables.is_empty() {
        return Ok(Schema::Empty);
    }
    if !tables.iter().any(|table| table == "seaql_migrations") {
        return Ok(Schema::Foreign);
    }
    let have_run = names(
        connection,
        "SELECT version FROM seaql_migrations ORDER BY version",
    )
    .await?;
    let known: Vec<String> = Migrator::migrations()
        .iter()
        .map(|migration| migration.name().to_owned())
        .collect();
    Ok(compared(&have_run, &known))
}

fn compared(have_run: &[String], known: &[String]) -> Schema {
    let ours: HashSet<&String> = known.iter().collect();
    let of_ours = have_run.iter().filter(|name| ours.contains(name)).count();
    if of_ours == 0 {
        return if have_run.is_empty() {
            Schema::Empty
        } else {
            Schema::Foreign
        };
    }
    match have_run.iter().rfind(|name| !ours.contains(name)) {
        Some(newest) => Schema::Newer(newest.clone()),
        None if of_ours == known.len() => Schema::Current,
        None => Schema::Behind(known.len() - of_ours),
    }
}

async fn names(connection: &DatabaseConnection, sql: &str) -> Result<Vec<String>, StoreError> {
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    let rows = connection.query_all_raw(statement).await?;
    let names = rows.iter().map(|row| row.try_get_by_index(0));
    Ok(names.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_ours_older_newer_or_another_s() {
        let names = |names: &[&str]| -> Vec<String> {
            names.iter().map(|name| (*name).to_owned()).collect()
        };
        let known = names(&["m1", "m2", "m3"]);
        let schema = |have_run: &[&str]| compared(&names(have_run), &known);
        assert_eq!(schema(&[]), Schema::Empty);
        assert_eq!(schema(&["m1"]), Schema::Behind(2));
        assert_eq!(schema(&["m1", "m2", "m3"]), Schema::Current);
        assert_eq!(
            schema(&["m1", "m2", "m3", "m4"]),
            Schema::Newer("m4".to_owned())
        );
        assert_eq!(schema(&["x1"]), Schema::Foreign);
    }
}

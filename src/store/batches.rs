//! Rows and ids for statements of which there are few: a driver remembers a statement by its text, and one
//! for each number of rows would be prepared anew each time.

use std::fmt::Write as _;

use sea_orm::{DbBackend, Statement, Value};

/// Rows in one statement, at most.
const MOST_ROWS: usize = 256;

/// Cuts rows into batches of 256, 128, … or one.
pub(super) fn batches<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let power = rows.len().checked_ilog2()?;
        let (batch, rest) = rows.split_at(MOST_ROWS.min(1 << power));
        rows = rest;
        Some(batch)
    })
}

/// The ids, the last of them repeated until their number is a power of two.
pub(super) fn padded<T: Copy>(ids: &[T]) -> impl Iterator<Item = T> {
    let most = ids.len().next_power_of_two();
    let last = ids.last().copied();
    ids.iter()
        .copied()
        .chain(last.into_iter().cycle())
        .take(if ids.is_empty() { 0 } else { most })
}

/// Rows that are bound to a statement as `(VALUES …)`, whose columns both databases call `column1`,
/// `column2` and so on.
#[derive(Default)]
pub(super) struct Rows {
    text: String,
    values: Vec<Value>,
}

impl Rows {
    /// The rows, the last of them repeated as ids are.
    pub fn of<T: Copy, const WIDTH: usize>(items: &[T], row: impl Fn(T) -> [Value; WIDTH]) -> Self {
        let mut rows = Self::default();
        for item in padded(items) {
            let open = if rows.text.is_empty() { "(" } else { ", (" };
            rows.text.push_str(open);
            for (place, value) in row(item).into_iter().enumerate() {
                rows.values.push(value);
                let comma = if place == 0 { "" } else { ", " };
                // Writing to a String cannot fail.
                let _ = write!(rows.text, "{comma}${}", rows.values.len());
            }
            rows.text.push(')');
        }
        rows
    }

    /// `INSERT` of these rows.
    pub fn insert(self, backend: DbBackend, table: &str, columns: &str) -> Statement {
        let sql = format!("INSERT INTO {table} ({columns}) VALUES {}", self.text);
        Statement::from_sql_and_values(backend, sql, self.values)
    }

    /// `UPDATE … FROM` these rows, which the statement calls `v`.
    pub fn update(self, backend: DbBackend, table: &str, set: &str, rest: &str) -> Statement {
        let sql = format!(
            "UPDATE {table} SET {set} FROM (VALUES {}) AS v WHERE {rest}",
            self.text
        );
        Statement::from_sql_and_values(backend, sql, self.values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_hold_all_rows_in_few_sizes() {
        let rows: Vec<u32> = (0..1_000).collect();
        let sizes: Vec<usize> = batches(&rows).map(<[u32]>::len).collect();
        assert_eq!(sizes, [256, 256, 256, 128, 64, 32, 8]);
        assert_eq!(batches(&rows).flatten().copied().collect::<Vec<_>>(), rows);
        assert_eq!(batches::<u32>(&[]).count(), 0);
    }

    #[test]
    fn ids_are_padded_to_a_power_of_two() {
        assert_eq!(padded(&[1, 2, 3]).collect::<Vec<_>>(), [1, 2, 3, 3]);
        assert_eq!(padded(&[1]).collect::<Vec<_>>(), [1]);
        assert_eq!(padded::<u32>(&[]).count(), 0);
    }
}

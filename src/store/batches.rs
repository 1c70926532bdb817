//! Rows and ids for statements of which there are few: a driver remembers a statement by its text, and one
//! for each number of rows would be prepared anew each time.

use sea_orm::{ConnectionTrait as _, Statement, Value};

use super::Tx;
use super::dialect::Dialect;

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
pub(super) struct Rows {
    width: usize,
    values: Vec<Value>,
}

impl Rows {
    /// The rows, the last of them repeated as ids are.
    pub fn of<T: Copy, const WIDTH: usize>(items: &[T], row: impl Fn(T) -> [Value; WIDTH]) -> Self {
        Self {
            width: WIDTH,
            values: padded(items).flat_map(row).collect(),
        }
    }

    /// `INSERT` of these rows.
    pub fn insert(self, tx: &Tx, table: &str, columns: &str) -> Statement {
        let rows = self.placeholders(tx.dialect);
        let sql = format!("INSERT INTO {table} ({columns}) VALUES {rows}");
        self.bound(tx, sql)
    }

    /// `UPDATE … FROM` these rows, which the statement calls `v`.
    pub fn update(self, tx: &Tx, table: &str, set: &str, rest: &str) -> Statement {
        let rows = self.placeholders(tx.dialect);
        let sql = format!("UPDATE {table} SET {set} FROM (VALUES {rows}) AS v WHERE {rest}");
        self.bound(tx, sql)
    }

    fn bound(self, tx: &Tx, sql: String) -> Statement {
        Statement::from_sql_and_values(tx.connection().get_database_backend(), sql, self.values)
    }

    /// `(?, ?), (?, ?)`
    fn placeholders(&self, dialect: Dialect) -> String {
        let mut text = String::with_capacity(self.values.len() * 4);
        for place in 0..self.values.len() {
            text.push_str(match place % self.width {
                0 if place == 0 => "(",
                0 => "), (",
                _ => ", ",
            });
            dialect.write_placeholder(place + 1, &mut text);
        }
        text.push(')');
        text
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
    fn values_are_bound_row_by_row() {
        let rows = Rows::of(&[1, 2, 3], |row: i64| [row.into(), (row * 10).into()]);
        for (url, placeholders) in [
            ("sqlite:x", "(?, ?), (?, ?), (?, ?), (?, ?)"),
            ("postgres://x", "($1, $2), ($3, $4), ($5, $6), ($7, $8)"),
        ] {
            let dialect = Dialect::of(url).unwrap();
            assert_eq!(rows.placeholders(dialect), placeholders);
        }
        assert_eq!(rows.values.len(), 8);
    }

    #[test]
    fn ids_are_padded_to_a_power_of_two() {
        assert_eq!(padded(&[1, 2, 3]).collect::<Vec<_>>(), [1, 2, 3, 3]);
        assert_eq!(padded(&[1]).collect::<Vec<_>>(), [1]);
        assert_eq!(padded::<u32>(&[]).count(), 0);
    }
}

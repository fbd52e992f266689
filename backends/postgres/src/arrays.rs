//! The operations of a batch as statements: rows of a table, as arrays of their keys and values.

use durum_core::engine::{Op, Table};
use durum_core::{Error, ErrorKind, Result};
use tokio_postgres::types::ToSql;

use crate::NAME;
use crate::schema::Verb;
use crate::writer::APPLY;

/// A statement's arrays have about so many bytes at most: a message of PostgreSQL's has less than 1 GiB.
const STATEMENT_BYTES_MAX: usize = 64 << 20;

/// What one statement does to rows of a table.
pub(crate) struct Arrays<'a> {
    pub(crate) table: Table,
    pub(crate) verb: Verb,
    /// Ascending, with `second`.
    pub(crate) first: Vec<i64>,
    /// As many as of `first`, all 0 where the keys are single numbers.
    pub(crate) second: Vec<i64>,
    pub(crate) values: Vec<&'a [u8]>,
}

impl Arrays<'_> {
    /// As a prepared statement takes them.
    pub(crate) fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&self.first];
        if self.table.is_pair() {
            parameters.push(&self.second);
        }
        if self.verb == Verb::Put {
            parameters.push(&self.values);
        }
        parameters
    }
}

/// The operations as arrays.
///
/// # Errors
/// `Usage` for a key that no row can have, `TooLarge` for a value that is too large.
pub(crate) fn arrays<'a>(ops: &[Op<'a>]) -> Result<Vec<Arrays<'a>>> {
    let mut all: Vec<Arrays<'a>> = Vec::new();
    // The places of the table's two statements in `all`, and the bytes of the one that stores rows.
    let mut table_begins = 0;
    let mut bytes = 0;
    for op in ops {
        let (table, key) = op.row();
        let (first, second) = durum_core::engine::sql::key_integers(key).ok_or_else(|| {
            Error::new(ErrorKind::Usage, APPLY)
                .with_engine(NAME)
                .because("a key is not below 2^63")
        })?;
        let (verb, value) = match *op {
            Op::Put { value, .. } => (Verb::Put, value),
            Op::Delete { .. } => (Verb::Delete, &[][..]),
        };
        if value.len() as u64 > crate::VALUE_BYTES_MAX {
            return Err(Error::new(ErrorKind::TooLarge, APPLY)
                .with_engine(NAME)
                .because(format!(
                    "a value has {} bytes, and {} is the most that is taken",
                    value.len(),
                    crate::VALUE_BYTES_MAX
                )));
        }
        if all.last().is_some_and(|last| last.table != table) {
            (table_begins, bytes) = (all.len(), 0);
        }
        let of_table = all.get_mut(table_begins..).unwrap_or_default();
        let fits = verb == Verb::Delete || bytes + value.len() <= STATEMENT_BYTES_MAX;
        let found = of_table.iter_mut().rfind(|arrays| arrays.verb == verb);
        let arrays = match found.filter(|_| fits) {
            Some(arrays) => arrays,
            None => {
                if verb == Verb::Put {
                    bytes = 0;
                }
                all.push(Arrays {
                    table,
                    verb,
                    first: Vec::new(),
                    second: Vec::new(),
                    values: Vec::new(),
                });
                match all.last_mut() {
                    Some(arrays) => arrays,
                    None => continue,
                }
            }
        };
        arrays.first.push(first);
        arrays.second.push(second);
        if verb == Verb::Put {
            bytes += value.len();
            arrays.values.push(value);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use durum_core::engine::Key;

    use super::*;

    #[test]
    fn operations_become_few_statements() {
        let large = vec![0; STATEMENT_BYTES_MAX - 10];
        let put = |table, number, value| Op::Put {
            table,
            key: Key::from(number),
            value,
        };
        let delete = |table, number| Op::Delete {
            table,
            key: Key::from(number),
        };
        let ops = [
            put(Table::Objects, 1, b"one".as_slice()),
            delete(Table::Objects, 2),
            put(Table::Objects, 3, &large),
            put(Table::Objects, 4, b"12345678"),
            delete(Table::Objects, 5),
            put(Table::Meta, 1, b"meta"),
        ];
        let found: Vec<_> = arrays(&ops)
            .unwrap()
            .into_iter()
            .map(|arrays| (arrays.table, arrays.verb, arrays.first, arrays.values.len()))
            .collect();
        let expected = [
            (Table::Objects, Verb::Put, vec![1, 3], 2),
            (Table::Objects, Verb::Delete, vec![2, 5], 0),
            (Table::Objects, Verb::Put, vec![4], 1),
            (Table::Meta, Verb::Put, vec![1], 1),
        ];
        assert_eq!(found, expected);
        assert!(arrays(&[put(Table::Objects, 1 << 63, b"")]).is_err());
    }
}

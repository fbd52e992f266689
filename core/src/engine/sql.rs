//! What engines have in common that keep the tables of a store as tables of SQL, with columns that a person
//! can read and signed integers for keys.

use super::{Key, Table};
use crate::error::{Error, Result};

/// Names of the columns of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns {
    /// The key's only number, or its first.
    pub first: &'static str,
    /// Its second, in a pair table.
    pub second: Option<&'static str>,
    /// The value.
    pub value: &'static str,
}

impl Columns {
    /// Those of `table`.
    pub fn of(table: Table) -> Columns {
        let (first, second, value) = match table {
            Table::Objects => ("oid", None, "record"),
            Table::Referrers => ("oid", None, "referrers"),
            Table::ReferrersMore => ("oid", Some("referrer"), "value"),
            Table::Orphans => ("oid", None, "cut_by"),
            Table::Irregular => ("oid", None, "value"),
            Table::Pins => ("session", Some("oid"), "value"),
            Table::Sessions => ("session", None, "state"),
            Table::Missing => ("oid", None, "value"),
            Table::Changes => ("tid", Some("part"), "oids"),
            Table::Recent => ("identity_hash", None, "tid"),
            Table::Condemned => ("job", Some("oid"), "value"),
            Table::Superseded => ("oid", Some("tid"), "record"),
            Table::Dictionaries => ("number", None, "dictionary"),
            Table::Meta => ("number", None, "value"),
        };
        Columns {
            first,
            second,
            value,
        }
    }
}

/// A key as signed integers; `None` for numbers from 2^63 on, which no row has.
pub fn key_integers(key: Key) -> Option<(i64, i64)> {
    Some((key.first.try_into().ok()?, key.second.try_into().ok()?))
}

/// The smallest key that a row can have and that is not below `key`.
pub fn key_integers_from(table: Table, key: Key) -> Option<(i64, i64)> {
    key_integers(key).or_else(|| {
        // The second number is too large: the next rows are those of the next first number.
        let first = i64::try_from(key.first).ok()?;
        table.is_pair().then_some((first.checked_add(1)?, 0))
    })
}

/// The key of a row that was read.
///
/// # Errors
/// `Damaged` where a number is negative.
pub fn key_of_integers(first: i64, second: i64) -> Result<Key> {
    match (u64::try_from(first), u64::try_from(second)) {
        (Ok(first), Ok(second)) => Ok(Key::pair(first, second)),
        _ => Err(Error::damaged("read a row", "a key is negative")),
    }
}

//! The tables as SQL, with columns that a person can read.

use std::sync::LazyLock;

use durum_core::engine::{Key, Table};
use durum_core::{Error, ErrorKind, Result};

use crate::NAME;

/// "Duru" in ASCII: tells a Durum store from other SQLite files.
pub(crate) const APPLICATION_ID: i64 = 0x4475_7275;

/// Statements for one table. Keys are bound as `?1` and, in pair tables, `?2`.
pub(crate) struct Statements {
    pub(crate) create: String,
    pub(crate) get: String,
    pub(crate) put: String,
    pub(crate) delete: String,
    /// Rows from a key on; the last parameter is their number.
    pub(crate) scan: String,
}

static STATEMENTS: LazyLock<[Statements; Table::ALL.len()]> =
    LazyLock::new(|| Table::ALL.map(statements));

/// The statements for `table`.
pub(crate) fn of(table: Table) -> Result<&'static Statements> {
    STATEMENTS.get(table.index()).ok_or_else(|| {
        Error::new(ErrorKind::Other, "find a table").because("it is not in the schema")
    })
}

/// Names of the key's columns and of the value's.
fn columns(table: Table) -> (&'static str, &'static str, &'static str) {
    match table {
        Table::Objects => ("oid", "", "record"),
        Table::Referrers => ("oid", "", "referrers"),
        Table::ReferrersMore => ("oid", "referrer", "value"),
        Table::Orphans => ("oid", "", "cut_by"),
        Table::Irregular => ("oid", "", "value"),
        Table::Pins => ("session", "oid", "value"),
        Table::Sessions => ("session", "", "state"),
        Table::Missing => ("oid", "", "value"),
        Table::Changes => ("tid", "part", "oids"),
        Table::Recent => ("identity_hash", "", "tid"),
        Table::Condemned => ("job", "oid", "value"),
        Table::Superseded => ("oid", "tid", "record"),
        Table::Dictionaries => ("number", "", "dictionary"),
        Table::Meta => ("number", "", "value"),
    }
}

fn statements(table: Table) -> Statements {
    let name = table.name();
    let (first, second, value) = columns(table);
    if !table.is_pair() {
        return Statements {
            create: format!(
                "CREATE TABLE {name} ({first} INTEGER PRIMARY KEY, {value} BLOB NOT NULL)"
            ),
            get: format!("SELECT {value} FROM {name} WHERE {first} = ?1"),
            put: format!("INSERT OR REPLACE INTO {name} ({first}, {value}) VALUES (?1, ?2)"),
            delete: format!("DELETE FROM {name} WHERE {first} = ?1"),
            scan: format!(
                "SELECT {value}, {first} FROM {name} WHERE {first} >= ?1 \
                 ORDER BY {first} LIMIT ?2"
            ),
        };
    }
    Statements {
        create: format!(
            "CREATE TABLE {name} ({first} INTEGER NOT NULL, {second} INTEGER NOT NULL, \
             {value} BLOB NOT NULL, PRIMARY KEY ({first}, {second})) WITHOUT ROWID"
        ),
        get: format!("SELECT {value} FROM {name} WHERE {first} = ?1 AND {second} = ?2"),
        put: format!(
            "INSERT OR REPLACE INTO {name} ({first}, {second}, {value}) VALUES (?1, ?2, ?3)"
        ),
        delete: format!("DELETE FROM {name} WHERE {first} = ?1 AND {second} = ?2"),
        scan: format!(
            "SELECT {value}, {first}, {second} FROM {name} WHERE ({first}, {second}) >= (?1, ?2) \
             ORDER BY {first}, {second} LIMIT ?3"
        ),
    }
}

/// A key as SQLite's signed integers; `None` for numbers from 2^63 on, which no row has.
pub(crate) fn integers(key: Key) -> Option<(i64, i64)> {
    Some((key.first.try_into().ok()?, key.second.try_into().ok()?))
}

/// The smallest key that a row can have and that is not below `key`.
pub(crate) fn integers_from(table: Table, key: Key) -> Option<(i64, i64)> {
    integers(key).or_else(|| {
        // The second number is too large: the next rows are those of the next first number.
        let first = i64::try_from(key.first).ok()?;
        table.is_pair().then_some((first.checked_add(1)?, 0))
    })
}

/// The key of a row that was read.
pub(crate) fn key(first: i64, second: i64) -> Result<Key> {
    match (u64::try_from(first), u64::try_from(second)) {
        (Ok(first), Ok(second)) => Ok(Key::pair(first, second)),
        _ => Err(Error::damaged("read a row", "a key is negative").with_engine(NAME)),
    }
}

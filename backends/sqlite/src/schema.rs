//! The tables as SQL, with columns that a person can read.

use std::sync::LazyLock;

use durum_core::engine::Table;
use durum_core::engine::sql::Columns;
use durum_core::{Error, ErrorKind, Result};

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

fn statements(table: Table) -> Statements {
    let name = table.name();
    let Columns {
        first,
        second,
        value,
    } = Columns::of(table);
    let Some(second) = second else {
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
    };
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

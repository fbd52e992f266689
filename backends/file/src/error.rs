//! Errors as this engine words them.

use durum_core::engine::{Key, Table};
use durum_core::{Error, ErrorKind, Oid};

/// Damage in the log: there is no second copy to mend it from.
pub(crate) fn log_damage(operation: &'static str, what: impl Into<String>) -> Error {
    Error::damaged(operation, what)
}

/// Damage in the index, which the log can replace.
pub(crate) fn index_damage(operation: &'static str, what: impl Into<String>) -> Error {
    Error::damaged(operation, what).hint(
        "The index can be rebuilt from the log: close the store, remove the `index` directory \
         beside `log`, and open it again.",
    )
}

/// An error in reading a row; of an object's record it names the object.
pub(crate) fn of_row(error: Error, table: Table, key: Key) -> Error {
    match table {
        Table::Objects => error.with_oid(Oid(key.first)),
        _ => error,
    }
}

/// The answer to writes after a failure that left the files uncertain.
pub(crate) fn poisoned(operation: &'static str) -> Error {
    Error::new(ErrorKind::Poisoned, operation)
        .because("an earlier write failed, and what is on the disk is uncertain")
        .hint("Close the store and open it again.")
}

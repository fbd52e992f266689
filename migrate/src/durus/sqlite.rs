//! What reading and writing Durus's SQLite databases share: the schema and the errors.
//!
//! `durus.sqlite_storage.SqliteStorage` keeps one row an object: the OID as an integer, the data, and
//! the references as OIDs of eight bytes, big-endian, one after the other. It sets no pragmas.

use durum_core::{Error, ErrorKind};
use rusqlite::ErrorCode;

/// The schema, to the letter of Durus.
pub(super) const SCHEMA: &str = "CREATE TABLE objects (
    id integer primary key,
    data blob,
    refs blob
    )";

/// Turns an error of SQLite into ours.
pub(super) fn convert(error: rusqlite::Error, operation: &'static str) -> Error {
    let kind = match &error {
        rusqlite::Error::SqliteFailure(failure, _) => kind(failure.code),
        rusqlite::Error::InvalidColumnType(..) => ErrorKind::Damaged,
        _ => ErrorKind::Other,
    };
    let reason = error.to_string();
    Error::new(kind, operation).because(reason).caused_by(error)
}

fn kind(code: ErrorCode) -> ErrorKind {
    match code {
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => ErrorKind::Damaged,
        ErrorCode::DiskFull => ErrorKind::Full,
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => ErrorKind::InUse,
        ErrorCode::ReadOnly => ErrorKind::ReadOnly,
        ErrorCode::TooBig => ErrorKind::TooLarge,
        ErrorCode::CannotOpen | ErrorCode::PermissionDenied => ErrorKind::Unreadable,
        ErrorCode::SystemIoFailure => ErrorKind::Io,
        _ => ErrorKind::Other,
    }
}

//! SQLite's errors as Durum's.

use durum_core::{Error, ErrorKind};
use rusqlite::ErrorCode;

use crate::NAME;

/// Turns an error of rusqlite into Durum's.
pub(crate) fn convert(error: rusqlite::Error, operation: &'static str) -> Error {
    let kind = match &error {
        rusqlite::Error::SqliteFailure(failure, _) => kind(failure.code),
        // A row of another shape than was written, or a table that is not there.
        rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::QueryReturnedNoRows => ErrorKind::Damaged,
        rusqlite::Error::SqlInputError { .. } => ErrorKind::Damaged,
        _ => ErrorKind::Other,
    };
    let reason = error.to_string();
    let converted = Error::new(kind, operation)
        .with_engine(NAME)
        .because(reason)
        .caused_by(error);
    match kind {
        ErrorKind::Damaged => converted.hint("Restore the store from a backup."),
        ErrorKind::InUse => converted.hint("Close the other program that uses the file."),
        _ => converted,
    }
}

/// Whether a page or a part of the log could not be read. Where the device says so SQLite reports damage
/// instead.
pub(crate) fn is_read_failure(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi::{SQLITE_IOERR_READ, SQLITE_IOERR_SHORT_READ};
    let code = error.sqlite_error().map(|failure| failure.extended_code);
    code.is_some_and(|code| [SQLITE_IOERR_READ, SQLITE_IOERR_SHORT_READ].contains(&code))
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

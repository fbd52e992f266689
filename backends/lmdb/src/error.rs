//! LMDB's errors as Durum's.

use durum_core::{Error, ErrorKind};
use heed::MdbError;

use crate::NAME;

/// Turns an error of heed into Durum's.
pub(crate) fn convert(error: heed::Error, operation: &'static str) -> Error {
    let error = match error {
        heed::Error::Io(error) => return Error::io(error, operation).with_engine(NAME),
        other => other,
    };
    let kind = match &error {
        heed::Error::EnvAlreadyOpened => ErrorKind::InUse,
        heed::Error::Mdb(error) => kind(error),
        _ => ErrorKind::Other,
    };
    let reason = error.to_string();
    let converted = Error::new(kind, operation)
        .with_engine(NAME)
        .because(reason)
        .caused_by(error);
    match kind {
        ErrorKind::Damaged => converted.hint("Restore the store from a backup."),
        ErrorKind::InUse => converted.hint("Close snapshots, or raise `max_readers`."),
        _ => converted,
    }
}

fn kind(error: &MdbError) -> ErrorKind {
    match error {
        MdbError::PageNotFound
        | MdbError::Corrupted
        | MdbError::Invalid
        | MdbError::CursorFull
        | MdbError::PageFull
        | MdbError::Incompatible
        | MdbError::NotFound => ErrorKind::Damaged,
        MdbError::VersionMismatch => ErrorKind::Unreadable,
        MdbError::MapFull => ErrorKind::NeedsRoom,
        MdbError::ReadersFull => ErrorKind::InUse,
        MdbError::TxnFull | MdbError::BadValSize => ErrorKind::TooLarge,
        MdbError::Panic => ErrorKind::Poisoned,
        _ => ErrorKind::Other,
    }
}

/// The error of an engine whose environment could not be opened again.
pub(crate) fn closed(operation: &'static str) -> Error {
    Error::new(ErrorKind::Poisoned, operation)
        .with_engine(NAME)
        .because("the environment was closed after an earlier failure")
        .hint("Open the store again.")
}

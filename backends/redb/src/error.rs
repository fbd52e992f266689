//! redb's errors, and its panics, as Durum's errors.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use durum_core::{Error, ErrorKind, Result};

use crate::NAME;

const DAMAGED_HINT: &str =
    "Restore the store from a backup, or migrate what `durum migrate` can still read.";
const REOPEN_HINT: &str = "Open the store again.";

/// Runs `work` of redb; its panics are damage.
///
/// What `work` borrows may be in any state after a panic, so the caller sees to it that it is not used
/// again: see [`crate::base::Base`].
pub(crate) fn guarded<T>(
    operation: &'static str,
    work: impl FnOnce() -> Result<T, redb::Error>,
) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| convert(error, operation)),
        Err(panic) => Err(Error::damaged(operation, message(panic.as_ref()))
            .with_engine(NAME)
            .hint(DAMAGED_HINT)),
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("redb panicked: {}", text.unwrap_or("it did not say why"))
}

/// Turns an error of redb into Durum's.
pub(crate) fn convert(error: redb::Error, operation: &'static str) -> Error {
    let kind = kind(&error);
    let reason = error.to_string();
    let converted = Error::new(kind, operation)
        .with_engine(NAME)
        .because(reason);
    let converted = match error {
        redb::Error::Io(error) => converted.caused_by(error),
        other => converted.caused_by(other),
    };
    match kind {
        ErrorKind::Damaged => converted.hint(DAMAGED_HINT),
        ErrorKind::InUse => converted.hint("Close the other program that uses the file."),
        ErrorKind::Poisoned => converted.hint(REOPEN_HINT),
        ErrorKind::Unreadable => converted.hint(
            "See to it that the file can be read and written, and that it is of this version.",
        ),
        _ => converted,
    }
}

/// An earlier failure of reading or writing, as the reason why redb goes on no more.
pub(crate) fn earlier_failure(earlier: io::Error, operation: &'static str) -> Error {
    Error::new(ErrorKind::Poisoned, operation)
        .with_engine(NAME)
        .because(format!("the file could not be read or written: {earlier}"))
        .hint(REOPEN_HINT)
        .caused_by(earlier)
}

/// The error after a failed write or damage, until the store is opened again.
pub(crate) fn poisoned(operation: &'static str, reason: &'static str) -> Error {
    Error::new(ErrorKind::Poisoned, operation)
        .with_engine(NAME)
        .because(reason)
        .hint(REOPEN_HINT)
}

fn kind(error: &redb::Error) -> ErrorKind {
    use redb::Error as E;
    use std::io::ErrorKind as Io;
    match error {
        // A file that is cut, or that redb did not write.
        E::Io(error) if matches!(error.kind(), Io::UnexpectedEof | Io::InvalidData) => {
            ErrorKind::Damaged
        }
        E::Io(error) if error.kind() == Io::PermissionDenied => ErrorKind::Unreadable,
        // On a full disk, too: what of the commit was written then is uncertain.
        E::Io(_) | E::Backend(_) | E::Unsupported => ErrorKind::Io,
        E::DatabaseAlreadyOpen | E::LockProtocolMismatch => ErrorKind::InUse,
        E::UpgradeRequired(_) => ErrorKind::Unreadable,
        E::ValueTooLarge(_) => ErrorKind::TooLarge,
        // Tables are made with the file, and never changed.
        E::Corrupted(_)
        | E::RepairAborted
        | E::TableTypeMismatch { .. }
        | E::TypeDefinitionChanged { .. }
        | E::TableIsMultimap(_)
        | E::TableDoesNotExist(_) => ErrorKind::Damaged,
        E::PreviousIo | E::DatabaseClosed | E::LockPoisoned(_) | E::TransactionPoisoned => {
            ErrorKind::Poisoned
        }
        _ => ErrorKind::Other,
    }
}

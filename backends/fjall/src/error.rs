//! fjall's errors, and its panics, as Durum's errors.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use durum_core::{Error, ErrorKind, Result};
use fjall::LsmError;

use crate::NAME;

const DAMAGED_HINT: &str =
    "Restore the store from a backup, or migrate what `durum migrate` can still read.";
const REOPEN_HINT: &str = "Open the store again.";

/// Runs `work` of fjall on the database in `dir`; its panics are damage.
///
/// What `work` borrows may be in any state after a panic, so the caller sees to it that it is not used
/// again: see [`crate::database::Db`].
pub(crate) fn guarded<T>(
    dir: &Path,
    operation: &'static str,
    work: impl FnOnce() -> fjall::Result<T>,
) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| convert(error, operation).with_path(dir)),
        Err(panic) => Err(damaged(operation, message(panic.as_ref())).with_path(dir)),
    }
}

/// Damage, with what to do about it.
pub(crate) fn damaged(operation: &'static str, what: impl Into<String>) -> Error {
    Error::damaged(operation, what)
        .with_engine(NAME)
        .hint(DAMAGED_HINT)
}

/// The error after a failed write or damage, until the store is opened again.
pub(crate) fn poisoned(operation: &'static str, reason: &'static str) -> Error {
    Error::new(ErrorKind::Poisoned, operation)
        .with_engine(NAME)
        .because(reason)
        .hint(REOPEN_HINT)
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("fjall panicked: {}", text.unwrap_or("it did not say why"))
}

fn convert(error: fjall::Error, operation: &'static str) -> Error {
    use fjall::Error as E;
    match error {
        E::Io(error) | E::Storage(LsmError::Io(error)) => of_io(error, operation),
        E::Poisoned => poisoned(operation, "a write failed, or one of fjall's threads"),
        E::Locked => Error::new(ErrorKind::InUse, operation)
            .with_engine(NAME)
            .because("another process has the database open")
            .hint("Close the other program that uses it."),
        E::InvalidVersion(Some(version)) => Error::new(ErrorKind::Unreadable, operation)
            .with_engine(NAME)
            .because(format!("the database is of format {version:?}"))
            .hint("Use the version of Durum that wrote it."),
        other => damaged(operation, other.to_string()).caused_by(other),
    }
}

fn of_io(error: std::io::Error, operation: &'static str) -> Error {
    use std::io::ErrorKind as Io;
    let kind = match error.kind() {
        // `InvalidInput`: it looks for the end of a file that has none.
        Io::UnexpectedEof | Io::InvalidData | Io::InvalidInput | Io::NotFound => ErrorKind::Damaged,
        Io::PermissionDenied => ErrorKind::Unreadable,
        // A full disk too: what of the batch was written then is uncertain.
        _ => ErrorKind::Io,
    };
    let reason = error.to_string();
    let converted = Error::new(kind, operation)
        .with_engine(NAME)
        .because(reason)
        .caused_by(error);
    match kind {
        ErrorKind::Damaged => converted.hint(DAMAGED_HINT),
        ErrorKind::Unreadable => {
            converted.hint("See to it that the files can be read and written.")
        }
        _ => converted.hint(REOPEN_HINT),
    }
}

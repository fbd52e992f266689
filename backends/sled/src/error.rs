//! sled's errors, and its panics, as Durum's errors.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use durum_core::{Error, ErrorKind, Result};

use crate::NAME;

const HINT: &str =
    "Restore the store from a backup, or migrate what `durum migrate` can still read.";

/// Runs `work` of sled on the database in `dir`; its panics are damage.
///
/// What `work` borrows may be in any state after a panic, so the caller sees to it that it is not
/// used again: see [`crate::tree::Tree`].
pub(crate) fn guarded<T>(
    dir: &Path,
    operation: &'static str,
    work: impl FnOnce() -> sled::Result<T>,
) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| convert(error, operation).with_path(dir)),
        Err(panic) => Err(Error::damaged(operation, message(panic.as_ref()))
            .with_engine(NAME)
            .with_path(dir)
            .hint(HINT)),
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("sled panicked: {}", text.unwrap_or("it did not say why"))
}

fn convert(error: sled::Error, operation: &'static str) -> Error {
    use std::io::ErrorKind as Io;
    let kind = match &error {
        sled::Error::Io(error) => match error.kind() {
            // sled reports a lock that another process holds as `Other`.
            Io::Other if error.to_string().contains("lock") => ErrorKind::InUse,
            Io::UnexpectedEof | Io::InvalidData | Io::NotFound | Io::Other => ErrorKind::Damaged,
            Io::PermissionDenied => ErrorKind::Unreadable,
            // A full disk too: what of the batch was written then is uncertain.
            _ => ErrorKind::Io,
        },
        _ => ErrorKind::Damaged,
    };
    let converted = Error::new(kind, operation)
        .with_engine(NAME)
        .because(error.to_string());
    let converted = match error {
        sled::Error::Io(error) => converted.caused_by(error),
        other => converted.caused_by(other),
    };
    if kind == ErrorKind::Damaged {
        return converted.hint(HINT);
    }
    converted
}

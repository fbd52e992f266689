//! RocksDB's errors as Durum's errors.

use std::io;
use std::path::Path;

use durum_core::{Error, ErrorKind};

use crate::NAME;

const DAMAGED_HINT: &str =
    "Restore the store from a backup, or migrate what `durum migrate` can still read.";
const REOPEN_HINT: &str = "Open the store again.";

/// Damage, with what to do about it.
pub(crate) fn damaged(operation: &'static str, what: impl Into<String>) -> Error {
    Error::damaged(operation, what)
        .with_engine(NAME)
        .hint(DAMAGED_HINT)
}

/// The error after a failed write, until the store is opened again.
pub(crate) fn poisoned(operation: &'static str) -> Error {
    Error::new(ErrorKind::Poisoned, operation)
        .with_engine(NAME)
        .because("an earlier write failed")
        .hint(REOPEN_HINT)
}

/// An error of RocksDB on the database in `dir`.
pub(crate) fn convert(error: rocksdb::Error, operation: &'static str, dir: &Path) -> Error {
    let (kind, cause) = classify(&error);
    let converted = Error::new(kind, operation)
        .with_engine(NAME)
        .with_path(dir)
        .because(error.to_string());
    let converted = match cause {
        Some(cause) => converted.caused_by(io::Error::from(cause)),
        None => converted.caused_by(error),
    };
    match kind {
        ErrorKind::Damaged => converted.hint(DAMAGED_HINT),
        ErrorKind::InUse => converted.hint("Close the other program that uses it."),
        ErrorKind::Unreadable => {
            converted.hint("See to it that the files can be read and written.")
        }
        _ => converted.hint(REOPEN_HINT),
    }
}

/// The kind of an error, and of that of the system beneath it. RocksDB tells these by their text alone, which is
/// that of `strerror`.
fn classify(error: &rocksdb::Error) -> (ErrorKind, Option<io::ErrorKind>) {
    use rocksdb::ErrorKind as E;
    let says = |part: &str| error.as_ref().contains(part);
    let of_system = || {
        if says("No space left on device") {
            (ErrorKind::Full, Some(io::ErrorKind::StorageFull))
        } else if says("Disk quota exceeded") {
            (ErrorKind::Full, Some(io::ErrorKind::QuotaExceeded))
        } else if says("lock hold by current process") || says("While lock file") {
            (ErrorKind::InUse, Some(io::ErrorKind::WouldBlock))
        } else if says("Permission denied") {
            (ErrorKind::Unreadable, Some(io::ErrorKind::PermissionDenied))
        } else if says("Read-only file system") {
            (ErrorKind::ReadOnly, Some(io::ErrorKind::ReadOnlyFilesystem))
        } else if says("No such file or directory") {
            // What it looks for it has written.
            (ErrorKind::Damaged, Some(io::ErrorKind::NotFound))
        } else {
            (ErrorKind::Io, None)
        }
    };
    match error.kind() {
        E::Corruption => (ErrorKind::Damaged, None),
        E::IOError => of_system(),
        // A newer format, or options that do not fit the files.
        E::NotSupported | E::InvalidArgument => (ErrorKind::Unreadable, None),
        _ => (ErrorKind::Other, None),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use rocksdb::{DB, Options};

    use super::*;

    #[test]
    fn a_lock_is_not_damage() {
        let home = tempfile::tempdir().unwrap();
        let mut options = Options::default();
        options.create_if_missing(true);
        let held = DB::open(&options, home.path()).unwrap();
        let error = DB::open(&options, home.path()).unwrap_err();
        let converted = convert(error, "open the database", home.path());
        assert_eq!(converted.kind(), ErrorKind::InUse, "{converted}");
        drop(held);
    }

    #[test]
    fn a_missing_file_is_damage() {
        let home = tempfile::tempdir().unwrap();
        let mut options = Options::default();
        options.create_if_missing(true);
        drop(DB::open(&options, home.path()).unwrap());
        for entry in std::fs::read_dir(home.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.to_string_lossy().contains("MANIFEST") {
                std::fs::remove_file(path).unwrap();
            }
        }
        let error = DB::open(&options, home.path()).unwrap_err();
        let converted = convert(error, "open the database", home.path());
        assert_eq!(converted.kind(), ErrorKind::Damaged, "{converted}");
    }
}

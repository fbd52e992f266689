//! Room on the disk of a destination.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use durum_core::config::Location;
use durum_core::{Error, ErrorKind};

/// As much as engines ask for at once when they grow a small file.
const PROBE_BYTES: usize = 64 << 10;

/// The directory in which the destination would lie, where it is on this machine.
pub(crate) fn directory(destination: &Location) -> Option<PathBuf> {
    let path = match destination {
        Location::Store(settings) => &settings.path,
        Location::DurusFile { path, .. } | Location::ZodbFile { path } => path,
        Location::Server(_) => return None,
    };
    let path = std::path::absolute(path).ok()?;
    path.parent().map(Path::to_path_buf)
}

/// Bytes that are free there, where the system says.
pub(crate) fn free_bytes(directory: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(directory).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Where the disk is full, however the engine words that, it is said what to do.
///
/// Engines tell a full disk only where a write fails for it. Where a sync, a mapping or a truncation does,
/// or a later write that finds the store closed after that, they say no more than that it failed.
pub(crate) fn tell_of_room(error: Error, destination: &Location) -> Error {
    use std::error::Error as _;
    let cause = error.source().and_then(|cause| cause.downcast_ref());
    let full = match error.kind() {
        ErrorKind::Full => true,
        ErrorKind::Io | ErrorKind::Poisoned | ErrorKind::Unreadable => {
            cause.is_some_and(says_full)
                || directory(destination).is_some_and(|path| is_full(&path))
        }
        _ => cause.is_some_and(says_full),
    };
    match full {
        true => error
            .with_kind(ErrorKind::Full)
            .hint_also("Make room first."),
        false => error,
    }
}

fn says_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// Whether a small file finds no room.
fn is_full(directory: &Path) -> bool {
    let tried = tempfile::tempfile_in(directory).and_then(|mut file| {
        file.write_all(&[0; PROBE_BYTES])?;
        file.sync_all()
    });
    tried.is_err_and(|error| says_full(&error))
}

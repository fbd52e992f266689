//! The lock that keeps a store open in one process at a time, and once within it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};

const FILE: &str = "lock";

/// Holds the lock until the last clone is dropped. The system releases it when the process ends, however it
/// ends.
#[derive(Clone, Debug)]
pub(super) struct Lock {
    _held: Arc<Held>,
}

#[derive(Debug)]
struct Held(File);

impl Drop for Held {
    /// Closing the file is not enough: a child process that another thread is starting has it open too, and
    /// so holds the lock, until its program is loaded.
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::debug!(%error, "could not unlock a store; closing its file does it");
        }
    }
}

impl Lock {
    /// Takes the lock of the place at `path`.
    ///
    /// The standard library's lock is `flock` on Unix, which belongs to the open file and not to the
    /// process, so that a second opening within the process is refused too.
    pub(super) fn take(path: &Path) -> Result<Lock> {
        const DOING: &str = "lock the store";
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join(FILE))
            .map_err(|error| {
                let denied = Error::io(error, DOING).with_path(path);
                match denied.kind() {
                    ErrorKind::ReadOnly | ErrorKind::Unreadable => denied
                        .with_kind(ErrorKind::ReadOnly)
                        .hint("Opening a store needs the right to write there."),
                    _ => denied,
                }
            })?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                return Err(in_use(path, holder.trim()));
            }
            Err(TryLockError::Error(error)) => {
                return Err(Error::io(error, DOING).with_path(path));
            }
        }
        // The name is a help for people; a full disk must not keep a store from being opened.
        let named = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "process {} ({})", std::process::id(), program_name()));
        if let Err(error) = named {
            tracing::debug!(%error, "could not write the holder's name into the lock file");
        }
        let held = Arc::new(Held(file));
        Ok(Lock { _held: held })
    }
}

fn in_use(path: &Path, holder: &str) -> Error {
    let holder = if holder.is_empty() {
        "another process"
    } else {
        holder
    };
    Error::new(ErrorKind::InUse, "open the store")
        .with_path(path)
        .because(format!("{holder} has it open"))
        .hint("Wait until it is closed, or reach it through that process's server.")
}

fn program_name() -> String {
    let program = std::env::current_exe().ok();
    let name = program.as_ref().and_then(|path| path.file_name());
    name.map_or_else(
        || "unknown".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

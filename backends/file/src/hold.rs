//! Keeping a directory from being opened twice within the process.
//!
//! The store's lock keeps other processes out. A snapshot, though, may outlive its engine; were the
//! directory opened again meanwhile, the new engine would not know which index pages the snapshot
//! still maps, and write them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use durum_core::{Error, ErrorKind, IoResultExt, Result};

/// Held by an engine and all its snapshots.
#[derive(Debug)]
pub(crate) struct Hold(());

static HELD: Mutex<Vec<(PathBuf, Weak<Hold>)>> = Mutex::new(Vec::new());

impl Hold {
    /// Takes hold of `dir`.
    ///
    /// # Errors
    /// `InUse` while an engine or a snapshot of an earlier one has it.
    pub(crate) fn take(dir: &Path) -> Result<Arc<Hold>> {
        let path = dir.canonicalize().during("open the flat file", dir)?;
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|(_, hold)| hold.strong_count() > 0);
        if held.iter().any(|(other, _)| *other == path) {
            return Err(Error::new(ErrorKind::InUse, "open the flat file")
                .because("it is open in this process, or a snapshot of it is")
                .with_path(dir));
        }
        let hold = Arc::new(Hold(()));
        held.push((path, Arc::downgrade(&hold)));
        Ok(hold)
    }
}

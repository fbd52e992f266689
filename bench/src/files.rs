//! The files of what is measured.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use durum_core::{Error, IoResultExt as _, Result};
use rustix::fs::{Advice, fadvise};
use tempfile::TempDir;

use crate::DOING;

/// A directory below `dir` for what is measured, which is removed afterwards.
pub(crate) fn scratch(dir: &Path, doing: &'static str) -> Result<TempDir> {
    let made = tempfile::Builder::new()
        .prefix(".durum-bench-")
        .tempdir_in(dir);
    made.during(doing, dir)
}

/// What a directory takes on the disk.
pub(crate) fn disk_bytes(dir: &Path) -> Result<u64> {
    /// Of these the system counts a file's length on the disk.
    const BLOCK_BYTES: u64 = 512;
    let mut bytes = 0;
    for path in files(dir)? {
        let metadata = fs::symlink_metadata(&path).during(DOING, &path)?;
        bytes += metadata.blocks() * BLOCK_BYTES;
    }
    Ok(bytes)
}

/// Asks the system to forget what it keeps of the files in memory, which nobody may have mapped.
pub(crate) fn forget(dir: &Path) -> Result<()> {
    for path in files(dir)? {
        let file = File::open(&path).during(DOING, &path)?;
        // It keeps what the disk does not have yet.
        file.sync_all().during(DOING, &path)?;
        fadvise(&file, 0, None, Advice::DontNeed)
            .map_err(|error| Error::io(error.into(), DOING).with_path(&path))?;
    }
    Ok(())
}

/// Removes a directory, if it is there.
pub(crate) fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed.during(DOING, dir),
    }
}

/// All files in a directory and those below it.
fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).during(DOING, dir)? {
        let path = entry.during(DOING, dir)?.path();
        if fs::symlink_metadata(&path).during(DOING, &path)?.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    Ok(found)
}

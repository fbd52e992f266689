//! Sizes. fjall's threads merge deleted rows away when they see fit; [`crate::compact`] does it at once.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use durum_core::engine::{EngineStats, Reclaimed};
use durum_core::{Error, IoResultExt as _, Result};

/// Bytes of one of the blocks that the system counts, whatever the file system's block size.
const BLOCK_BYTES: u64 = 512;

/// Blocks of all files. How many of them hold nothing of use fjall does not say.
pub(crate) fn stats(dir: &Path) -> Result<EngineStats> {
    Ok(EngineStats {
        disk_bytes: disk_bytes(dir)?,
        reclaimable_bytes: 0,
    })
}

/// Bytes that all files below `dir` occupy.
pub(crate) fn disk_bytes(dir: &Path) -> Result<u64> {
    Ok(blocks(dir)? * BLOCK_BYTES)
}

fn blocks(dir: &Path) -> Result<u64> {
    const MEASURE: &str = "measure the database";
    let mut sum = 0;
    let entries = match std::fs::read_dir(dir) {
        // A compaction removes directories.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        entries => entries.during(MEASURE, dir)?,
    };
    for entry in entries {
        let entry = entry.during(MEASURE, dir)?;
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => sum += blocks(&entry.path())?,
            Ok(metadata) => sum += metadata.blocks(),
            // fjall removes files while they are being listed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io(error, MEASURE).with_path(entry.path())),
        }
    }
    Ok(sum)
}

/// Gives nothing back.
pub(crate) fn reclaim() -> Reclaimed {
    Reclaimed::default()
}

//! What files take on the disk.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::error::{Error, IoResultExt as _, Result};

/// Bytes of one of the blocks that the system counts, whatever the file system's block size.
const BLOCK_BYTES: u64 = 512;

/// Bytes that all files below the directory `dir` of an engine occupy on the disk. What is removed while it
/// is being listed does not count.
///
/// # Errors
/// Those of the disk.
pub fn disk_bytes_below(dir: &Path) -> Result<u64> {
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
            // Engines remove files while they are being listed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io(error, MEASURE).with_path(entry.path())),
        }
    }
    Ok(sum)
}

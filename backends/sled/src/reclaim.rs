//! Sizes. sled moves pages out of sparse segments by itself; there is nothing to ask it for.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use durum_core::engine::{EngineStats, Reclaimed};
use durum_core::{Error, IoResultExt as _, Result};

/// Bytes of one of the blocks that the system counts, whatever the file system's block size.
const BLOCK_BYTES: u64 = 512;

/// Blocks of all files. How many of them hold nothing sled does not say.
pub(crate) fn stats(dir: &Path) -> Result<EngineStats> {
    Ok(EngineStats {
        disk_bytes: blocks(dir)? * BLOCK_BYTES,
        reclaimable_bytes: 0,
    })
}

fn blocks(dir: &Path) -> Result<u64> {
    const MEASURE: &str = "measure the database";
    let mut sum = 0;
    for entry in std::fs::read_dir(dir).during(MEASURE, dir)? {
        let entry = entry.during(MEASURE, dir)?;
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => sum += blocks(&entry.path())?,
            Ok(metadata) => sum += metadata.blocks(),
            // sled removes files while they are being listed.
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

//! Sizes. redb gives back nothing in small steps; [`crate::compact`] does, and closing cuts the file.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use durum_core::engine::{EngineStats, Reclaimed};
use durum_core::{IoResultExt as _, Result};

/// Bytes of one of the blocks that the system counts, whatever the file system's block size.
const BLOCK_BYTES: u64 = 512;

/// Blocks of the file. How many of its pages are free redb says only after walking through all tables.
pub(crate) fn stats(path: &Path) -> Result<EngineStats> {
    let file = std::fs::metadata(path).during("measure the database", path)?;
    Ok(EngineStats {
        disk_bytes: file.blocks() * BLOCK_BYTES,
        reclaimable_bytes: 0,
    })
}

/// Gives nothing back.
pub(crate) fn reclaim() -> Reclaimed {
    Reclaimed::default()
}

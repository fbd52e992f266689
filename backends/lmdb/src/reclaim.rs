//! Sizes, and what can be done about them: LMDB uses freed pages again and never gives them back.

use std::os::unix::fs::MetadataExt as _;

use durum_core::engine::{EngineStats, Reclaimed};
use durum_core::{IoResultExt as _, Result};

use crate::engine::LmdbEngine;
use crate::environment::FILE;
use crate::error::convert;

/// Bytes of one of the blocks that the system counts, whatever the file system's block size.
const BLOCK_BYTES: u64 = 512;

/// Blocks of the data file, and the bytes of its pages that hold neither rows nor ways to them.
pub(crate) fn stats(engine: &LmdbEngine) -> Result<EngineStats> {
    let path = engine.dir.join(FILE);
    let blocks = std::fs::metadata(&path)
        .during("measure the database", &path)?
        .blocks();
    let disk_bytes = blocks * BLOCK_BYTES;
    // The map must not be changed while pages are counted.
    let inside = engine.gate.enter();
    let pages = inside.environment("measure the database")?.pages()?;
    let free = pages.all.saturating_sub(pages.used) * pages.bytes_each;
    Ok(EngineStats {
        disk_bytes,
        reclaimable_bytes: free.min(disk_bytes),
    })
}

/// Gives nothing back, but frees the reader slots of processes that ended without closing theirs:
/// these would keep freed pages from being used again.
pub(crate) fn reclaim(engine: &LmdbEngine) -> Result<Reclaimed> {
    let _writer = engine.write();
    let inside = engine.gate.enter();
    let environment = inside.environment("clear stale readers")?;
    environment
        .env
        .clear_stale_readers()
        .map_err(|error| convert(error, "clear stale readers"))?;
    Ok(Reclaimed::default())
}

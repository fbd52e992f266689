//! Sizes. fjall's threads merge deleted rows away when they see fit; [`crate::compact`] does it at once.

use std::path::Path;

use durum_core::Result;
use durum_core::engine::{EngineStats, Reclaimed, disk_bytes_below};

/// Blocks of all files. How many of them hold nothing of use fjall does not say.
pub(crate) fn stats(dir: &Path) -> Result<EngineStats> {
    Ok(EngineStats {
        disk_bytes: disk_bytes_below(dir)?,
        reclaimable_bytes: 0,
    })
}

/// Gives nothing back.
pub(crate) fn reclaim() -> Reclaimed {
    Reclaimed::default()
}

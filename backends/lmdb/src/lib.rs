//! Durum's LMDB backend: the default engine.
//!
//! Each table is an LMDB database whose keys are big-endian numbers. Snapshots are LMDB's own read
//! transactions: they cost no copy, and values are lent straight from the memory map. The map is
//! never writable (no `WRITEMAP`), so that a stray pointer cannot damage the file.
//!
//! # Durability
//! `power` is LMDB's ordinary commit: the data is synced, then the meta page is. For the weaker
//! levels the option `unsynced` decides:
//! - `ordered` (the default) syncs the data and leaves the meta page to the system (`NOMETASYNC`). A
//!   loss of power costs the last such commit and nothing else.
//! - `fast` syncs nothing (`NOSYNC`). It is many times faster, and **a loss of power can then damage
//!   the whole store**, commits that were acknowledged with `power` before included: the system writes
//!   pages in any order, so that a meta page may reach the disk before the pages it points to, and
//!   LMDB has no checksums to notice. The end of the process alone (`kill -9`) does no harm.
//!
//! # Size
//! The map has a size, `map_size`, which costs address space only. When it is full the store lets it
//! grow to at least the double, without its users noticing. The file never shrinks by itself: freed
//! pages are used again ([`EngineStats::reclaimable_bytes`](durum_core::engine::EngineStats) counts
//! them), and compaction rewrites the file without them.

// `unsafe` stands where heed asks for a promise that only its caller can give: see each block.
#![deny(unsafe_op_in_unsafe_fn)]

mod compact;
mod config;
mod cursor;
mod engine;
mod environment;
mod error;
mod reclaim;
mod snapshot;

use std::path::Path;

use durum_core::Result;
use durum_core::engine::{Backend, Capabilities, Durability, Engine, OptionSpec, Options};

/// The name of the engine and the scheme of its URLs.
pub const NAME: &str = "lmdb";

/// Makes LMDB available as an engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct LmdbBackend;

impl Backend for LmdbBackend {
    fn capabilities(&self) -> Capabilities {
        let version = heed::lmdb_version();
        Capabilities {
            name: NAME,
            version: format!("LMDB {}.{}.{}", version.major, version.minor, version.patch),
            snapshots: true,
            durability: Durability::ALL.to_vec(),
            compaction: true,
            reclaim: false,
            persistent: true,
            value_bytes_max: config::VALUE_BYTES_MAX,
        }
    }

    fn options(&self) -> &'static [OptionSpec] {
        config::OPTIONS
    }

    fn open(&self, dir: &Path, options: &Options) -> Result<Box<dyn Engine>> {
        let config = config::Config::new(options)?;
        Ok(Box::new(engine::LmdbEngine::open(dir, config)?))
    }
}

//! Durum's redb backend: one file, `objects.redb`, a copy-on-write B+tree in Rust alone.
//!
//! Each table is a table of redb whose keys are big-endian numbers of fixed width. Snapshots are redb's
//! own read transactions.
//!
//! # Durability
//! redb knows two sorts of commits: one that is on the device, by a single sync, and one that is in the
//! process's memory only.
//! - `power` is the first.
//! - `process` is the first as well: there is nothing between the two that a killed process would leave
//!   behind. It costs what `power` costs.
//! - `relaxed` is the second. Such commits get to the device with the next one of the other sort, at the
//!   latest when they come to some 32 MiB, or when the store is closed.
//!
//! # After a crash
//! A commit does not write down which pages are free. Where a store was not closed, opening it reads the
//! whole file, verifies the checksum of every page and finds the free ones. That takes time in
//! proportion to the store, and memory for a bit a page. With the option `quick_repair` each commit
//! writes it down: the store then opens at once, and commits take two syncs instead of one.
//!
//! # Space
//! Freed pages are used again, and the file's end is cut off when the store is closed. A value lies in
//! pages that are together a power of two long, so that one of a little more than 64 MiB takes 128.
//! Compaction copies all rows into a new file, which then takes the old one's name.
//!
//! # Failures
//! After a failed read or write redb refuses everything until the database is opened again; a full disk
//! is no exception. redb checks its pages' checksums only after a crash; those of the records are the
//! store's. Damage may make it panic: that becomes an error that names the file.

#![forbid(unsafe_code)]

mod base;
mod compact;
mod config;
mod cursor;
mod engine;
mod error;
mod file;
mod reclaim;
mod snapshot;
mod write;

use std::path::Path;

use durum_core::Result;
use durum_core::engine::{Backend, Capabilities, Durability, Engine, OptionSpec, Options};

/// The name of the engine and the scheme of its URLs.
pub const NAME: &str = "redb";

/// Makes redb available as an engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RedbBackend;

impl Backend for RedbBackend {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: NAME,
            version: format!("redb {}", config::REDB_VERSION),
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

    fn sequential_options(&self) -> &'static [(&'static str, &'static str)] {
        config::SEQUENTIAL
    }

    fn open(&self, dir: &Path, options: &Options) -> Result<Box<dyn Engine>> {
        let config = config::Config::new(options);
        Ok(Box::new(engine::RedbEngine::open(dir, config)?))
    }
}

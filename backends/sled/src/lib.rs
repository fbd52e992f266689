//! Durum's sled backend, for those who have data in sled and for comparison.
//!
//! **Not recommended for new data.** Of sled 0.34.7 users report files many times the size of their
//! data, slow opening, and databases that do not open again after the process was killed; it panics
//! where others return errors, and its `flush` does not reach the device on Linux. This backend takes
//! away what it can: panics become errors that name the path, and durability is made up for as below.
//! For anything new use `lmdb`, `sqlite` or `file`; `durum migrate` moves a store there.
//!
//! All tables lie in one tree, with the table's number as the first byte of a key: sled applies and
//! recovers a batch on one tree as a whole. There are no native snapshots; the store keeps the
//! superseded records that its own snapshots need.
//!
//! # Durability
//! - `relaxed` leaves everything to sled, which writes when a buffer is full.
//! - `process` flushes sled's buffers to the system.
//! - `power` does that and then syncs, which sled does not (it calls `sync_file_range`, which neither
//!   flushes the device's cache nor the file's size, and never syncs the files of large values): the
//!   file `db`, new files in `blobs`, and the directories where they have changed.
//!
//! Opening a database takes two steps, so that the power may be lost in it; `recover.rs` tells why.
//!
//! # Space
//! sled's files grow to many times their data, and never shrink. Compaction copies all rows into a new
//! database in a directory beside, `compacted-1` and so on, and the file `current` then names that one.
//!
//! # Failing disks
//! After a write that the system refused, sled can wait for ever for it when it is closed. Nothing
//! acknowledged is lost by that: after some seconds it is left to itself, on a thread of its own, and the
//! database can be opened again by another process, or when this one has ended.
//!
//! # Damage
//! A `db` that was cut opens in sled as an empty database, without a word. So every batch also counts
//! up a row of this backend's own, and the file `generation` holds the count as of the last `sync` or
//! orderly end: a database that is behind it is reported as damaged.

#![forbid(unsafe_code)]

mod compact;
mod config;
mod cursor;
mod engine;
mod error;
mod generation;
mod reclaim;
mod recover;
mod snapshot;
mod tree;
mod waker;

use std::path::Path;

use durum_core::Result;
use durum_core::engine::{Backend, Capabilities, Durability, Engine, OptionSpec, Options};

/// The name of the engine and the scheme of its URLs.
pub const NAME: &str = "sled";

/// Makes sled available as an engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SledBackend;

impl Backend for SledBackend {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: NAME,
            version: format!("sled {}", config::SLED_VERSION),
            snapshots: false,
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
        Ok(Box::new(engine::SledEngine::open(dir, options)?))
    }
}

//! Durum's flat-file engine: an append-only log with an on-disk index.
//!
//! Every batch is one checksummed frame at the end of a log of segments, written and synced once. An
//! index beside it, a copy-on-write tree for each table, says where in the log each row's newest
//! operation lies; it is brought up to date by checkpoints and can be rebuilt from the log at any
//! time. Recent changes are in memory between checkpoints, to a bound. Segments that are mostly dead
//! are cleaned by copying what is still needed to the end of the log.
//!
//! `docs/FILE_FORMAT.md` has the files byte by byte, and the argument that a crash at any moment loses
//! nothing that was acknowledged.
//!
//! - Readers hold a state that never changes, take no lock while reading, and read mapped memory.
//! - **Architecture invariant**: nothing but this crate's `seam` calls the operating system.

#![deny(unsafe_code)]

mod accounts;
mod bytes;
mod config;
mod cursor;
mod delta;
mod engine;
mod error;
mod hold;
mod holes;
mod index;
mod log;
mod reclaim;
mod recover;
mod replay;
mod seam;
mod snapshot;
mod state;
mod writer;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use durum_core::Result;
use durum_core::engine::{Backend, Capabilities, Durability, Engine, OptionSpec, Options};

/// The flat-file backend, `file:PATH`.
///
/// ```
/// use durum_core::engine::{Backend, Durability, Key, Op, Options, Table};
///
/// let dir = tempfile::tempdir()?;
/// let engine = durum_file::FileBackend.open(dir.path(), &Options::default())?;
/// let key = Key::from(7);
/// let put = Op::Put { table: Table::Objects, key, value: b"seven" };
/// assert_eq!(engine.apply(&[put], Durability::Power)?, Durability::Power);
/// let mut found: Vec<u8> = Vec::new();
/// let there = engine.snapshot()?.get(Table::Objects, key, &mut |value| found.extend(value))?;
/// assert!(there && found == b"seven");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct FileBackend;

impl Backend for FileBackend {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: NAME,
            version: format!("flat file {}", env!("CARGO_PKG_VERSION")),
            snapshots: true,
            durability: Durability::ALL.to_vec(),
            compaction: false,
            reclaim: true,
            persistent: true,
            value_bytes_max: writer::VALUE_BYTES_MAX,
        }
    }

    fn options(&self) -> &'static [OptionSpec] {
        config::OPTIONS
    }

    fn open(&self, dir: &Path, options: &Options) -> Result<Box<dyn Engine>> {
        let config = config::Config::new(options)?;
        let fs: Arc<dyn seam::FileSystem> = Arc::new(seam::RealFileSystem);
        let hold = hold::Hold::take(dir)?;
        let engine = engine::FileEngine::open(&fs, dir, config)?;
        engine.keep(hold);
        Ok(Box::new(engine))
    }
}

const NAME: &str = "file";

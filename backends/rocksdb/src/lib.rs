//! Durum's RocksDB backend: Facebook's log-structured merge tree in C++, by the crate `rocksdb`.
//!
//! All tables lie in one column family, with the table's number as the first byte of a key: there is one
//! memtable and one log, and a batch is atomic over all tables whatever is being flushed. Snapshots are
//! RocksDB's own. Blocks are not compressed, since records are.
//!
//! The crate is empty without its feature `rocksdb`, which is off by default: RocksDB takes minutes to compile
//! and libclang to be bound (`libclang-dev` on Debian).
//!
//! Large batches of new rows, as in an import, become tables without a way through log and memtables: see
//! `ingest.rs`.
//!
//! # Durability
//! A batch goes into RocksDB's log (WAL) as a whole, by one write to the file.
//! - `relaxed` and `process` leave it with the system.
//! - `power` syncs the log, and with it all batches before.
//!
//! # After a crash
//! RocksDB replays its log up to the first record that is not whole ("point-in-time recovery"), and does not
//! know how much of it was synced: damage in the middle would cut off all that follows without a word
//! (facebook/rocksdb, pull request 6963, says why). So every batch notes up to where all was on the device when
//! it was written, and what the log says is compared with what is recovered before RocksDB may go on from
//! that: see `note.rs`. An opening that is cut off by a loss of power can leave a `CURRENT` that names nothing, see
//! `current.rs`. A store that was closed has nothing in its log, and the blocks of tables have checksums.
//!
//! # Space
//! Deleted rows take up space until tables are merged. RocksDB merges them when there is enough to merge, not
//! when nothing is written any more: that is what `Engine::reclaim` is for. It has the log's rows written as
//! a table, and then tables merged, one after the other on a thread, so that commits are not kept waiting. There
//! is no rewrite besides: merged tables hold nothing that is dead.
//!
//! # Memory
//! The block cache also holds indexes and filters, so that it bounds them; up to three memtables, and as many
//! open files as the options say.
//!
//! # Failures
//! After a failed write the store has to be opened again; a full disk is no exception. RocksDB's own attempts to
//! resume are turned off: it would have to be known what was written, and closing meanwhile may hang
//! (facebook/rocksdb, issue 11440). Its messages go to `tracing`; there are no `LOG` files.
//!
//! RocksDB's threads and the writer synchronize the same directory. Where that fails for a thread that writes a table
//! the writer is told with its next write, and may have synced the log's new file and the directory in between,
//! successfully: a file system that reported the failure only to the first, and lost what it was about, would lose
//! a batch that was confirmed. ext4, XFS and Btrfs end all writing where they cannot bring a directory to the device, so
//! that the writer fails, too; that is what the crash tests assume for RocksDB, and for no other engine.
//!
//! With very small memtables, on a disk that was full from some moment on and stayed so, one of some hundred runs of
//! the crash tests did not end, and none since. A write that RocksDB refuses for longer than ten seconds while its
//! threads do nothing is an error now; whether that was the cause is not known.

#![forbid(unsafe_code)]
#![cfg(feature = "rocksdb")]

mod config;
mod current;
mod cursor;
mod database;
mod engine;
mod error;
mod ingest;
mod note;
mod reclaim;
mod snapshot;

use std::path::Path;

use durum_core::Result;
use durum_core::engine::{Backend, Capabilities, Durability, Engine, OptionSpec, Options};

/// The name of the engine and the scheme of its URLs.
pub const NAME: &str = "rocksdb";

/// Makes RocksDB available as an engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RocksdbBackend;

impl Backend for RocksdbBackend {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: NAME,
            version: format!("RocksDB {}", config::ROCKSDB_VERSION),
            snapshots: true,
            durability: Durability::ALL.to_vec(),
            compaction: false,
            reclaim: true,
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
        Ok(Box::new(engine::RocksdbEngine::open(dir, config)?))
    }
}

//! Durum's fjall backend: a log-structured merge tree in Rust alone.
//!
//! All tables lie in one keyspace, with the table's number as the first byte of a key, but for the one that
//! changes with every batch: it has its own, with this backend's rows. Snapshots are fjall's own, taken
//! between batches: of 3.1.13 one that is taken meanwhile can show half a batch.
//!
//! # Imports
//! Large batches of new rows become tables without a way through journal and memtable: see `ingest.rs`.
//!
//! # Durability
//! A batch goes into fjall's journal as a whole.
//! - `relaxed` leaves it in a buffer of the process, some of it.
//! - `process` hands it to the system.
//! - `power` syncs the journal, and with it all batches before.
//!
//! # After a crash
//! Where the power was lost, the end of the journal may hold a batch of which a part is missing. fjall cuts
//! it off where it cannot be read at all, and does not open any more where only its checksum is wrong; and
//! it cuts off what is damaged in the middle as well, with all that follows, without a word. So this
//! backend reads the journal first: every batch says up to where all was on the device when it was
//! written, by which the one is told from the other. See `journal.rs`.
//!
//! # Space
//! Deleted rows take up space until fjall's threads have merged them away, and 64 MiB of journal stay. What
//! is left to be merged fjall does not say. Compaction copies all rows into a new database in a directory
//! beside, `database-2` and so on, and the file `current` then names that one.
//!
//! # Failures
//! After a failed write, be it by one of fjall's threads, the store has to be opened again; a full disk is
//! no exception. A writer never waits for threads that have ended so: fjall's own would, for ever.

#![forbid(unsafe_code)]

mod compact;
mod config;
mod cursor;
mod database;
mod engine;
mod error;
mod ingest;
mod journal;
mod place;
mod reclaim;
mod snapshot;

use std::path::Path;

use durum_core::Result;
use durum_core::engine::{Backend, Capabilities, Durability, Engine, OptionSpec, Options};

/// The name of the engine and the scheme of its URLs.
pub const NAME: &str = "fjall";

/// Makes fjall available as an engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct FjallBackend;

impl Backend for FjallBackend {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: NAME,
            version: format!("fjall {}", config::FJALL_VERSION),
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
        Ok(Box::new(engine::FjallEngine::open(dir, config)?))
    }
}

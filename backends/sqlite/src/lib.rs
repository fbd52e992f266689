//! Durum's SQLite backend: one file, `objects.sqlite`, that the `sqlite3` shell can read.
//!
//! ```text
//! sqlite> SELECT oid, length(record) FROM objects ORDER BY oid LIMIT 3;
//! ```
//!
//! Tables with single keys have them as rowids, the others are `WITHOUT ROWID`; columns carry the
//! words of Durum's documentation. Write with Durum only: other programs do not know what belongs
//! together.
//!
//! # Durability
//! The database is in WAL mode. `power` commits with `synchronous=FULL`, which syncs the log after each
//! commit and with it all commits before. The weaker levels both commit with `NORMAL`, which syncs at
//! checkpoints only. `OFF` is never used: a checkpoint under it would overwrite the log of commits that
//! were acknowledged as durable before their pages are.
//!
//! # Space
//! Freed pages are used again, and [`Engine::reclaim`] moves the
//! last pages into them and cuts the file (`auto_vacuum=INCREMENTAL`), 64 pages a transaction. Compaction
//! is `VACUUM INTO` a file beside, which then takes the database's name. The log is kept near the option `wal_limit` as long as no snapshot stays open for long.

#![forbid(unsafe_code)]

mod compact;
mod config;
mod cursor;
mod engine;
mod error;
mod open;
mod reclaim;
mod schema;
mod snapshot;

use std::path::Path;

use durum_core::Result;
use durum_core::engine::{Backend, Capabilities, Durability, Engine, OptionSpec, Options};

/// The name of the engine and the scheme of its URLs.
pub const NAME: &str = "sqlite";

/// Makes SQLite available as an engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SqliteBackend;

impl Backend for SqliteBackend {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: NAME,
            version: format!("SQLite {}", rusqlite::version()),
            snapshots: true,
            durability: Durability::ALL.to_vec(),
            compaction: true,
            reclaim: true,
            persistent: true,
            value_bytes_max: config::VALUE_BYTES_MAX,
        }
    }

    fn options(&self) -> &'static [OptionSpec] {
        config::OPTIONS
    }

    fn open(&self, dir: &Path, options: &Options) -> Result<Box<dyn Engine>> {
        let config = config::Config::new(options);
        Ok(Box::new(engine::SqliteEngine::open(dir, config)?))
    }
}

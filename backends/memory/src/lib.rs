//! Durum's in-memory backend, for tests and for stores that need not last.
//!
//! A `BTreeMap` for each table behind one lock. Nothing is written anywhere; the data ends with the
//! engine. There are no native snapshots: the store keeps the superseded records that its own
//! snapshots need, as it does for other engines without them.
//!
//! ```
//! use durum_core::engine::{Backend, Durability, Key, Op, Options, Table};
//! use durum_memory::MemoryBackend;
//!
//! let engine = MemoryBackend.open("unused".as_ref(), &Options::default())?;
//! let put = Op::Put { table: Table::Objects, key: Key::from(1), value: b"one" };
//! engine.apply(&[put], Durability::Relaxed)?;
//! # Ok::<(), durum_core::Error>(())
//! ```

#![forbid(unsafe_code)]

mod config;
mod cursor;
mod engine;
mod reclaim;
mod snapshot;

use std::path::Path;

use durum_core::Result;
use durum_core::engine::{Backend, Capabilities, Durability, Engine, OptionSpec, Options};

/// The name of the engine and the scheme of its URLs.
pub const NAME: &str = "memory";

/// Makes the in-memory engine available; every `open` gives a new, empty one.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryBackend;

impl Backend for MemoryBackend {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: NAME,
            version: format!("Durum {}", env!("CARGO_PKG_VERSION")),
            snapshots: false,
            durability: vec![Durability::Relaxed],
            compaction: false,
            reclaim: false,
            persistent: false,
            value_bytes_max: config::VALUE_BYTES_MAX,
        }
    }

    fn options(&self) -> &'static [OptionSpec] {
        config::OPTIONS
    }

    fn open(&self, _dir: &Path, _options: &Options) -> Result<Box<dyn Engine>> {
        Ok(Box::new(engine::MemoryEngine::default()))
    }
}

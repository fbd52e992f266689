//! Bulk loads by the engines' own crates alone: what Durum on top of an engine is compared with.
//!
//! Each load writes rows of one table in ascending order of their keys, as quickly as the engine does it
//! without giving up that it is whole in the end, and syncs once, at the end. Settings that decide how
//! much memory an engine takes, and what its files look like, are those of Durum's backend. There is no
//! collector, no second table, and nothing that a load could go on from after it was cut off.
//!
//! ```
//! let dir = tempfile::tempdir()?;
//! for engine in durum_raw::engines() {
//!     let mut load = durum_raw::create(engine, &dir.path().join(engine))?;
//!     let mut rows = durum_raw::Rows::default();
//!     rows.push(1, |out| out.extend_from_slice(b"one"));
//!     load.write(&rows)?;
//!     load.finish()?;
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(unsafe_code)]

#[cfg(feature = "file")]
mod file;
#[cfg(feature = "lmdb")]
mod lmdb;
#[cfg(feature = "redb")]
mod redb;
mod rows;
#[cfg(feature = "sled")]
mod sled;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::fmt::Display;
use std::path::Path;

use durum_core::{Error, ErrorKind, IoResultExt as _, Result};

pub use rows::Rows;

const DOING: &str = "load into the engine alone";

/// A load into a new database.
pub trait Load {
    /// Writes rows, whose keys are larger than all before.
    ///
    /// # Errors
    /// Those of the engine, as `Other`, and of the disk.
    fn write(&mut self, rows: &Rows) -> Result<()>;

    /// Makes everything durable, and closes the database.
    ///
    /// # Errors
    /// As [`Load::write`].
    fn finish(self: Box<Self>) -> Result<()>;
}

/// The names of the engines that are compiled in, which are those of Durum's backends.
pub fn engines() -> &'static [&'static str] {
    &[
        #[cfg(feature = "file")]
        "file",
        #[cfg(feature = "lmdb")]
        "lmdb",
        #[cfg(feature = "redb")]
        "redb",
        #[cfg(feature = "sled")]
        "sled",
        #[cfg(feature = "sqlite")]
        "sqlite",
    ]
}

/// Begins a load into a new database in the directory `dir`, which is created.
///
/// # Errors
/// `Usage` for an engine that is not compiled in; those of the engine and of the disk.
pub fn create(engine: &str, dir: &Path) -> Result<Box<dyn Load>> {
    if !engines().contains(&engine) {
        return Err(Error::new(ErrorKind::Usage, DOING)
            .because(format!("there is no raw load for `{engine}`")));
    }
    std::fs::create_dir(dir).during(DOING, dir)?;
    match engine {
        #[cfg(feature = "file")]
        "file" => Ok(Box::new(file::FileLoad::create(dir)?)),
        #[cfg(feature = "lmdb")]
        "lmdb" => Ok(Box::new(lmdb::LmdbLoad::create(dir)?)),
        #[cfg(feature = "redb")]
        "redb" => Ok(Box::new(redb::RedbLoad::create(dir)?)),
        #[cfg(feature = "sled")]
        "sled" => Ok(Box::new(sled::SledLoad::create(dir)?)),
        #[cfg(feature = "sqlite")]
        "sqlite" => Ok(Box::new(sqlite::SqliteLoad::create(dir)?)),
        _ => Err(Error::new(ErrorKind::Usage, DOING).because("no engine is compiled in")),
    }
}

/// An engine's own error.
#[allow(dead_code, reason = "without engines there are no errors of theirs")]
fn failed(error: impl Display) -> Error {
    Error::new(ErrorKind::Other, DOING).because(error.to_string())
}

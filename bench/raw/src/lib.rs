//! The engines' own crates alone, as one who knows them would use them: what Durum on top of an engine is
//! compared with.
//!
//! Each [`Load`] writes rows of one table in ascending order of their keys, as quickly as the engine does it
//! without giving up that it is whole in the end, and syncs once, at the end. Then a [`Database`] reads and
//! changes them. Settings that decide how much memory an engine takes, and what its files look like, are
//! those of Durum's backend. There is no collector, no second table, no checksum but the engine's own, and
//! nothing that a load could go on from after it was cut off.
//!
//! PostgreSQL lies in no directory: its client has a module of its own, and is not among [`engines`].
//!
//! ```
//! let dir = tempfile::tempdir()?;
//! for engine in durum_raw::engines() {
//!     let mut load = durum_raw::create(engine, &dir.path().join(engine))?;
//!     let mut rows = durum_raw::Rows::default();
//!     rows.push(1, |out| out.extend_from_slice(b"one"));
//!     load.write(&rows)?;
//!     load.finish()?;
//!     let database = durum_raw::open(engine, &dir.path().join(engine))?;
//!     let mut found = Vec::new();
//!     database.reader()?.get(1, &mut |value| found.extend_from_slice(value))?;
//!     assert_eq!(found, b"one");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(unsafe_code)]

#[cfg(feature = "file")]
mod file;
#[cfg(feature = "fjall")]
mod fjall;
#[cfg(feature = "lmdb")]
mod lmdb;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redb")]
mod redb;
#[cfg(feature = "rocksdb")]
mod rocksdb;
mod rows;
#[cfg(feature = "sled")]
mod sled;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::fmt::Display;
use std::ops::Range;
use std::path::Path;

use durum_core::{Error, ErrorKind, IoResultExt as _, Result};

pub use rows::Rows;

const DOING: &str = "use the engine alone";

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

/// A database that a load has filled. All methods can be called from many threads at once.
pub trait Database: Send + Sync {
    /// A view of this moment where the engine has snapshots, of the newest rows elsewhere; for one thread.
    ///
    /// # Errors
    /// Those of the engine, as `Other`, and of the disk.
    fn reader(&self) -> Result<Box<dyn Reader + '_>>;

    /// Reads one row in a transaction of its own; false where there is none.
    ///
    /// # Errors
    /// As [`Database::reader`].
    fn get(&self, key: u64, visit: &mut dyn FnMut(&[u8])) -> Result<bool>;

    /// Inserts or replaces rows and deletes others in one transaction, which the device has confirmed if it
    /// is to be `durable`. What is not durable may be lost with the process.
    ///
    /// # Errors
    /// As [`Database::reader`].
    fn write(&self, rows: &Rows, deletes: &[u64], durable: bool) -> Result<()>;
}

/// Reads rows of a [`Database`].
pub trait Reader {
    /// Shows a row; false where there is none.
    ///
    /// # Errors
    /// As [`Database::reader`].
    fn get(&mut self, key: u64, visit: &mut dyn FnMut(&[u8])) -> Result<bool>;

    /// Shows all rows, in the order that is quickest for the engine.
    ///
    /// # Errors
    /// As [`Database::reader`].
    fn scan(&mut self, visit: &mut dyn FnMut(u64, &[u8])) -> Result<()>;

    /// Shows the rows of these keys in ascending order.
    ///
    /// # Errors
    /// As [`Database::reader`].
    fn range(&mut self, keys: Range<u64>, visit: &mut dyn FnMut(u64, &[u8])) -> Result<()>;
}

/// The names of the engines that are compiled in, which are those of Durum's backends.
pub fn engines() -> &'static [&'static str] {
    &[
        #[cfg(feature = "file")]
        "file",
        #[cfg(feature = "fjall")]
        "fjall",
        #[cfg(feature = "lmdb")]
        "lmdb",
        #[cfg(feature = "redb")]
        "redb",
        #[cfg(feature = "rocksdb")]
        "rocksdb",
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
        #[cfg(feature = "fjall")]
        "fjall" => Ok(Box::new(fjall::FjallLoad::create(dir)?)),
        #[cfg(feature = "lmdb")]
        "lmdb" => Ok(Box::new(lmdb::LmdbLoad::create(dir)?)),
        #[cfg(feature = "redb")]
        "redb" => Ok(Box::new(redb::RedbLoad::create(dir)?)),
        #[cfg(feature = "rocksdb")]
        "rocksdb" => Ok(Box::new(rocksdb::RocksdbLoad::create(dir)?)),
        #[cfg(feature = "sled")]
        "sled" => Ok(Box::new(sled::SledLoad::create(dir)?)),
        #[cfg(feature = "sqlite")]
        "sqlite" => Ok(Box::new(sqlite::SqliteLoad::create(dir)?)),
        _ => Err(Error::new(ErrorKind::Usage, DOING).because("no engine is compiled in")),
    }
}

/// Opens what a load has left in the directory `dir`.
///
/// # Errors
/// As [`create`].
pub fn open(engine: &str, dir: &Path) -> Result<Box<dyn Database>> {
    match engine {
        #[cfg(feature = "file")]
        "file" => Ok(Box::new(file::FileDatabase::open(dir)?)),
        #[cfg(feature = "fjall")]
        "fjall" => Ok(Box::new(fjall::FjallDatabase::open(dir)?)),
        #[cfg(feature = "lmdb")]
        "lmdb" => Ok(Box::new(lmdb::LmdbDatabase::open(dir)?)),
        #[cfg(feature = "redb")]
        "redb" => Ok(Box::new(redb::RedbDatabase::open(dir)?)),
        #[cfg(feature = "rocksdb")]
        "rocksdb" => Ok(Box::new(rocksdb::RocksdbDatabase::open(dir)?)),
        #[cfg(feature = "sled")]
        "sled" => Ok(Box::new(sled::SledDatabase::open(dir)?)),
        #[cfg(feature = "sqlite")]
        "sqlite" => Ok(Box::new(sqlite::SqliteDatabase::open(dir)?)),
        _ => Err(Error::new(ErrorKind::Usage, DOING)
            .with_path(dir)
            .because(format!("`{engine}` alone cannot be measured"))),
    }
}

/// A lock that a panic of another thread does not break: a benchmark then fails anyway.
#[allow(dead_code, reason = "without engines nothing is locked")]
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A key as engines order it.
#[allow(dead_code, reason = "without engines there are no keys")]
fn key_of(bytes: &[u8]) -> Result<u64> {
    let bytes = bytes
        .try_into()
        .map_err(|_| failed("a key has a wrong length"))?;
    Ok(u64::from_be_bytes(bytes))
}

/// An engine's own error.
#[allow(dead_code, reason = "without engines there are no errors of theirs")]
fn failed(error: impl Display) -> Error {
    Error::new(ErrorKind::Other, DOING).because(error.to_string())
}

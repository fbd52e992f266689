//! An open database of RocksDB, shared by engine and snapshots.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use durum_core::{ErrorKind, IoResultExt as _, Result};
use rocksdb::DB;

use crate::config::Config;
use crate::current::{self, sync};
use crate::error::{convert, damaged, poisoned};
use crate::ingest::{put_back, remove_leftovers};
use crate::note::{Note, Notes, ROW};

const OPEN: &str = "open the database";
const RECOVER: &str = "recover the database";

/// An open database.
pub(crate) struct Db {
    rocks: DB,
    pub(crate) dir: PathBuf,
    /// Set by a failed write: trying again could succeed without anything being written.
    failed: AtomicBool,
}

impl Db {
    /// Opens the database in `dir`; makes one where that is empty. All of it is durable then.
    pub(crate) fn open(dir: &Path, config: &Config) -> Result<Db> {
        let create = fs::read_dir(dir).during(OPEN, dir)?.next().is_none();
        if !create {
            current::mend(dir)?;
            put_back(dir, config)?;
            refuse_a_damaged_log(dir, config)?;
            remove_leftovers(dir)?;
        }
        let opened = config
            .settings(create)
            .and_then(|settings| DB::open(&settings, dir));
        let db = Db {
            rocks: opened.map_err(|error| convert(error, OPEN, dir))?,
            dir: dir.to_owned(),
            failed: AtomicBool::new(false),
        };
        if create {
            sync_files(dir)?;
        }
        sync(dir)?;
        Ok(db)
    }

    /// RocksDB's handle.
    pub(crate) fn rocks(&self) -> &DB {
        &self.rocks
    }

    /// Converts an error of reading.
    pub(crate) fn read<T>(
        &self,
        operation: &'static str,
        result: Result<T, rocksdb::Error>,
    ) -> Result<T> {
        result.map_err(|error| convert(error, operation, &self.dir))
    }

    /// Changes something, unless that failed before.
    pub(crate) fn write<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&DB) -> Result<T, rocksdb::Error>,
    ) -> Result<T> {
        if self.failed.load(Ordering::Acquire) {
            return Err(poisoned(operation).with_path(&self.dir));
        }
        work(&self.rocks).map_err(|error| {
            self.failed.store(true, Ordering::Release);
            let error = convert(error, operation, &self.dir);
            match error.kind() {
                // What of the batch was written is uncertain.
                ErrorKind::Full => error.with_kind(ErrorKind::Io),
                _ => error,
            }
        })
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        if !self.failed.load(Ordering::Acquire) {
            // Where this fails the rows are in the log, as they were.
            let _error = self.rocks.flush();
        }
    }
}

/// Recovers the database in memory, and makes sure that nothing is missing that was durable: when it is opened
/// for writing, RocksDB removes the log with all that it did not read of it.
fn refuse_a_damaged_log(dir: &Path, config: &Config) -> Result<()> {
    let Some(notes) = Notes::of(dir) else {
        return Ok(());
    };
    let reached = notes.reached(dir)?;
    if reached == 0 {
        return Ok(());
    }
    let recovered = config
        .settings(false)
        .and_then(|settings| DB::open_for_read_only(&settings, dir, false))
        .and_then(|recovered| recovered.get(ROW));
    let note = recovered.map_err(|error| convert(error, RECOVER, dir))?;
    let note = note.and_then(|bytes| notes.decode(&bytes));
    match note.unwrap_or_default() {
        Note { count, .. } if count < reached => Err(damaged(
            RECOVER,
            "the log is broken before batches that were durable",
        )
        .with_path(dir)),
        _ => Ok(()),
    }
}

fn sync_files(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).during(OPEN, dir)? {
        sync(&entry.during(OPEN, dir)?.path())?;
    }
    Ok(())
}

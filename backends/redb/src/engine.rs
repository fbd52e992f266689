//! The engine: one writer, and read transactions as snapshots.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use durum_core::engine::{Compact, Durability, Engine, EngineSnapshot, EngineStats, Op, Reclaimed};
use durum_core::{Error, ErrorKind, IoResultExt as _, Result};

use crate::NAME;
use crate::base::{Base, remove, sync_dir};
use crate::config::{Config, VALUE_BYTES_MAX};
use crate::error::poisoned;
use crate::reclaim;
use crate::snapshot::RedbSnapshot;
use crate::write::write;

/// The database.
const FILE: &str = "objects.redb";
/// What a compaction makes.
const COPY: &str = "objects.redb.compact";

const OPEN: &str = "open the database";
const APPLY: &str = "apply a batch";

/// Commits in memory come to this at most: redb keeps account of their pages, which it would let grow.
const RELAXED_BYTES_MAX: u64 = 32 << 20;
/// What a row takes besides its value, as it is counted for that: a page is rewritten.
const ROW_BYTES: u64 = 4096;

/// redb as an engine.
pub(crate) struct RedbEngine {
    dir: PathBuf,
    pub(crate) config: Config,
    base: Mutex<Arc<Base>>,
    writer: Mutex<Writer>,
    /// Set by a failed write or sync: what is on the disk is uncertain.
    failed: AtomicBool,
}

/// What the one writer remembers.
#[derive(Default)]
pub(crate) struct Writer {
    /// About the bytes of commits that are in memory only.
    relaxed_bytes: u64,
    /// A finished copy of what the database holds now, for a compaction.
    pub(crate) copied: Option<Base>,
}

impl RedbEngine {
    pub(crate) fn open(dir: &Path, config: Config) -> Result<RedbEngine> {
        let path = dir.join(FILE);
        let base = match is_new(dir, &path)? {
            true => Base::create(&path, &config)?,
            false => {
                // What a compaction left that did not end.
                remove(&dir.join(COPY), OPEN)?;
                Base::open(&path, &config)?
            }
        };
        sync_dir(dir, OPEN)?;
        Ok(RedbEngine {
            dir: dir.to_owned(),
            config,
            base: Mutex::new(Arc::new(base)),
            writer: Mutex::default(),
            failed: AtomicBool::new(false),
        })
    }

    /// The database's file.
    pub(crate) fn file(&self) -> PathBuf {
        self.dir.join(FILE)
    }

    /// The file of a compaction's copy.
    pub(crate) fn copy(&self) -> PathBuf {
        self.dir.join(COPY)
    }

    /// The open database.
    pub(crate) fn base(&self) -> Arc<Base> {
        Arc::clone(&self.base.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Excludes other writers.
    pub(crate) fn write(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An error after a failed write.
    pub(crate) fn refuse_if_failed(&self, operation: &'static str) -> Result<()> {
        match self.failed.load(Ordering::Acquire) {
            false => Ok(()),
            true => Err(poisoned(operation, "an earlier write failed").with_path(self.file())),
        }
    }

    /// Notes a failure that leaves the disk uncertain.
    fn noted<T>(&self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            self.failed.store(true, Ordering::Release);
        }
        result
    }

    /// Gives the name of the database to the copy, and goes over to that. The old one, which nobody else
    /// holds, is returned.
    pub(crate) fn exchange(
        &self,
        writer: &mut Writer,
        operation: &'static str,
    ) -> Result<Arc<Base>> {
        let mut base = self.base.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::strong_count(&base) > 1 {
            return Err(Error::new(ErrorKind::InUse, operation)
                .with_engine(NAME)
                .because("snapshots are open"));
        }
        let Some(copy) = writer.copied.take() else {
            return Err(Error::new(ErrorKind::Usage, operation)
                .with_engine(NAME)
                .because("there is no copy that is up to date"));
        };
        fs::rename(self.copy(), self.file()).during(operation, self.file())?;
        // Which of the two is found after a loss of power is open from here on.
        let synced = sync_dir(&self.dir, operation);
        let old = std::mem::replace(&mut *base, Arc::new(copy));
        self.noted(synced.map_err(|error| error.with_kind(ErrorKind::Io)))?;
        writer.relaxed_bytes = 0;
        Ok(old)
    }

    /// Makes commits durable that are in memory only.
    pub(crate) fn commit_relaxed(&self, writer: &mut Writer) -> Result<()> {
        if writer.relaxed_bytes > 0 {
            // An empty commit takes those before it along.
            self.noted(self.commit(&[], true))?;
            writer.relaxed_bytes = 0;
        }
        Ok(())
    }

    /// Commits `ops`, on the device or in memory.
    fn commit(&self, ops: &[Op<'_>], synced: bool) -> Result<()> {
        self.base().run(APPLY, |db| {
            let mut transaction = db.begin_write()?;
            let durability = match synced {
                true => redb::Durability::Immediate,
                false => redb::Durability::None,
            };
            transaction.set_durability(durability)?;
            transaction.set_quick_repair(synced && self.config.quick_repair);
            // An early return drops the transaction, which undoes it.
            write(&transaction, ops)?;
            Ok(transaction.commit()?)
        })
    }
}

impl Engine for RedbEngine {
    fn snapshot(&self) -> Result<Box<dyn EngineSnapshot>> {
        Ok(Box::new(RedbSnapshot::open(self.base())?))
    }

    fn apply(&self, ops: &[Op<'_>], durability: Durability) -> Result<Durability> {
        refuse_large_values(ops)?;
        self.refuse_if_failed(APPLY)?;
        let mut writer = self.write();
        // One that is out of date is of no use.
        writer.copied = None;
        let bytes = ops.iter().map(op_bytes).sum::<u64>();
        let relaxed = writer.relaxed_bytes.saturating_add(bytes);
        let synced = durability > Durability::Relaxed || relaxed > RELAXED_BYTES_MAX;
        self.noted(self.commit(ops, synced))?;
        writer.relaxed_bytes = if synced { 0 } else { relaxed };
        Ok(durability)
    }

    fn sync(&self) -> Result<Durability> {
        self.refuse_if_failed("sync the database")?;
        self.commit_relaxed(&mut self.write())?;
        Ok(Durability::Power)
    }

    fn make_room(&self, _bytes: u64) -> Result<()> {
        // `apply` never asks for it.
        Ok(())
    }

    fn stats(&self) -> Result<EngineStats> {
        reclaim::stats(&self.file())
    }

    fn reclaim(&self, _bytes_max: u64) -> Result<Reclaimed> {
        Ok(reclaim::reclaim())
    }

    fn bulk_bytes(&self) -> usize {
        self.config.bulk_bytes
    }

    fn compact(&self) -> Option<&dyn Compact> {
        Some(self)
    }
}

impl fmt::Debug for RedbEngine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("RedbEngine")
            .field("dir", &self.dir)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

fn op_bytes(op: &Op<'_>) -> u64 {
    match op {
        Op::Put { value, .. } => value.len() as u64 + ROW_BYTES,
        Op::Delete { .. } => ROW_BYTES,
    }
}

fn refuse_large_values(ops: &[Op<'_>]) -> Result<()> {
    for op in ops {
        if let Op::Put { value, .. } = op
            && value.len() as u64 > VALUE_BYTES_MAX
        {
            return Err(Error::new(ErrorKind::TooLarge, APPLY)
                .with_engine(NAME)
                .because(format!(
                    "a value has {} bytes, and redb takes {VALUE_BYTES_MAX} at most",
                    value.len()
                )));
        }
    }
    Ok(())
}

/// Whether there is no database yet. One that has gone is not made anew.
fn is_new(dir: &Path, path: &Path) -> Result<bool> {
    if path.try_exists().during(OPEN, path)? {
        return Ok(false);
    }
    let mut entries = fs::read_dir(dir).during(OPEN, dir)?;
    if entries.next().is_none() {
        return Ok(true);
    }
    Err(Error::damaged(OPEN, "the file is missing")
        .with_engine(NAME)
        .with_path(path)
        .hint("Restore the store from a backup."))
}

//! The engine: batches with a number, and the syncs of the journal.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use durum_core::engine::{
    Compact, Durability, Engine, EngineSnapshot, EngineStats, Op, Reclaimed, encode_runs,
};
use durum_core::{Error, ErrorKind, Result};
use fjall::PersistMode;

use crate::NAME;
use crate::config::{Config, VALUE_BYTES_MAX};
use crate::database::Db;
use crate::error::{damaged, poisoned};
use crate::ingest::{self, Filling};
use crate::journal::{self, Note, ROW};
use crate::place::{Current, sync, sync_all};
use crate::reclaim;
use crate::snapshot::FjallSnapshot;

const OPEN: &str = "open the database";
const APPLY: &str = "apply a batch";
const SYNC: &str = "sync the database";

/// fjall as an engine.
pub(crate) struct FjallEngine {
    pub(crate) dir: PathBuf,
    pub(crate) config: Config,
    db: Mutex<Arc<Db>>,
    writer: Mutex<Writer>,
    /// Set by a failed write or sync: trying again could succeed without anything being written.
    failed: AtomicBool,
}

/// What the one writer remembers.
pub(crate) struct Writer {
    /// The last batch, and the last one that is durable.
    pub(crate) note: Note,
    pub(crate) current: Current,
    /// A finished copy of what the database holds now, for a compaction.
    pub(crate) copied: Option<Db>,
}

impl FjallEngine {
    pub(crate) fn open(dir: &Path, config: Config) -> Result<FjallEngine> {
        let (current, db) = match Current::read(dir)? {
            Some(current) => {
                // A killed process may have left writes in the system's cache. What is gone by here, and by
                // fjall when it opens, must not be undone by a loss of power after it.
                sync(dir)?;
                current.remove_others(dir)?;
                sync_all(&current.database)?;
                journal::mend(&current.database)?;
                let db = Db::open(&current.database, &config)?;
                (current, db)
            }
            None => {
                let first = Current::first(dir);
                let db = Db::create(&first.database, &config)?;
                sync_all(&first.database)?;
                first.write(dir)?;
                (first, db)
            }
        };
        sync(dir)?;
        let found = db.run(OPEN, |opened| opened.notes.get(ROW))?;
        let found = found.and_then(|bytes| Note::decode(&bytes));
        let count = found.map_or(0, |note| note.count);
        if count < current.reached {
            return Err(
                damaged(OPEN, "batches that were durable are missing").with_path(&current.database)
            );
        }
        let engine = FjallEngine {
            dir: dir.to_owned(),
            config,
            db: Mutex::new(Arc::new(db)),
            writer: Mutex::new(Writer {
                note: Note {
                    count,
                    durable: count,
                },
                current,
                copied: None,
            }),
            failed: AtomicBool::new(false),
        };
        engine.noted(engine.take_back())?;
        Ok(engine)
    }

    /// The open database.
    pub(crate) fn db(&self) -> Arc<Db> {
        Arc::clone(&self.db.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Excludes other writers.
    pub(crate) fn write(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An error after a failed write or sync.
    pub(crate) fn refuse_if_failed(&self, operation: &'static str) -> Result<()> {
        match self.failed.load(Ordering::Acquire) {
            false => Ok(()),
            true => Err(poisoned(operation, "an earlier write failed").with_path(&self.dir)),
        }
    }

    /// Notes a failure that leaves the disk uncertain.
    fn noted<T>(&self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            self.failed.store(true, Ordering::Release);
        }
        result
    }

    /// Makes the copy the database that counts, and goes over to it. The old one, which nobody else holds,
    /// is returned.
    pub(crate) fn exchange(&self, writer: &mut Writer, operation: &'static str) -> Result<Arc<Db>> {
        let mut db = self.db.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::strong_count(&db) > 1 {
            return Err(Error::new(ErrorKind::InUse, operation)
                .with_engine(NAME)
                .because("snapshots are open"));
        }
        let Some(copy) = writer.copied.take() else {
            return Err(Error::new(ErrorKind::Usage, operation)
                .with_engine(NAME)
                .because("there is no copy that is up to date"));
        };
        let current = Current {
            database: copy.dir.clone(),
            reached: writer.note.count,
        };
        // Which of the two is found after a failure is open.
        let written = current.write(&self.dir);
        self.noted(written.map_err(|error| error.with_kind(ErrorKind::Io)))?;
        writer.current = current;
        writer.note.durable = writer.note.count;
        Ok(std::mem::replace(&mut *db, Arc::new(copy)))
    }

    /// Writes a batch into the journal; `filling` is for [`crate::ingest`].
    pub(crate) fn commit(
        &self,
        ops: &[Op<'_>],
        filling: Option<&Filling>,
        note: Note,
        mode: Option<PersistMode>,
    ) -> Result<()> {
        let db = self.db();
        db.await_threads()?;
        db.run(APPLY, |opened| {
            let mut batch = opened.database.batch().durability(mode);
            for op in ops {
                let (table, key) = op.row();
                let (rows, key) = (opened.keyspace(table), key.to_row_bytes(table));
                match op {
                    Op::Put { value, .. } => batch.insert(rows, key.as_ref(), *value),
                    Op::Delete { .. } => batch.remove(rows, key.as_ref()),
                }
            }
            match filling {
                Some(Filling::Begun(runs)) => {
                    batch.insert(&opened.notes, ingest::ROW, encode_runs(runs));
                }
                Some(Filling::Ended) => batch.remove(&opened.notes, ingest::ROW),
                None => {}
            }
            batch.insert(&opened.notes, ROW, note.encode().as_slice());
            batch.commit()
        })?;
        db.renew_snapshot()
    }

    fn sync_journal(&self, writer: &mut Writer) -> Result<()> {
        let persist =
            |db: &Db| db.run(SYNC, |opened| opened.database.persist(PersistMode::SyncAll));
        self.noted(persist(&self.db()))?;
        writer.note.durable = writer.note.count;
        Ok(())
    }
}

impl FjallEngine {
    /// Syncs the journal, and notes in the file `current` what was reached.
    fn sync_and_note(&self, writer: &mut Writer) -> Result<()> {
        self.sync_journal(writer)?;
        if writer.current.reached < writer.note.count {
            let current = Current {
                reached: writer.note.count,
                ..writer.current.clone()
            };
            let written = current.write(&self.dir);
            self.noted(written.map_err(|error| error.with_kind(ErrorKind::Io)))?;
            writer.current = current;
        }
        Ok(())
    }
}

impl Drop for FjallEngine {
    fn drop(&mut self) {
        if self.refuse_if_failed("close the database").is_ok() {
            // Damage at the end of the journal could be taken for a batch that was not complete. Where this
            // fails it still can.
            let _error = self.sync_and_note(&mut self.write());
        }
    }
}

impl Engine for FjallEngine {
    fn snapshot(&self) -> Result<Box<dyn EngineSnapshot>> {
        Ok(Box::new(FjallSnapshot::open(self.db())))
    }

    fn apply(&self, ops: &[Op<'_>], durability: Durability) -> Result<Durability> {
        refuse_large_values(ops)?;
        self.refuse_if_failed(APPLY)?;
        let mut writer = self.write();
        if ops.is_empty() {
            if durability > Durability::Relaxed {
                self.sync_journal(&mut writer)?;
            }
            return Ok(durability);
        }
        // One that is out of date is of no use.
        writer.copied = None;
        let parts = self.split(ops)?;
        let (ops, filling) = match &parts {
            None => (ops, None),
            Some(parts) => {
                self.noted(self.ingest(&mut writer, parts))?;
                (parts.rest.as_slice(), Some(&Filling::Ended))
            }
        };
        let note = writer.note.next();
        let mode = match durability {
            Durability::Relaxed => None,
            Durability::Process => Some(PersistMode::Buffer),
            Durability::Power => Some(PersistMode::SyncData),
        };
        self.noted(self.commit(ops, filling, note, mode))?;
        writer.note = note;
        if durability == Durability::Power {
            writer.note.durable = note.count;
        }
        Ok(durability)
    }

    fn sync(&self) -> Result<Durability> {
        self.refuse_if_failed(SYNC)?;
        self.sync_and_note(&mut self.write())?;
        Ok(Durability::Power)
    }

    fn make_room(&self, _bytes: u64) -> Result<()> {
        // `apply` never asks for it.
        Ok(())
    }

    fn stats(&self) -> Result<EngineStats> {
        reclaim::stats(&self.dir)
    }

    fn reclaim(&self, _bytes_max: u64) -> Result<Reclaimed> {
        Ok(reclaim::reclaim())
    }

    fn bulk_bytes(&self) -> usize {
        usize::try_from(self.config.bulk_bytes).unwrap_or(usize::MAX)
    }

    fn compact(&self) -> Option<&dyn Compact> {
        Some(self)
    }
}

impl fmt::Debug for FjallEngine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("FjallEngine")
            .field("dir", &self.dir)
            .field("config", &self.config)
            .finish_non_exhaustive()
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
                    "a value has {} bytes, and {VALUE_BYTES_MAX} is the limit here",
                    value.len()
                )));
        }
    }
    Ok(())
}

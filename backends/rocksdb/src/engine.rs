//! The engine: batches with a number, and the syncs of the log.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use durum_core::engine::{
    Durability, Engine, EngineSnapshot, EngineStats, Op, Reclaimed, encode_runs,
};
use durum_core::{Error, ErrorKind, Result};
use rocksdb::properties::{BACKGROUND_ERRORS, NUM_RUNNING_COMPACTIONS, NUM_RUNNING_FLUSHES};
use rocksdb::{DB, WriteBatch, WriteOptions};

use crate::NAME;
use crate::config::{Config, VALUE_BYTES_MAX};
use crate::database::Db;
use crate::error::damaged;
use crate::ingest::{self, Filling};
use crate::note::{Note, Notes, ROW};
use crate::reclaim::{self, Reclaimer};
use crate::snapshot::RocksdbSnapshot;

const OPEN: &str = "open the database";
const APPLY: &str = "apply a batch";
const SYNC: &str = "sync the database";

/// How often it is tried again where RocksDB's threads are behind.
const STALL_POLL: Duration = Duration::from_millis(1);

/// And how often at the most while they do nothing at all: ten seconds.
const IDLE_POLLS_MAX: u32 = 10_000;

/// What RocksDB's record of a row takes besides key and value, about.
const ROW_BYTES: usize = 24;

/// RocksDB as an engine.
pub(crate) struct RocksdbEngine {
    pub(crate) db: Arc<Db>,
    pub(crate) config: Config,
    notes: Notes,
    /// The last batch, and the last one that is durable.
    note: Mutex<Note>,
    reclaimer: Mutex<Reclaimer>,
    /// Held while some of a batch could be seen and some not.
    pub(crate) gate: RwLock<()>,
}

impl RocksdbEngine {
    pub(crate) fn open(dir: &Path, config: Config) -> Result<RocksdbEngine> {
        let db = Db::open(dir, &config)?;
        let identity = db.read(OPEN, db.rocks().get_db_identity())?;
        let notes = Notes::new(&identity);
        let count = match db.read(OPEN, db.rocks().get(ROW))? {
            None => 0,
            Some(bytes) => match notes.decode(&bytes) {
                Some(note) => note.count,
                None => return Err(damaged(OPEN, "a row of the backend is not what it wrote")),
            },
        };
        let engine = RocksdbEngine {
            db: Arc::new(db),
            config,
            notes,
            // What was in the log is in a table now.
            note: Mutex::new(Note {
                count,
                durable: count,
            }),
            reclaimer: Mutex::new(Reclaimer::default()),
            gate: RwLock::new(()),
        };
        engine.take_back(&mut engine.lock_note())?;
        Ok(engine)
    }

    /// Excludes other writers.
    pub(crate) fn lock_note(&self) -> MutexGuard<'_, Note> {
        self.note.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_reclaimer(&self) -> MutexGuard<'_, Reclaimer> {
        self.reclaimer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn batch(&self, ops: &[Op<'_>], filling: Option<&Filling>, note: Note) -> WriteBatch {
        let bytes = ops.iter().map(|op| match op {
            Op::Put { value, .. } => ROW_BYTES + value.len(),
            Op::Delete { .. } => ROW_BYTES,
        });
        let mut batch = WriteBatch::with_capacity_bytes(bytes.sum::<usize>() + 2 * ROW_BYTES);
        for op in ops {
            let (table, key) = op.row();
            let key = key.to_row_bytes(table);
            match op {
                Op::Put { value, .. } => batch.put(key, value),
                Op::Delete { .. } => batch.delete(key),
            }
        }
        match filling {
            Some(Filling::Begun(runs)) => batch.put(ingest::ROW, encode_runs(runs)),
            Some(Filling::Ended) => batch.delete(ingest::ROW),
            None => {}
        }
        batch.put(ROW, self.notes.encode(note));
        batch
    }

    /// Writes a batch into the log; `filling` is for [`crate::ingest`].
    pub(crate) fn commit(
        &self,
        ops: &[Op<'_>],
        filling: Option<&Filling>,
        note: Note,
        sync: bool,
    ) -> Result<()> {
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        // Else a write that has to wait for tables to be written holds up those who resume after a full disk,
        // who hold up the writing of tables, for ever.
        options.set_no_slowdown(true);
        let mut idle_polls = 0;
        self.db.write(APPLY, |rocks| {
            loop {
                match rocks.write_opt(self.batch(ops, filling, note), &options) {
                    Err(error)
                        if error.kind() == rocksdb::ErrorKind::Incomplete
                            && rocks.property_int_value(BACKGROUND_ERRORS)? == Some(0)
                            && idle_polls < IDLE_POLLS_MAX =>
                    {
                        idle_polls = if is_busy(rocks)? { 0 } else { idle_polls + 1 };
                        std::thread::sleep(STALL_POLL);
                    }
                    written => return written,
                }
            }
        })
    }

    fn sync_log(&self, note: &mut Note) -> Result<()> {
        self.db.write(SYNC, |rocks| rocks.flush_wal(true))?;
        note.durable = note.count;
        Ok(())
    }
}

impl Drop for RocksdbEngine {
    fn drop(&mut self) {
        // What it does it does with the database open.
        self.lock_reclaimer().finish();
    }
}

impl Engine for RocksdbEngine {
    fn snapshot(&self) -> Result<Box<dyn EngineSnapshot>> {
        let _open = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        Ok(Box::new(RocksdbSnapshot::open(Arc::clone(&self.db))))
    }

    fn apply(&self, ops: &[Op<'_>], durability: Durability) -> Result<Durability> {
        refuse_large_values(ops)?;
        let mut note = self.lock_note();
        let sync = durability == Durability::Power;
        if ops.is_empty() {
            if sync {
                self.sync_log(&mut note)?;
            }
            return Ok(durability);
        }
        let parts = self.split(ops)?;
        let (ops, filling, _closed) = match &parts {
            None => (ops, None, None),
            Some(parts) => {
                let closed = self.ingest(&mut note, parts)?;
                (parts.rest.as_slice(), Some(&Filling::Ended), Some(closed))
            }
        };
        let next = note.next();
        self.commit(ops, filling, next, sync)?;
        *note = next;
        if sync {
            note.durable = next.count;
        }
        Ok(durability)
    }

    fn sync(&self) -> Result<Durability> {
        self.sync_log(&mut self.lock_note())?;
        Ok(Durability::Power)
    }

    fn make_room(&self, _bytes: u64) -> Result<()> {
        // `apply` never asks for it.
        Ok(())
    }

    fn stats(&self) -> Result<EngineStats> {
        reclaim::stats(&self.db)
    }

    fn reclaim(&self, _bytes_max: u64) -> Result<Reclaimed> {
        self.lock_reclaimer().step(&self.db)
    }

    fn bulk_bytes(&self) -> usize {
        usize::try_from(self.config.bulk_bytes).unwrap_or(usize::MAX)
    }
}

impl fmt::Debug for RocksdbEngine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("RocksdbEngine")
            .field("dir", &self.db.dir)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Whether RocksDB's threads write or merge tables.
fn is_busy(rocks: &DB) -> Result<bool, rocksdb::Error> {
    for property in [NUM_RUNNING_FLUSHES, NUM_RUNNING_COMPACTIONS] {
        if rocks.property_int_value(property)?.unwrap_or(0) > 0 {
            return Ok(true);
        }
    }
    Ok(false)
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

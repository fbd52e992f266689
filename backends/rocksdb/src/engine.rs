//! The engine: batches with a number, and the syncs of the log.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use durum_core::engine::{Durability, Engine, EngineSnapshot, EngineStats, Op, Reclaimed};
use durum_core::{Error, ErrorKind, Result};
use rocksdb::properties::BACKGROUND_ERRORS;
use rocksdb::{WriteBatch, WriteOptions};

use crate::NAME;
use crate::config::{Config, VALUE_BYTES_MAX};
use crate::database::Db;
use crate::error::damaged;
use crate::note::{Note, Notes, ROW};
use crate::reclaim::{self, Reclaimer};
use crate::snapshot::RocksdbSnapshot;

const OPEN: &str = "open the database";
const APPLY: &str = "apply a batch";
const SYNC: &str = "sync the database";

/// A batch is in memory twice, and none costs a sync.
const BULK_BYTES: usize = 1 << 20;

/// How often it is tried again where RocksDB's threads are behind.
const STALL_POLL: Duration = Duration::from_millis(1);

/// What RocksDB's record of a row takes besides key and value, about.
const ROW_BYTES: usize = 24;

/// RocksDB as an engine.
pub(crate) struct RocksdbEngine {
    db: Arc<Db>,
    config: Config,
    notes: Notes,
    /// The last batch, and the last one that is durable.
    note: Mutex<Note>,
    reclaimer: Mutex<Reclaimer>,
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
        Ok(RocksdbEngine {
            db: Arc::new(db),
            config,
            notes,
            // What was in the log is in a table now.
            note: Mutex::new(Note {
                count,
                durable: count,
            }),
            reclaimer: Mutex::new(Reclaimer::default()),
        })
    }

    /// Excludes other writers.
    fn lock_note(&self) -> MutexGuard<'_, Note> {
        self.note.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_reclaimer(&self) -> MutexGuard<'_, Reclaimer> {
        self.reclaimer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn batch(&self, ops: &[Op<'_>], note: Note) -> WriteBatch {
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
        batch.put(ROW, self.notes.encode(note));
        batch
    }

    fn commit(&self, ops: &[Op<'_>], note: Note, sync: bool) -> Result<()> {
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        // Else a write that has to wait for tables to be written holds up those who resume after a full disk,
        // who hold up the writing of tables, for ever.
        options.set_no_slowdown(true);
        self.db.write(APPLY, |rocks| {
            loop {
                match rocks.write_opt(self.batch(ops, note), &options) {
                    Err(error)
                        if error.kind() == rocksdb::ErrorKind::Incomplete
                            && rocks.property_int_value(BACKGROUND_ERRORS)? == Some(0) =>
                    {
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
        let next = Note {
            count: note.count + 1,
            ..*note
        };
        self.commit(ops, next, sync)?;
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
        BULK_BYTES
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

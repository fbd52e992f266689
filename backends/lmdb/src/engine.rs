//! The engine: one writer, many snapshots, and the gate between them and changes of the map.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use durum_core::engine::{
    Compact, Durability, Engine, EngineSnapshot, EngineStats, Key, Op, Reclaimed, Table,
};
use durum_core::{Error, ErrorKind, Result};
use heed::{EnvFlags, FlagSetMode, MdbError, PutFlags, RwTxn};

use crate::NAME;
use crate::compact;
use crate::config::{self, Config};
use crate::environment::{Environment, Rows};
use crate::error::{closed, convert};
use crate::reclaim;
use crate::snapshot::LmdbSnapshot;

/// LMDB as an engine.
pub(crate) struct LmdbEngine {
    pub(crate) dir: PathBuf,
    pub(crate) config: Config,
    pub(crate) gate: Arc<Gate>,
    writer: Mutex<Writer>,
}

/// What the one writer remembers.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    /// Whether LMDB's flag for commits below `power` is set at present.
    pub(crate) unsynced_commits: bool,
    /// Whether commits were made that a loss of power would undo.
    pub(crate) unsynced: bool,
    /// Whether there is a finished copy of what the environment holds now, for a compaction.
    pub(crate) copied: bool,
}

/// Lets snapshots in, unless the map is being changed: that must not happen under a reader.
#[derive(Debug)]
pub(crate) struct Gate(Mutex<Inside>);

/// What is behind the gate.
#[derive(Debug)]
pub(crate) struct Inside {
    /// `None` after a failure that left no usable map.
    pub(crate) environment: Option<Arc<Environment>>,
    /// Snapshots that are open.
    pub(crate) snapshots: usize,
}

impl Gate {
    /// A gate to `environment`.
    pub(crate) fn new(environment: Environment) -> Arc<Gate> {
        Arc::new(Gate(Mutex::new(Inside {
            environment: Some(Arc::new(environment)),
            snapshots: 0,
        })))
    }

    pub(crate) fn enter(&self) -> MutexGuard<'_, Inside> {
        // No code under the lock panics; if it did, the fields would still be right.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    pub(crate) fn environment(&self, operation: &'static str) -> Result<&Arc<Environment>> {
        self.environment.as_ref().ok_or_else(|| closed(operation))
    }

    /// An error unless no snapshot is open.
    pub(crate) fn refuse_if_read(&self, operation: &'static str) -> Result<()> {
        if self.snapshots == 0 {
            return Ok(());
        }
        Err(Error::new(ErrorKind::InUse, operation)
            .with_engine(NAME)
            .because(format!("{} snapshots are open", self.snapshots)))
    }
}

impl LmdbEngine {
    pub(crate) fn open(dir: &Path, config: Config) -> Result<LmdbEngine> {
        let environment = Environment::open(dir, &config)?;
        Ok(LmdbEngine {
            dir: dir.to_owned(),
            config,
            gate: Gate::new(environment),
            writer: Mutex::default(),
        })
    }

    /// Excludes other writers.
    pub(crate) fn write(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn environment(&self, operation: &'static str) -> Result<Arc<Environment>> {
        self.gate.enter().environment(operation).map(Arc::clone)
    }

    /// Sets whether commits leave out their sync. `writer` proves that this is the only writer.
    fn set_unsynced(
        &self,
        environment: &Environment,
        writer: &mut Writer,
        unsynced: bool,
    ) -> Result<()> {
        if writer.unsynced_commits == unsynced {
            return Ok(());
        }
        let flag = if self.config.fast {
            EnvFlags::NO_SYNC
        } else {
            EnvFlags::NO_META_SYNC
        };
        let mode = if unsynced {
            FlagSetMode::Enable
        } else {
            FlagSetMode::Disable
        };
        // SAFETY: `writer` is borrowed from its mutex, so no other thread sets flags. The two flags
        // weaken commits below `power` only, as documented; `apply` clears them for `power`.
        unsafe { environment.env.set_flags(flag, mode) }
            .map_err(|error| convert(error, "set the durability"))?;
        writer.unsynced_commits = unsynced;
        Ok(())
    }
}

impl Engine for LmdbEngine {
    fn snapshot(&self) -> Result<Box<dyn EngineSnapshot>> {
        Ok(Box::new(LmdbSnapshot::open(&self.gate)?))
    }

    fn apply(&self, ops: &[Op<'_>], durability: Durability) -> Result<Durability> {
        const APPLY: &str = "apply a batch";
        refuse_large_values(ops)?;
        let mut writer = self.write();
        let environment = self.environment(APPLY)?;
        writer.copied = false;
        let below_power = durability < Durability::Power;
        self.set_unsynced(&environment, &mut writer, below_power)?;
        let mut transaction = environment
            .env
            .write_txn()
            .map_err(|error| convert(error, APPLY))?;
        // An early return drops the transaction, which aborts it.
        write(&environment, &mut transaction, ops)?;
        transaction.commit().map_err(|error| {
            let error = convert(error, "commit a batch");
            // The meta page comes last, so that a commit without room for its pages changes nothing. But
            // where the meta page itself could not be written, LMDB refuses everything from then on.
            if environment.env.read_txn().is_err() {
                error.with_kind(ErrorKind::Io)
            } else if error.kind() == ErrorKind::Io && compact::disk_is_full(&self.dir) {
                error.with_kind(ErrorKind::Full)
            } else {
                error
            }
        })?;
        if below_power {
            writer.unsynced = true;
        } else if writer.unsynced || ops.is_empty() {
            // A synced commit also syncs what went before, but LMDB skips a commit without changes.
            // The batch was committed, so that an error is no `Full`, "nothing was changed".
            let synced = environment.sync();
            synced.map_err(|error| error.with_kind(ErrorKind::Io))?;
            writer.unsynced = false;
        }
        Ok(durability)
    }

    fn sync(&self) -> Result<Durability> {
        let mut writer = self.write();
        self.environment("sync the database")?.sync()?;
        writer.unsynced = false;
        Ok(Durability::Power)
    }

    fn make_room(&self, bytes: u64) -> Result<()> {
        const ROOM: &str = "enlarge the map";
        let _writer = self.write();
        let mut inside = self.gate.enter();
        inside.refuse_if_read(ROOM)?;
        let environment = inside.environment(ROOM)?;
        let now = environment.env.info().map_size as u64;
        // Rows take more than their bytes, and a transaction holds old and new pages at once.
        let wanted = now
            .saturating_add(bytes.saturating_mul(2))
            .max(now.saturating_mul(2));
        let Some(wanted) = config::map_bytes(wanted) else {
            return Err(Error::new(ErrorKind::Full, ROOM)
                .with_engine(NAME)
                .because("the map has the largest size that a process has addresses for"));
        };
        // SAFETY: no transaction is open: writers are shut out by the mutex, snapshots by the gate,
        // and none is open as was checked above.
        let resized = unsafe { environment.env.resize(wanted) };
        resized.map_err(|error| {
            // The old map is gone, so nothing may be read any more.
            inside.environment = None;
            convert(error, ROOM)
        })
    }

    fn stats(&self) -> Result<EngineStats> {
        reclaim::stats(self)
    }

    fn reclaim(&self, _bytes_max: u64) -> Result<Reclaimed> {
        reclaim::reclaim(self)
    }

    fn bulk_bytes(&self) -> usize {
        self.config.bulk_bytes
    }

    fn compact(&self) -> Option<&dyn Compact> {
        Some(self)
    }
}

impl fmt::Debug for LmdbEngine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("LmdbEngine")
            .field("dir", &self.dir)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

fn refuse_large_values(ops: &[Op<'_>]) -> Result<()> {
    for op in ops {
        if let Op::Put { value, .. } = op
            && value.len() as u64 > config::VALUE_BYTES_MAX
        {
            return Err(Error::new(ErrorKind::TooLarge, "apply a batch")
                .with_engine(NAME)
                .because(format!(
                    "a value has {} bytes, and LMDB takes {} at most",
                    value.len(),
                    config::VALUE_BYTES_MAX
                )));
        }
    }
    Ok(())
}

fn write(environment: &Environment, transaction: &mut RwTxn<'_>, ops: &[Op<'_>]) -> Result<()> {
    let mut current: Option<(Table, Rows, Option<Key>)> = None;
    for op in ops {
        let (table, key) = op.row();
        if current.as_ref().is_none_or(|current| current.0 != table) {
            let rows = environment.rows(table)?;
            current = Some((table, rows, last_key(table, rows, transaction)?));
        }
        let Some((_, rows, last)) = &mut current else {
            continue;
        };
        match op {
            Op::Put { value, .. } => {
                let append = last.is_none_or(|last| last < key);
                put(
                    *rows,
                    transaction,
                    key.to_bytes(table).as_ref(),
                    value,
                    append,
                )?;
                if append {
                    *last = Some(key);
                }
            }
            Op::Delete { .. } => {
                rows.delete(transaction, key.to_bytes(table).as_ref())
                    .map_err(|error| convert(error, "delete a row"))?;
            }
        }
    }
    Ok(())
}

fn last_key(table: Table, rows: Rows, transaction: &RwTxn<'_>) -> Result<Option<Key>> {
    let last = rows
        .last(transaction)
        .map_err(|error| convert(error, "find the last row"))?;
    last.map(|(key, _)| {
        Key::from_bytes(table, key)
            .ok_or_else(|| Error::damaged("find the last row", "a key has a wrong length"))
    })
    .transpose()
}

/// Stores a row; one behind the last row fills pages instead of splitting them in half.
fn put(
    rows: Rows,
    transaction: &mut RwTxn<'_>,
    key: &[u8],
    value: &[u8],
    append: bool,
) -> Result<()> {
    let mut stored = Err(heed::Error::Mdb(MdbError::KeyExist));
    if append {
        stored = rows.put_with_flags(transaction, PutFlags::APPEND, key, value);
    }
    if matches!(stored, Err(heed::Error::Mdb(MdbError::KeyExist))) {
        stored = rows.put(transaction, key, value);
    }
    stored.map_err(|error| convert(error, "store a row"))
}

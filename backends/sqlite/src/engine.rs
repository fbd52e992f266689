//! The engine: one connection that writes, and a pool of those that read.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use durum_core::engine::sql::key_integers;
use durum_core::engine::{Compact, Durability, Engine, EngineSnapshot, EngineStats, Op, Reclaimed};
use durum_core::{Error, ErrorKind, Result, ResultExt as _};
use rusqlite::{CachedStatement, Connection, params};

use crate::NAME;
use crate::config::{Config, VALUE_BYTES_MAX};
use crate::error::convert;
use crate::open::{Place, set_checkpoint_on_close};
use crate::reclaim;
use crate::schema;
use crate::snapshot::{Readers, SqliteSnapshot};

const APPLY: &str = "apply a batch";

/// SQLite as an engine.
pub(crate) struct SqliteEngine {
    pub(crate) place: Place,
    pub(crate) readers: Arc<Readers>,
    writer: Mutex<Writer>,
    /// Set by a failed write or sync. The log may then hold what is not on the device, although the
    /// system takes it for written: it must not be copied into the database.
    failed: AtomicBool,
}

/// The connection that writes.
pub(crate) struct Writer {
    /// `None` after a failure that left no usable one.
    connection: Option<Connection>,
    /// The level that the connection is set to.
    level: Option<Durability>,
    /// Whether commits were made that a loss of power would undo.
    pub(crate) unsynced: bool,
    /// The length of the log when a long one could last not be begun anew.
    pub(crate) log_bytes_kept: u64,
    /// Whether there is a finished copy of what the database holds now, for a compaction.
    pub(crate) copied: bool,
}

impl SqliteEngine {
    pub(crate) fn open(dir: &Path, config: Config) -> Result<SqliteEngine> {
        let place = Place::new(dir, config);
        let writer = Writer::open(&place)?;
        Ok(SqliteEngine {
            readers: Arc::new(Readers::new(place.clone())),
            place,
            writer: Mutex::new(writer),
            failed: AtomicBool::new(false),
        })
    }

    /// Notes a result that leaves the disk uncertain.
    pub(crate) fn noted<T>(&self, result: Result<T>) -> Result<T> {
        use ErrorKind::{Full, InUse, TooLarge, Usage};
        if let Err(error) = &result
            && !matches!(error.kind(), Full | InUse | TooLarge | Usage)
        {
            self.failed.store(true, Ordering::Release);
        }
        result
    }

    fn try_apply(&self, ops: &[Op<'_>], durability: Durability) -> Result<Durability> {
        refuse_impossible_rows(ops)?;
        let mut writer = self.write();
        writer.copied = false;
        writer.set_level(durability)?;
        writer.commit(ops).at_path(self.place.file())?;
        if durability < Durability::Power {
            writer.unsynced = true;
        } else if writer.unsynced {
            // A synced commit syncs the whole log, but one that changes nothing writes nothing.
            // The batch was committed, so that this is no `Full`, "nothing was changed".
            self.place
                .sync_log()
                .map_err(|error| error.with_kind(ErrorKind::Io))?;
            writer.unsynced = false;
        }
        reclaim::keep_log_short(&self.place, &mut writer)?;
        Ok(durability)
    }

    /// Excludes other writers.
    pub(crate) fn write(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    /// Opens the database for writing; creates it where there is none.
    pub(crate) fn open(place: &Place) -> Result<Writer> {
        Ok(Writer {
            connection: Some(place.open_writer()?),
            level: None,
            unsynced: false,
            log_bytes_kept: 0,
            copied: false,
        })
    }

    /// The connection, for `operation`.
    pub(crate) fn connection(&self, operation: &'static str) -> Result<&Connection> {
        self.connection.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Poisoned, operation)
                .with_engine(NAME)
                .because("the database was closed after an earlier failure")
                .hint("Open the store again.")
        })
    }

    /// Takes the connection away: there is none from here on.
    pub(crate) fn take_connection(&mut self) -> Option<Connection> {
        self.connection.take()
    }

    /// Sets how commits are synced. Has to be done outside of a transaction.
    pub(crate) fn set_level(&mut self, level: Durability) -> Result<()> {
        if self.level == Some(level) {
            return Ok(());
        }
        // Both of the weaker levels sync at checkpoints: see the crate's documentation.
        let synchronous = if level == Durability::Power {
            "FULL"
        } else {
            "NORMAL"
        };
        self.connection(APPLY)?
            .pragma_update(None, "synchronous", synchronous)
            .map_err(|error| convert(error, "set the durability"))?;
        self.level = Some(level);
        Ok(())
    }

    fn commit(&self, ops: &[Op<'_>]) -> Result<()> {
        // The lock is taken at once: a transaction that begins by reading could fail to write later.
        self.execute("BEGIN IMMEDIATE")?;
        let connection = self.connection(APPLY)?;
        let result = write(connection, ops).and_then(|()| self.execute("COMMIT"));
        let Err(error) = result else {
            return Ok(());
        };
        if !connection.is_autocommit() && self.execute("ROLLBACK").is_err() {
            return Err(error.with_kind(ErrorKind::Io));
        }
        Err(error)
    }

    fn execute(&self, sql: &str) -> Result<()> {
        self.connection(APPLY)?
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute([]))
            .map(drop)
            .map_err(|error| convert(error, APPLY))
    }
}

impl Engine for SqliteEngine {
    fn snapshot(&self) -> Result<Box<dyn EngineSnapshot>> {
        Ok(Box::new(SqliteSnapshot::open(&self.readers)?))
    }

    fn apply(&self, ops: &[Op<'_>], durability: Durability) -> Result<Durability> {
        self.noted(self.try_apply(ops, durability))
    }

    fn sync(&self) -> Result<Durability> {
        let mut writer = self.write();
        self.noted(self.place.sync_log())?;
        writer.unsynced = false;
        Ok(Durability::Power)
    }

    fn make_room(&self, _bytes: u64) -> Result<()> {
        // `apply` never asks for it.
        Ok(())
    }

    fn stats(&self) -> Result<EngineStats> {
        reclaim::stats(self)
    }

    fn reclaim(&self, bytes_max: u64) -> Result<Reclaimed> {
        let result = reclaim::reclaim(self, bytes_max);
        match &result {
            // What cannot be read is where it was, and the log is as good as before.
            Err(error) if matches!(error.kind(), ErrorKind::Damaged | ErrorKind::Unreadable) => {
                result
            }
            _ => self.noted(result),
        }
    }

    fn compact(&self) -> Option<&dyn Compact> {
        Some(self)
    }
}

impl Drop for SqliteEngine {
    fn drop(&mut self) {
        if self.failed.load(Ordering::Acquire) {
            return;
        }
        // Where this fails the log stays, and is copied at the next opening.
        if let Ok(connection) = self.write().connection("close the database") {
            let _error = set_checkpoint_on_close(connection, true);
        }
    }
}

impl fmt::Debug for SqliteEngine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SqliteEngine")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

fn refuse_impossible_rows(ops: &[Op<'_>]) -> Result<()> {
    for op in ops {
        let (_, key) = op.row();
        if key_integers(key).is_none() {
            return Err(Error::new(ErrorKind::Usage, APPLY)
                .with_engine(NAME)
                .because("a key is not below 2^63"));
        }
        if let Op::Put { value, .. } = op
            && value.len() as u64 > VALUE_BYTES_MAX
        {
            return Err(Error::new(ErrorKind::TooLarge, APPLY)
                .with_engine(NAME)
                .because(format!(
                    "a value has {} bytes, and SQLite takes {VALUE_BYTES_MAX} at most",
                    value.len()
                )));
        }
    }
    Ok(())
}

/// Runs the operations in the open transaction. Statements are looked up once for each run of
/// operations of one sort on one table.
fn write(connection: &Connection, ops: &[Op<'_>]) -> Result<()> {
    let failed = |error| convert(error, APPLY);
    let same = |left: &Op<'_>, right: &Op<'_>| {
        left.row().0 == right.row().0
            && std::mem::discriminant(left) == std::mem::discriminant(right)
    };
    for run in ops.chunk_by(same) {
        let Some(first) = run.first() else { continue };
        let statements = schema::of(first.row().0)?;
        let sql = match first {
            Op::Put { .. } => &statements.put,
            Op::Delete { .. } => &statements.delete,
        };
        let mut statement = connection.prepare_cached(sql).map_err(failed)?;
        for op in run {
            execute(&mut statement, op).map_err(failed)?;
        }
    }
    Ok(())
}

fn execute(statement: &mut CachedStatement<'_>, op: &Op<'_>) -> rusqlite::Result<()> {
    let (table, key) = op.row();
    // Checked before the transaction began.
    let Some((first, second)) = key_integers(key) else {
        return Err(rusqlite::Error::InvalidQuery);
    };
    match (*op, table.is_pair()) {
        (Op::Put { value, .. }, false) => statement.execute(params![first, value]),
        (Op::Put { value, .. }, true) => statement.execute(params![first, second, value]),
        (Op::Delete { .. }, false) => statement.execute(params![first]),
        (Op::Delete { .. }, true) => statement.execute(params![first, second]),
    }
    .map(drop)
}

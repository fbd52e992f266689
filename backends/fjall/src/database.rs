//! An open database of fjall, shared by engine and snapshots; it is not touched again after it panicked.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use durum_core::{Error, ErrorKind, IoResultExt as _, Result};
use fjall::{AbstractTree as _, Database, Keyspace, KeyspaceCreateOptions, PersistMode, Snapshot};

use crate::NAME;
use crate::config::{Config, JOURNAL_BYTES_MAX, THREADS};
use crate::error::{damaged, guarded, poisoned};

/// The keyspace of all tables.
const KEYSPACE: &str = "rows";

/// The file without which fjall would make a new database.
const VERSION: &str = "version";

const OPEN: &str = "open the database";
const RENEW: &str = "take a snapshot";
const WAIT: &str = "wait for tables to be written";

/// With so many memtables that wait to be written, or runs of tables that wait to be merged, writing waits.
/// From four and thirty on fjall itself would, also where nobody writes and merges any more.
const MEMTABLES_MAX: usize = 2;
const RUNS_MAX: usize = 20;
const WAIT_POLL: Duration = Duration::from_millis(1);

/// An open database.
pub(crate) struct Db {
    /// `None` only while it is being dropped.
    opened: Option<Opened>,
    pub(crate) dir: PathBuf,
    /// A snapshot that was taken after the last batch; see [`Db::snapshot`].
    latest: Mutex<Snapshot>,
    /// Set by a panic, after which fjall's state cannot be relied upon.
    broken: AtomicBool,
}

/// fjall's handles.
pub(crate) struct Opened {
    // Dropped before the database, which waits for its threads.
    pub(crate) rows: Keyspace,
    pub(crate) database: Database,
}

impl Db {
    /// Makes a database in a new directory. Not durable before [`crate::place::sync_all`].
    pub(crate) fn create(dir: &Path, config: &Config) -> Result<Db> {
        fs::create_dir(dir).during(OPEN, dir)?;
        Db::with_keyspace(dir, config, |database| {
            database.keyspace(KEYSPACE, || {
                KeyspaceCreateOptions::default().max_memtable_size(config.memtable_bytes)
            })
        })
    }

    /// Opens a database, of which everything is durable.
    pub(crate) fn open(dir: &Path, config: &Config) -> Result<Db> {
        let version = dir.join(VERSION);
        match fs::metadata(&version) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(damaged(OPEN, "the file is missing").with_path(version));
            }
            Err(error) => return Err(Error::io(error, OPEN).with_engine(NAME).with_path(version)),
        }
        let mut is_there = true;
        let db = Db::with_keyspace(dir, config, |database| {
            is_there = database.keyspace_exists(KEYSPACE);
            // It would be made.
            match is_there {
                true => database.keyspace(KEYSPACE, KeyspaceCreateOptions::default),
                false => Err(fjall::Error::Unrecoverable),
            }
        });
        match is_there {
            true => db,
            false => Err(damaged(OPEN, "the rows are missing").with_path(dir)),
        }
    }

    fn with_keyspace(
        dir: &Path,
        config: &Config,
        keyspace: impl FnOnce(&Database) -> fjall::Result<Keyspace>,
    ) -> Result<Db> {
        let opened = guarded(dir, OPEN, || {
            let database = Database::builder(dir)
                .cache_size(config.cache_bytes)
                .max_journaling_size(JOURNAL_BYTES_MAX)
                .worker_threads(THREADS)
                .open()?;
            Ok(Opened {
                rows: keyspace(&database)?,
                database,
            })
        })?;
        Ok(Db {
            latest: Mutex::new(opened.database.snapshot()),
            opened: Some(opened),
            dir: dir.to_owned(),
            broken: AtomicBool::new(false),
        })
    }

    /// Runs `work` on the database.
    pub(crate) fn run<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Opened) -> fjall::Result<T>,
    ) -> Result<T> {
        let opened = self.opened.as_ref();
        let Some(opened) = opened.filter(|_| !self.broken.load(Ordering::Acquire)) else {
            return Err(poisoned(operation, "damage was found earlier").with_path(&self.dir));
        };
        let mut finished = false;
        let result = guarded(&self.dir, operation, || {
            let result = work(opened);
            finished = true;
            result
        });
        if !finished {
            self.broken.store(true, Ordering::Release);
        }
        result.map_err(|error| self.with_cause(error))
    }

    /// The state after the last batch.
    ///
    /// One that is taken while a batch is being applied can show half of it: when one of fjall's threads has
    /// written or merged tables it makes all numbers visible that were given out, that of the batch
    /// included. So the writer takes one after each batch, and others get copies of that.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.latest().clone()
    }

    /// Lets what was applied be seen. Nothing may be being applied.
    pub(crate) fn renew_snapshot(&self) -> Result<()> {
        let snapshot = self.run(RENEW, |opened| Ok(opened.database.snapshot()))?;
        *self.latest() = snapshot;
        Ok(())
    }

    fn latest(&self) -> MutexGuard<'_, Snapshot> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names a full disk as the cause, where fjall only says that something failed.
    fn with_cause(&self, error: Error) -> Error {
        if error.kind() != ErrorKind::Poisoned {
            return error;
        }
        let probe = self.dir.join("probe");
        let written = fs::write(&probe, vec![0; PROBE_BYTES]);
        let _left_for_nobody = fs::remove_file(&probe);
        match written {
            Err(cause) if Error::io(clone(&cause), OPEN).kind() == ErrorKind::Full => {
                error.because(cause.to_string()).caused_by(cause)
            }
            _ => error,
        }
    }

    /// Waits until fjall's threads are not far behind; an error where they have ended.
    pub(crate) fn await_threads(&self) -> Result<()> {
        self.run(WAIT, |opened| {
            let rows = &opened.rows;
            while rows.sealed_memtable_count() >= MEMTABLES_MAX
                || rows.tree.l0_run_count() >= RUNS_MAX
            {
                // This tells whether one has failed.
                opened.database.persist(PersistMode::Buffer)?;
                std::thread::sleep(WAIT_POLL);
            }
            Ok(())
        })
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        let Some(opened) = self.opened.take() else {
            return;
        };
        // fjall may panic here, too.
        let _panic = catch_unwind(AssertUnwindSafe(|| {
            // One of its threads may let go of the journal last, some time after this. What is still
            // buffered it would write then, over what the next opening has written.
            let _error = opened.database.persist(PersistMode::SyncAll);
            drop(opened);
        }));
    }
}

fn clone(error: &std::io::Error) -> std::io::Error {
    error
        .raw_os_error()
        .map_or_else(|| error.kind().into(), std::io::Error::from_raw_os_error)
}

/// More than a full disk has left where a write did not fit.
const PROBE_BYTES: usize = 1 << 20;

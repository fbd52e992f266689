//! An open database of fjall, shared by engine and snapshots; it is not touched again after it panicked.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use durum_core::engine::Table;
use durum_core::{Error, ErrorKind, IoResultExt as _, Result};
use fjall::{AbstractTree as _, Database, Keyspace, KeyspaceCreateOptions, PersistMode, Snapshot};

use crate::NAME;
use crate::config::{Config, JOURNAL_BYTES_MAX, THREADS};
use crate::error::{damaged, guarded, poisoned};

/// The keyspace of all tables but one.
const ROWS: &str = "rows";

/// The keyspace of what changes with every batch: [`Table::Meta`], and this backend's own rows.
const NOTES: &str = "notes";

/// Memory for new rows of it, which are few and small.
const NOTES_MEMTABLE_BYTES_MAX: u64 = 4 << 20;

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
    /// The same in a database that was made before there were two.
    pub(crate) notes: Keyspace,
    pub(crate) database: Database,
}

impl Opened {
    /// Where the rows of a table are.
    pub(crate) fn keyspace(&self, table: Table) -> &Keyspace {
        match table {
            Table::Meta => &self.notes,
            _ => &self.rows,
        }
    }

    /// Where a row is; see [`Opened::keyspace`].
    pub(crate) fn keyspace_of(&self, key: &[u8]) -> &Keyspace {
        let table = key.first().copied().map(usize::from);
        match table.and_then(Table::from_index) {
            Some(table) => self.keyspace(table),
            None => &self.notes,
        }
    }

    /// Each keyspace once.
    pub(crate) fn keyspaces(&self) -> impl Iterator<Item = &Keyspace> {
        let notes = (self.notes != self.rows).then_some(&self.notes);
        std::iter::once(&self.rows).chain(notes)
    }
}

impl Db {
    /// Makes a database in a new directory. Not durable before [`crate::place::sync_all`].
    pub(crate) fn create(dir: &Path, config: &Config) -> Result<Db> {
        fs::create_dir(dir).during(OPEN, dir)?;
        Db::with_keyspaces(dir, config, |database| {
            let keyspace = |name, memtable_bytes| {
                let options = KeyspaceCreateOptions::default();
                database.keyspace(name, || options.max_memtable_size(memtable_bytes))
            };
            let rows = keyspace(ROWS, config.memtable_bytes)?;
            let notes_bytes = config.memtable_bytes.min(NOTES_MEMTABLE_BYTES_MAX);
            Ok((rows, keyspace(NOTES, notes_bytes)?))
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
        let db = Db::with_keyspaces(dir, config, |database| {
            is_there = database.keyspace_exists(ROWS);
            // It would be made.
            if !is_there {
                return Err(fjall::Error::Unrecoverable);
            }
            let rows = database.keyspace(ROWS, KeyspaceCreateOptions::default)?;
            // Where it is missing from a database that had it, the number of the last batch is, too.
            let notes = match database.keyspace_exists(NOTES) {
                true => database.keyspace(NOTES, KeyspaceCreateOptions::default)?,
                false => rows.clone(),
            };
            Ok((rows, notes))
        });
        match is_there {
            true => db,
            false => Err(damaged(OPEN, "the rows are missing").with_path(dir)),
        }
    }

    fn with_keyspaces(
        dir: &Path,
        config: &Config,
        keyspaces: impl FnOnce(&Database) -> fjall::Result<(Keyspace, Keyspace)>,
    ) -> Result<Db> {
        let opened = guarded(dir, OPEN, || {
            let database = Database::builder(dir)
                .cache_size(config.cache_bytes)
                .max_journaling_size(JOURNAL_BYTES_MAX)
                .worker_threads(THREADS)
                .open()?;
            let (rows, notes) = keyspaces(&database)?;
            Ok(Opened {
                rows,
                notes,
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
            for rows in opened.keyspaces() {
                while rows.sealed_memtable_count() >= MEMTABLES_MAX
                    || rows.tree.l0_run_count() >= RUNS_MAX
                {
                    // This tells whether one has failed.
                    opened.database.persist(PersistMode::Buffer)?;
                    std::thread::sleep(WAIT_POLL);
                }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use durum_core::engine::{
        Backend as _, Compact as _, Durability, Engine as _, Key, Op, Options,
    };

    use super::*;
    use crate::engine::FjallEngine;
    use crate::place::{Current, sync_all};

    /// How databases were made before the notes had a keyspace of their own.
    fn create_with_one_keyspace(dir: &Path, config: &Config) {
        let first = Current::first(dir);
        fs::create_dir(&first.database).unwrap();
        let db = Db::with_keyspaces(&first.database, config, |database| {
            let rows = database.keyspace(ROWS, KeyspaceCreateOptions::default)?;
            Ok((rows.clone(), rows))
        });
        drop(db.unwrap());
        sync_all(&first.database).unwrap();
        first.write(dir).unwrap();
    }

    fn keyspaces(engine: &FjallEngine) -> usize {
        let count = |opened: &Opened| Ok(opened.keyspaces().count());
        engine.db().run(OPEN, count).unwrap()
    }

    #[test]
    fn an_older_database_is_used_as_it_is_until_it_is_compacted() {
        let home = tempfile::tempdir().unwrap();
        let config = Config::new(&Options::default());
        create_with_one_keyspace(home.path(), &config);
        let put = |table, key, value| {
            let key = Key::from(key);
            Op::Put { table, key, value }
        };
        let large = vec![5; 3 << 20];
        let ops = [
            put(Table::Objects, 1, large.as_slice()),
            put(Table::Dictionaries, 2, b"two"),
            put(Table::Meta, 3, b"three"),
        ];
        let engine = FjallEngine::open(home.path(), config).unwrap();
        engine.apply(&ops, Durability::Power).unwrap();
        drop(engine);
        for round in 0..3 {
            let engine = FjallEngine::open(home.path(), config).unwrap();
            assert_eq!(keyspaces(&engine), if round == 2 { 2 } else { 1 });
            for op in &ops {
                let Op::Put { table, key, value } = *op else {
                    continue;
                };
                let snapshot = engine.snapshot().unwrap();
                let mut found = Vec::new();
                let is_there =
                    snapshot.get(table, key, &mut |bytes| found.extend_from_slice(bytes));
                assert!(is_there.unwrap() && found == value);
                let mut cursor = snapshot.cursor(table, Key::MIN).unwrap();
                assert_eq!(cursor.next().unwrap(), Some((key, value)));
                assert_eq!(cursor.next().unwrap(), None);
            }
            if round == 1 {
                engine.rewrite(&mut |_, _| {}).unwrap();
                engine.swap().unwrap();
                assert_eq!(keyspaces(&engine), 2);
            }
        }
        crate::FjallBackend
            .open(home.path(), &Options::default())
            .unwrap();
    }
}

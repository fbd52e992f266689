//! An open database of redb, shared by engine and snapshots; it is not touched again after it panicked.

use std::fs::{self, File, OpenOptions};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use durum_core::engine::Table;
use durum_core::{Error, ErrorKind, IoResultExt as _, Result};
use redb::{Database, ReadableDatabase as _, TableDefinition};

use crate::NAME;
use crate::config::Config;
use crate::error::{earlier_failure, guarded, poisoned};
use crate::file::{Failure, WatchedFile};

const OPEN: &str = "open the database";

/// A table whose keys have `N` bytes.
pub(crate) type Rows<const N: usize> = TableDefinition<'static, &'static [u8; N], &'static [u8]>;

/// The table with single keys of this name.
pub(crate) const fn single(table: &'static str) -> Rows<8> {
    TableDefinition::new(table)
}

/// The table with pairs as keys of this name.
pub(crate) const fn pair(table: &'static str) -> Rows<16> {
    TableDefinition::new(table)
}

/// An open database.
pub(crate) struct Base {
    /// `None` only while it is being dropped.
    db: Option<Database>,
    path: PathBuf,
    failure: Failure,
    /// Set by a panic, after which redb's state cannot be relied upon.
    broken: AtomicBool,
}

impl Base {
    /// Makes a database with all tables in a new file; durable but for the file's name.
    pub(crate) fn create(path: &Path, config: &Config) -> Result<Base> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)
            .during(OPEN, path)?;
        let base = Base::with_file(path, file, config)?;
        base.run("create the tables", |db| {
            let transaction = db.begin_write()?;
            for table in Table::ALL {
                match table.is_pair() {
                    false => drop(transaction.open_table(single(table.name()))?),
                    true => drop(transaction.open_table(pair(table.name()))?),
                }
            }
            Ok(transaction.commit()?)
        })?;
        Ok(base)
    }

    /// Opens the database in a file that exists, and makes sure that its tables are there.
    pub(crate) fn open(path: &Path, config: &Config) -> Result<Base> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.during(OPEN, path)?;
        // redb would make an empty database in it.
        if file.metadata().during(OPEN, path)?.len() == 0 {
            return Err(Error::damaged(OPEN, "the file is empty")
                .with_engine(NAME)
                .with_path(path));
        }
        // A killed process may have left writes in the system's cache. What redb goes by when it opens
        // must not be undone by a loss of power after it.
        file.sync_all().during(OPEN, path)?;
        let base = Base::with_file(path, file, config)?;
        base.run(OPEN, |db| {
            let transaction = db.begin_read()?;
            for table in Table::ALL {
                match table.is_pair() {
                    false => drop(transaction.open_table(single(table.name()))?),
                    true => drop(transaction.open_table(pair(table.name()))?),
                }
            }
            Ok(())
        })?;
        Ok(base)
    }

    fn with_file(path: &Path, file: File, config: &Config) -> Result<Base> {
        let failure = Failure::default();
        let mut builder = Database::builder();
        builder.set_cache_size(config.cache_bytes);
        let told = AtomicBool::new(false);
        let name = path.display().to_string();
        builder.set_repair_callback(move |_| {
            if !told.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    path = name,
                    "redb was not closed: the file is being checked"
                );
            }
        });
        let opened = guarded(OPEN, || {
            let file = WatchedFile::new(file, failure.clone())?;
            Ok(builder.create_with_backend(file)?)
        });
        Ok(Base {
            db: Some(opened.map_err(|error| error.with_path(path))?),
            path: path.to_owned(),
            failure,
            broken: AtomicBool::new(false),
        })
    }

    /// Runs `work` on the database.
    pub(crate) fn run<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T> {
        let Some(db) = self.db.as_ref() else {
            return Err(poisoned(operation, "the database was closed"));
        };
        self.guard(operation, || work(db))
    }

    /// Runs `work` on what was got from the database.
    pub(crate) fn guard<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce() -> Result<T, redb::Error>,
    ) -> Result<T> {
        if self.broken.load(Ordering::Acquire) {
            return Err(poisoned(operation, "damage was found earlier").with_path(&self.path));
        }
        let mut finished = false;
        let result = guarded(operation, || {
            let result = work();
            finished = true;
            result
        });
        if !finished {
            self.broken.store(true, Ordering::Release);
        }
        result.map_err(|error| self.with_failure(error, operation).with_path(&self.path))
    }

    /// Names what failed first, where redb does not.
    fn with_failure(&self, error: Error, operation: &'static str) -> Error {
        match self.failure.found() {
            Some(earlier) if error.kind() == ErrorKind::Poisoned => {
                earlier_failure(earlier, operation)
            }
            _ => error,
        }
    }

    /// Closes the database in order, which dropping it does as well, without a word.
    pub(crate) fn close(mut self) -> Result<()> {
        let db = self.db.take();
        self.guard("close the database", || match db {
            Some(db) => Ok(db.close()?),
            None => Ok(()),
        })
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        let db = self.db.take();
        // redb writes when it is dropped, and may panic there as well.
        let _panic = catch_unwind(AssertUnwindSafe(|| drop(db)));
    }
}

/// Removes a file that may not be there; durably, where it was.
pub(crate) fn remove(path: &Path, operation: &'static str) -> Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync_dir(path.parent().unwrap_or(path), operation),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io(error, operation)
            .with_engine(NAME)
            .with_path(path)),
    }
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_dir(dir: &Path, operation: &'static str) -> Result<()> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .during(operation, dir)
}

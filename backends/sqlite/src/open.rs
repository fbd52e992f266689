//! Opening and creating the database, and the connections to it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use durum_core::engine::Table;
use durum_core::{Error, ErrorKind, IoResultExt as _, Result, ResultExt as _};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::NAME;
use crate::config::Config;
use crate::error::convert;
use crate::schema::{self, APPLICATION_ID};

const FILE: &str = "objects.sqlite";

/// What a compaction makes.
const COPY: &str = "objects.sqlite.compact";

/// What SQLite appends to the database's name for its log, the index of that, and its journal.
const LOG: &str = "-wal";
const INDEX: &str = "-shm";
const JOURNAL: &str = "-journal";

const OPEN: &str = "open the database";

/// How long a writer waits for a shell or another program that has the file locked.
pub(crate) const BUSY_WAIT: Duration = Duration::from_secs(10);

/// Four statements for each table and some more.
const STATEMENTS_CACHED: usize = 64;

/// Where the database lies, and how connections to it are made.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) dir: PathBuf,
    pub(crate) config: Config,
    name: &'static str,
}

impl Place {
    /// The database of the directory `dir`.
    pub(crate) fn new(dir: &Path, config: Config) -> Place {
        Place {
            dir: dir.to_owned(),
            config,
            name: FILE,
        }
    }

    /// Its copy, for a compaction.
    pub(crate) fn copy(&self) -> Place {
        Place {
            name: COPY,
            ..self.clone()
        }
    }

    /// The database.
    pub(crate) fn file(&self) -> PathBuf {
        self.dir.join(self.name)
    }

    /// The write-ahead log.
    pub(crate) fn log(&self) -> PathBuf {
        self.beside(LOG)
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        self.dir.join(format!("{}{suffix}", self.name))
    }

    /// All files of the database, which comes first.
    pub(crate) fn files(&self) -> [PathBuf; 4] {
        [
            self.file(),
            self.log(),
            self.beside(INDEX),
            self.beside(JOURNAL),
        ]
    }

    /// Removes those of the files that there are.
    pub(crate) fn remove(paths: &[PathBuf]) -> Result<()> {
        for path in paths {
            match fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io(error, "remove a file").with_path(path));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The connection that writes; creates the database where the directory is empty.
    pub(crate) fn open_writer(&self) -> Result<Connection> {
        self.try_open_writer().map_err(|error| {
            // Where there is no room for its journal, SQLite says only that it cannot open it.
            let full = match error.kind() {
                ErrorKind::Unreadable => self.is_full(),
                _ => None,
            };
            full.unwrap_or(error)
        })
    }

    /// The error of a disk that takes no more files.
    fn is_full(&self) -> Option<Error> {
        let path = self.beside("-probe");
        let tried = File::create(&path);
        let _left = fs::remove_file(&path);
        let full = |error: &std::io::Error| error.kind() == std::io::ErrorKind::StorageFull;
        let error = tried.err().filter(full)?;
        Some(
            Error::io(error, OPEN)
                .with_engine(NAME)
                .with_path(self.file()),
        )
    }

    fn try_open_writer(&self) -> Result<Connection> {
        let created = self.is_empty()?;
        if created {
            // SQLite ignores it when the directory cannot be synced; we do not.
            File::create_new(self.file()).during(OPEN, self.file())?;
            self.sync_dir()?;
        }
        // What a compaction left that did not end.
        Place::remove(&self.copy().files())?;
        let connection = self.connect(created, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        if created {
            self.create(&connection).at_path(self.file())?;
        } else {
            check(&connection).at_path(self.file())?;
        }
        // So it is after a compaction, and after a creation or a switch that was interrupted. Commits
        // with a rollback journal would end by removing it, which SQLite does not sync.
        if journal_mode(&connection)? != "wal" {
            set_wal(&connection)?;
        }
        let pages = (self.config.log_bytes / page_bytes(&connection)?).max(1);
        let set = |name: &str, value: i64| pragma(&connection, name, value);
        set(
            "wal_autocheckpoint",
            i64::try_from(pages).unwrap_or(i64::MAX),
        )?;
        set(
            "journal_size_limit",
            i64::try_from(self.config.log_bytes).unwrap_or(i64::MAX),
        )?;
        // Reading has made the log. SQLite syncs the directory that names it with its first commit, but
        // goes on where that fails, and a loss of power then takes the log with all commits in it.
        self.sync_dir()?;
        Ok(connection)
    }

    /// A connection for reading.
    pub(crate) fn open_reader(&self) -> Result<Connection> {
        self.connect(false, OpenFlags::SQLITE_OPEN_READ_ONLY)
    }

    /// Makes everything durable that was committed: the log, and with it what is not yet in the
    /// database. What is there already was synced by the checkpoint.
    ///
    /// SQLite's own checkpoint is not enough: it syncs nothing where a snapshot keeps it from going
    /// further. POSIX drops a process's locks on a file that it closes, but SQLite has none on the log.
    pub(crate) fn sync_log(&self) -> Result<()> {
        const SYNC: &str = "sync the log";
        match File::open(self.log()) {
            Ok(log) => log.sync_all().during(SYNC, self.log())?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io(error, SYNC).with_path(self.log())),
        }
        self.sync_dir()
    }

    /// Makes the directory's entries durable.
    pub(crate) fn sync_dir(&self) -> Result<()> {
        File::open(&self.dir)
            .and_then(|dir| dir.sync_all())
            .during("sync the directory", &self.dir)
    }

    fn is_empty(&self) -> Result<bool> {
        let reason = match fs::metadata(self.file()) {
            Ok(file) if file.len() == 0 => "the file is empty",
            Ok(_) => return Ok(false),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let mut entries = fs::read_dir(&self.dir).during(OPEN, &self.dir)?;
                if entries.next().is_none() {
                    return Ok(true);
                }
                "the file is missing"
            }
            Err(error) => return Err(Error::io(error, OPEN).with_path(self.file())),
        };
        Err(Error::damaged(OPEN, reason)
            .with_engine(NAME)
            .with_path(self.file()))
    }

    fn connect(&self, create: bool, access: OpenFlags) -> Result<Connection> {
        let mut flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        if create {
            flags |= OpenFlags::SQLITE_OPEN_CREATE;
        }
        let failed = |error| convert(error, OPEN).with_path(self.file());
        let connection = Connection::open_with_flags(self.file(), flags).map_err(failed)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
        connection.busy_timeout(BUSY_WAIT).map_err(failed)?;
        // The engine allows it when it is closed in order: see its `drop`.
        set_checkpoint_on_close(&connection, false).map_err(failed)?;
        // Negative numbers are KiB.
        let cache = i64::try_from(self.config.cache_bytes >> 10).unwrap_or(i64::MAX);
        pragma(&connection, "cache_size", -cache.max(1))?;
        // A damaged page is noticed before its cells are used.
        pragma(&connection, "cell_size_check", 1)?;
        Ok(connection)
    }

    fn create(&self, connection: &Connection) -> Result<()> {
        let failed = |error| convert(error, "create the tables");
        // These three have to come before the first table, in this order.
        pragma(connection, "page_size", self.config.page_bytes as i64)?;
        connection
            .pragma_update(None, "auto_vacuum", "INCREMENTAL")
            .map_err(failed)?;
        set_wal(connection)?;
        // Reading makes the log. It is named durably before SQLite syncs the directory with its first
        // commit, since a failure of that would go unnoticed and the log be lost with the power.
        read_schema(connection).map_err(failed)?;
        self.sync_dir()?;
        connection
            .pragma_update(None, "synchronous", "FULL")
            .map_err(failed)?;
        connection
            .execute_batch("BEGIN IMMEDIATE")
            .map_err(failed)?;
        pragma(connection, "application_id", APPLICATION_ID)?;
        for table in Table::ALL {
            let sql = &schema::of(table)?.create;
            connection.execute(sql, []).map_err(failed)?;
        }
        connection.execute_batch("COMMIT").map_err(failed)?;
        self.sync_log()
    }
}

/// Makes sure that the file is a Durum store's and that its tables are there.
fn check(connection: &Connection) -> Result<()> {
    let failed = |error| convert(error, OPEN);
    let id: i64 = connection
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(failed)?;
    if id != APPLICATION_ID {
        return Err(Error::damaged(OPEN, "the file was not written by Durum").with_engine(NAME));
    }
    for table in Table::ALL {
        // Fails where the table or one of its columns is missing.
        connection
            .prepare(&schema::of(table)?.scan)
            .map_err(|error| convert(error, OPEN).with_kind(ErrorKind::Damaged))?;
    }
    Ok(())
}

/// Bytes of a page.
pub(crate) fn page_bytes(connection: &Connection) -> Result<u64> {
    pragma_value(connection, "page_size").map(|bytes| bytes.max(1))
}

/// The value of a pragma that is a number.
pub(crate) fn pragma_value(connection: &Connection, name: &str) -> Result<u64> {
    let value: i64 = connection
        .pragma_query_value(None, name, |row| row.get(0))
        .map_err(|error| convert(error, "read a setting"))?;
    Ok(u64::try_from(value).unwrap_or(0))
}

fn pragma(connection: &Connection, name: &str, value: i64) -> Result<()> {
    connection
        .pragma_update(None, name, value)
        .map_err(|error| convert(error, "change a setting"))
}

/// Whether the last connection copies the log into the database when it is closed.
pub(crate) fn set_checkpoint_on_close(connection: &Connection, on: bool) -> rusqlite::Result<()> {
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !on)
        .map(drop)
}

pub(crate) fn journal_mode(connection: &Connection) -> Result<String> {
    connection
        .pragma_query_value(None, "journal_mode", |row| row.get(0))
        .map_err(|error| convert(error, OPEN))
}

fn read_schema(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
}

fn set_wal(connection: &Connection) -> Result<()> {
    let failed = |error| convert(error, "switch to the write-ahead log");
    connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))
        .map_err(failed)?;
    if journal_mode(connection)? == "wal" {
        // Where the disk fails at the wrong moment the switch reports success and is undone: only
        // the next reading of the file tells.
        read_schema(connection).map_err(failed)?;
        if journal_mode(connection)? == "wal" {
            return Ok(());
        }
        return Err(Error::new(ErrorKind::Io, "switch to the write-ahead log")
            .with_engine(NAME)
            .because("it was undone, since a write or a sync failed"));
    }
    let mode = journal_mode(connection)?;
    Err(
        Error::new(ErrorKind::Unsupported, "switch to the write-ahead log")
            .with_engine(NAME)
            .because(format!("the database stays in the mode {mode}"))
            .hint("Look at the disk, or choose another engine: this file system may allow no WAL."),
    )
}

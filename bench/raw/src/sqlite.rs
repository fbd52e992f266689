//! SQLite through rusqlite: prepared statements, inserts in large transactions, a connection for each
//! reader.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use durum_core::{IoResultExt as _, Result};
use rusqlite::{Connection, OptionalExtension as _, Statement, Transaction, params};

use crate::{DOING, Database, Load, Reader, Rows, failed, lock};

/// As Durum's backend sets it, but that it syncs only when the log is copied into the database.
const SETTINGS: &str = "
    PRAGMA page_size = 4096;
    PRAGMA auto_vacuum = INCREMENTAL;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA cache_size = -8192;
    PRAGMA wal_autocheckpoint = 4096;
    CREATE TABLE objects (oid INTEGER PRIMARY KEY, record BLOB NOT NULL);
";

const FILE: &str = "objects.sqlite";
const GET: &str = "SELECT record FROM objects WHERE oid = ?1";
const DELETE: &str = "DELETE FROM objects WHERE oid = ?1";
const PUT: &str = "INSERT OR REPLACE INTO objects (oid, record) VALUES (?1, ?2)";

/// One table of a database with a write-ahead log.
pub(crate) struct SqliteLoad {
    connection: Connection,
    path: PathBuf,
}

impl SqliteLoad {
    pub(crate) fn create(dir: &Path) -> Result<SqliteLoad> {
        let path = dir.join(FILE);
        let connection = Connection::open(&path).map_err(failed)?;
        connection.execute_batch(SETTINGS).map_err(failed)?;
        Ok(SqliteLoad { connection, path })
    }
}

impl Load for SqliteLoad {
    fn write(&mut self, rows: &Rows) -> Result<()> {
        let transaction = self.connection.transaction().map_err(failed)?;
        {
            let mut insert = transaction
                .prepare_cached("INSERT INTO objects (oid, record) VALUES (?1, ?2)")
                .map_err(failed)?;
            for (key, value) in rows.iter() {
                let key = i64::try_from(key).map_err(failed)?;
                insert.execute(params![key, value]).map_err(failed)?;
            }
        }
        transaction.commit().map_err(failed)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        // The last connection copies the log into the database when it is closed, and syncs that.
        self.connection
            .close()
            .map_err(|(_, error)| failed(error))?;
        File::open(&self.path)
            .and_then(|file| file.sync_all())
            .during(DOING, &self.path)
    }
}

/// The same, opened again.
pub(crate) struct SqliteDatabase {
    path: PathBuf,
    writer: Mutex<Writer>,
    /// Connections that nobody reads from at the moment.
    idle: Mutex<Vec<Connection>>,
}

struct Writer {
    connection: Connection,
    /// Whether a transaction is synced when it is committed.
    syncs: bool,
}

fn connect(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path).map_err(failed)?;
    let settings = "PRAGMA cache_size = -8192; PRAGMA wal_autocheckpoint = 4096; \
                    PRAGMA synchronous = FULL;";
    connection.execute_batch(settings).map_err(failed)?;
    Ok(connection)
}

impl SqliteDatabase {
    pub(crate) fn open(dir: &Path) -> Result<SqliteDatabase> {
        let path = dir.join(FILE);
        Ok(SqliteDatabase {
            writer: Mutex::new(Writer {
                connection: connect(&path)?,
                syncs: true,
            }),
            idle: Mutex::default(),
            path,
        })
    }

    fn connection(&self) -> Result<Connection> {
        let idle = lock(&self.idle).pop();
        idle.map_or_else(|| connect(&self.path), Ok)
    }

    fn transact(
        &self,
        durable: bool,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<()> {
        let mut writer = lock(&self.writer);
        if writer.syncs != durable {
            let mode = if durable { "FULL" } else { "NORMAL" };
            let connection = &writer.connection;
            connection
                .pragma_update(None, "synchronous", mode)
                .map_err(failed)?;
            writer.syncs = durable;
        }
        let transaction = writer.connection.transaction().map_err(failed)?;
        change(&transaction).map_err(failed)?;
        transaction.commit().map_err(failed)
    }
}

impl Database for SqliteDatabase {
    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        let connection = self.connection()?;
        connection.execute_batch("BEGIN").map_err(failed)?;
        Ok(Box::new(SqliteReader {
            database: self,
            connection: Some(connection),
        }))
    }

    fn get(&self, key: u64, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let connection = self.connection()?;
        let found = get(&connection, key, visit);
        lock(&self.idle).push(connection);
        found
    }

    fn write(&self, rows: &Rows, deletes: &[u64], durable: bool) -> Result<()> {
        self.transact(durable, |transaction| {
            let mut put = transaction.prepare_cached(PUT)?;
            for (key, value) in rows.iter() {
                put.execute(params![key.cast_signed(), value])?;
            }
            let mut delete = transaction.prepare_cached(DELETE)?;
            for key in deletes {
                delete.execute([key.cast_signed()])?;
            }
            Ok(())
        })
    }
}

fn get(connection: &Connection, key: u64, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
    let mut statement = connection.prepare_cached(GET).map_err(failed)?;
    get_with(&mut statement, key, visit).map_err(failed)
}

fn get_with(
    statement: &mut Statement<'_>,
    key: u64,
    visit: &mut dyn FnMut(&[u8]),
) -> rusqlite::Result<bool> {
    let row = statement.query_row([key.cast_signed()], |row| {
        visit(row.get_ref(0)?.as_blob()?);
        Ok(())
    });
    row.optional().map(|row| row.is_some())
}

struct SqliteReader<'a> {
    database: &'a SqliteDatabase,
    /// `None` only while it is being dropped.
    connection: Option<Connection>,
}

impl SqliteReader<'_> {
    fn connection(&self) -> Result<&Connection> {
        self.connection
            .as_ref()
            .ok_or_else(|| failed("the connection was closed"))
    }

    /// Shows the keys and values that a statement finds.
    fn query(
        &self,
        statement: &str,
        bounds: &[i64],
        visit: &mut dyn FnMut(u64, &[u8]),
    ) -> Result<()> {
        let statement = self.connection()?.prepare_cached(statement);
        let mut statement = statement.map_err(failed)?;
        let bounds = rusqlite::params_from_iter(bounds);
        let mut rows = statement.query(bounds).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let key: i64 = row.get(0).map_err(failed)?;
            let value = row.get_ref(1).map_err(failed)?;
            visit(key.cast_unsigned(), value.as_blob().map_err(failed)?);
        }
        Ok(())
    }
}

impl Reader for SqliteReader<'_> {
    fn get(&mut self, key: u64, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        get(self.connection()?, key, visit)
    }

    fn scan(&mut self, visit: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        let all = "SELECT oid, record FROM objects ORDER BY oid";
        self.query(all, &[], visit)
    }

    fn range(&mut self, keys: Range<u64>, visit: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        let some = "SELECT oid, record FROM objects WHERE oid >= ?1 AND oid < ?2 ORDER BY oid";
        let bounds = [keys.start.cast_signed(), keys.end.cast_signed()];
        self.query(some, &bounds, visit)
    }
}

impl Drop for SqliteReader<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            // One that cannot end its transaction is closed, and does that.
            if connection.execute_batch("COMMIT").is_ok() {
                lock(&self.database.idle).push(connection);
            }
        }
    }
}

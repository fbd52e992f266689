//! Snapshots: read transactions, each on a connection of its own from a pool.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use durum_core::engine::sql::key_integers;
use durum_core::engine::{Cursor, EngineSnapshot, Key, Table};
use durum_core::{Error, ErrorKind, Result};
use rusqlite::{Connection, params};

use crate::NAME;
use crate::cursor::SqliteCursor;
use crate::error::convert;
use crate::open::Place;
use crate::schema;

/// Connections that are kept for the next snapshots; each holds a page cache.
const IDLE_MAX: usize = 16;

/// How long a compaction waits for connections that are reading.
const CLOSE_WAIT: Duration = Duration::from_millis(500);

const TAKE: &str = "take a snapshot";

/// Connections for reading.
pub(crate) struct Readers {
    place: Place,
    pool: Mutex<Pool>,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Connection>,
    open: usize,
}

impl Readers {
    pub(crate) fn new(place: Place) -> Readers {
        Readers {
            place,
            pool: Mutex::default(),
        }
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that is in no transaction.
    pub(crate) fn take(&self) -> Result<Connection> {
        let mut pool = self.pool();
        let idle = pool.idle.pop();
        pool.open += 1;
        drop(pool);
        let connection = match idle {
            Some(connection) => Ok(connection),
            None => self.place.open_reader(),
        };
        connection.inspect_err(|_| self.pool().open -= 1)
    }

    /// Takes a connection back that is in no transaction, or closes it.
    pub(crate) fn give_back(&self, connection: Connection) {
        let mut pool = self.pool();
        pool.open -= 1;
        if pool.idle.len() < IDLE_MAX && connection.is_autocommit() {
            pool.idle.push(connection);
        }
    }

    /// Closes all connections, and lets none be opened until the answer is dropped.
    ///
    /// # Errors
    /// `InUse` where one is reading, and does not end soon.
    pub(crate) fn close_all(&self, operation: &'static str) -> Result<Closed<'_>> {
        let begun = Instant::now();
        loop {
            let mut pool = self.pool();
            if pool.open == 0 {
                pool.idle.clear();
                return Ok(Closed { _pool: pool });
            }
            // What measures the files takes one for a moment, without being a snapshot.
            if begun.elapsed() > CLOSE_WAIT {
                return Err(Error::new(ErrorKind::InUse, operation)
                    .with_engine(NAME)
                    .because(format!("{} snapshots are open", pool.open)));
            }
            drop(pool);
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Keeps connections from being opened.
pub(crate) struct Closed<'a> {
    _pool: MutexGuard<'a, Pool>,
}

/// A read transaction.
pub(crate) struct SqliteSnapshot {
    /// `None` only while the snapshot is being dropped.
    connection: Option<Connection>,
    readers: Arc<Readers>,
}

impl SqliteSnapshot {
    pub(crate) fn open(readers: &Arc<Readers>) -> Result<SqliteSnapshot> {
        let snapshot = SqliteSnapshot {
            connection: Some(readers.take()?),
            readers: Arc::clone(readers),
        };
        let connection = snapshot.connection(TAKE)?;
        let failed = |error| convert(error, TAKE).with_path(readers.place.file());
        // The transaction's view is fixed by its first read.
        connection
            .prepare_cached("BEGIN")
            .and_then(|mut begin| begin.execute([]))
            .map_err(failed)?;
        connection
            .prepare_cached("SELECT count(*) FROM (SELECT 1 FROM sqlite_schema LIMIT 1)")
            .and_then(|mut read| read.query_row([], |row| row.get::<_, i64>(0)))
            .map_err(failed)?;
        Ok(snapshot)
    }

    pub(crate) fn connection(&self, operation: &'static str) -> Result<&Connection> {
        self.connection.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Other, operation)
                .with_engine(NAME)
                .because("the snapshot has ended")
        })
    }
}

impl Drop for SqliteSnapshot {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            // Where this fails the connection is still in its transaction, and is closed for that.
            let _error = connection
                .prepare_cached("COMMIT")
                .and_then(|mut end| end.execute([]));
            self.readers.give_back(connection);
        }
    }
}

impl EngineSnapshot for SqliteSnapshot {
    fn get(&self, table: Table, key: Key, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        const GET: &str = "read a row";
        let failed = |error| convert(error, GET).with_path(self.readers.place.file());
        let Some((first, second)) = key_integers(key) else {
            return Ok(false);
        };
        let mut statement = self
            .connection(GET)?
            .prepare_cached(&schema::of(table)?.get)
            .map_err(failed)?;
        let rows = if table.is_pair() {
            statement.query(params![first, second])
        } else {
            statement.query(params![first])
        };
        let mut rows = rows.map_err(failed)?;
        let Some(row) = rows.next().map_err(failed)? else {
            return Ok(false);
        };
        let value = row.get_ref(0).map_err(failed)?;
        visit(value.as_blob().map_err(|_| not_bytes(GET))?);
        Ok(true)
    }

    fn walk(
        &self,
        table: Table,
        from: Key,
        visit: &mut dyn FnMut(Key, &[u8]) -> bool,
    ) -> Result<bool> {
        crate::cursor::walk(self, table, from, visit)
    }

    fn cursor<'a>(&'a self, table: Table, from: Key) -> Result<Box<dyn Cursor + 'a>> {
        Ok(Box::new(SqliteCursor::new(self, table, from)))
    }
}

/// The error for a value that is no blob.
pub(crate) fn not_bytes(operation: &'static str) -> Error {
    Error::damaged(operation, "a value is not bytes").with_engine(NAME)
}

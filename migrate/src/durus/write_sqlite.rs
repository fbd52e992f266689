//! Writing SQLite databases for Durus.

use std::path::Path;

use durum_core::{Error, ErrorKind, Result, ResultExt};
use rusqlite::{Connection, OpenFlags};

use super::partial::{Ascending, Partial};
use super::record::compose;
use super::sqlite::{SCHEMA, convert};
use super::{DurusObject, WRITE, Written};

/// Writes an SQLite database as `durus.sqlite_storage` does, in memory that does not grow with it. OIDs
/// may be as sparse as they like.
///
/// Durus 4.3 hands out the largest OID of a database again when it opens it, and then overwrites that
/// object; `durum` never does.
///
/// ```
/// use durum_migrate::durus::{DurusFile, DurusObject, SqliteWriter};
/// let directory = tempfile::tempdir()?;
/// let path = directory.path().join("example.sqlite");
/// let mut writer = SqliteWriter::create(&path)?;
/// writer.push(&DurusObject { data: b"state".to_vec(), ..DurusObject::default() })?;
/// writer.finish()?;
/// assert_eq!(DurusFile::open(&path)?.object_count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SqliteWriter {
    // Before the file, so that it is closed before the file vanishes.
    connection: Connection,
    partial: Partial,
    order: Ascending,
    record: Vec<u8>,
}

impl SqliteWriter {
    /// Begins a database, under a temporary name in the same directory. Dropped before
    /// [`finish`](SqliteWriter::finish), it leaves nothing.
    ///
    /// # Errors
    /// `Exists` where there is something at `path`; `ReadOnly` where the directory is missing or not
    /// writable; `Full`, `Io`.
    pub fn create(path: impl AsRef<Path>) -> Result<SqliteWriter> {
        let partial = Partial::create(path.as_ref())?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(partial.path(), flags)
            .and_then(|connection| {
                // Nobody sees the file before it is complete, and it is synced then: there is nothing
                // to take back.
                connection.execute_batch(
                    "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; \
                     PRAGMA locking_mode = EXCLUSIVE; BEGIN",
                )?;
                connection.execute_batch(SCHEMA)?;
                Ok(connection)
            })
            .map_err(|error| convert(error, WRITE).with_path(path))?;
        Ok(SqliteWriter {
            connection,
            partial,
            order: Ascending::default(),
            record: Vec::new(),
        })
    }

    /// Adds an object; they have to come by ascending OID.
    ///
    /// # Errors
    /// `Usage` out of order and for OIDs from 2^63 on; `TooLarge` when data and references come to
    /// 1,000,000,000 bytes; `Full`, `Io`.
    pub fn push(&mut self, object: &DurusObject) -> Result<()> {
        let destination = self.partial.destination();
        compose(&mut self.record, object).at_path(destination)?;
        self.order.next(object.oid).at_path(destination)?;
        // The record is the OID, the data's length, the data and the references.
        let body = self.record.get(12..).unwrap_or_default();
        let Some((data, refs)) = body.split_at_checked(object.data.len()) else {
            return Err(Error::new(ErrorKind::Other, WRITE).with_oid(object.oid));
        };
        self.connection
            .prepare_cached("INSERT INTO objects (id, data, refs) VALUES (?1, ?2, ?3)")
            .and_then(|mut insert| insert.execute((object.oid.0 as i64, data, refs)))
            .map(drop)
            .map_err(|error| convert(error, WRITE).with_oid(object.oid))
            .at_path(destination)
    }

    /// Makes the database durable and gives it its name.
    ///
    /// # Errors
    /// `Exists` when a file of this name has appeared meanwhile; `Full`, `Io`.
    pub fn finish(self) -> Result<Written> {
        self.finish_verified(&mut |_| Ok(()))
    }

    /// As `finish`, but `verify` looks at the complete file before it gets its name; where it fails the
    /// file vanishes.
    ///
    /// # Errors
    /// As `finish`, and those of `verify`.
    pub fn finish_verified(self, verify: &mut dyn FnMut(&Path) -> Result<()>) -> Result<Written> {
        self.connection
            .execute_batch("COMMIT")
            .and_then(|()| self.connection.close().map_err(|(_, error)| error))
            .map_err(|error| convert(error, WRITE))
            .at_path(self.partial.destination())?;
        Ok(Written {
            objects: self.order.objects,
            file_bytes: self.partial.complete(verify)?,
        })
    }
}

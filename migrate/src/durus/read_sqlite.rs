//! Reading Durus's SQLite databases, without writing to them or beside them.
//!
//! All is read in one transaction, so that a Durus program that has the database open can change
//! nothing meanwhile. Two states of a database need a writer before they can be read, and are refused:
//! a journal that a crash left, and the mode with a write-ahead log, which Durus does not use.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use durum_core::record::normalize_refs;
use durum_core::{Error, ErrorKind, Oid, Result};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row};

use super::sqlite::convert;
use super::{DurusObject, READ};
use crate::input::{Input, Window};
use crate::offsets::BEYOND;

/// An open SQLite database of Durus.
#[derive(Debug)]
pub(super) struct SqliteFile {
    connection: Mutex<Connection>,
    path: PathBuf,
    description: String,
    file_bytes: u64,
    objects: u64,
    data_bytes: u64,
}

impl SqliteFile {
    /// Opens a file whose first bytes are SQLite's. `input` is closed before SQLite opens the file: to
    /// close it later would take away SQLite's own locks.
    pub(super) fn open(input: Input) -> Result<SqliteFile> {
        // To be read and to be written: either makes SQLite put files beside the database.
        let versions = Window::new(&input).get(VERSIONS_AT, 2)?.map(<[u8]>::to_vec);
        if versions.is_some_and(|versions| versions.contains(&WITH_LOG)) {
            let path = input.path().display();
            return Err(input
                .fail(ErrorKind::Unreadable, "it is an SQLite database with a write-ahead log")
                .hint(format!(
                    "Write the log into the database: `sqlite3 {path} 'PRAGMA journal_mode=DELETE'`."
                )));
        }
        let description = input.description()?;
        let (path, file_bytes) = (input.path().to_path_buf(), input.len());
        drop(input);
        let open = || -> Result<SqliteFile> {
            let connection = connect(&path)?;
            check_schema(&connection)?;
            let totals =
                "SELECT count(*), coalesce(sum(octet_length(data)), 0), min(id) FROM objects";
            let (objects, data_bytes, least): (i64, i64, Option<i64>) = connection
                .query_row(totals, [], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })
                .map_err(failed)?;
            if least.is_some_and(|least| least < 0) {
                let why = format!("it holds an object {BEYOND}");
                return Err(Error::new(ErrorKind::Unreadable, READ).because(why));
            }
            Ok(SqliteFile {
                connection: Mutex::new(connection),
                path: path.clone(),
                description: description.clone(),
                file_bytes,
                objects: objects.unsigned_abs(),
                data_bytes: data_bytes.unsigned_abs(),
            })
        };
        open().map_err(|error| error.with_path(&path))
    }

    pub(super) fn object_count(&self) -> u64 {
        self.objects
    }

    pub(super) fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    pub(super) fn description(&self) -> Result<String> {
        Ok(self.description.clone())
    }

    pub(super) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    pub(super) fn objects_from(&self, oid: Oid) -> SqliteObjects<'_> {
        SqliteObjects {
            file: self,
            next: Some(oid),
            expected: (oid == Oid::ROOT).then_some(self.objects),
        }
    }

    pub(super) fn load(&self, oid: Oid) -> Result<Option<DurusObject>> {
        let found = self.first_from(oid)?;
        Ok(found.filter(|object| object.oid == oid))
    }

    /// The first object whose OID is `oid` or larger.
    fn first_from(&self, oid: Oid) -> Result<Option<DurusObject>> {
        let Ok(id) = i64::try_from(oid.0) else {
            return Ok(None);
        };
        let connection = self.connection();
        let query = "SELECT id, data, refs FROM objects WHERE id >= ?1 ORDER BY id LIMIT 1";
        let found = connection
            .prepare_cached(query)
            .and_then(|mut query| query.query_row([id], |row| Ok(object(row))).optional());
        match found.map_err(failed) {
            Ok(Some(object)) => object.map(Some),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        }
        .map_err(|error| error.with_path(&self.path))
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // Whoever panicked was reading.
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The objects of a database, ascending.
#[derive(Debug)]
pub(super) struct SqliteObjects<'f> {
    file: &'f SqliteFile,
    /// Where to look for the next one; `None` at the end.
    next: Option<Oid>,
    /// How many have to come, where all are wanted.
    expected: Option<u64>,
}

impl SqliteObjects<'_> {
    pub(super) fn next(&mut self) -> Result<Option<DurusObject>> {
        let Some(from) = self.next else {
            return Ok(None);
        };
        let found = self.file.first_from(from)?;
        let damaged = |why: &str| Err(Error::damaged(READ, why).with_path(&self.file.path));
        match &found {
            // A damaged tree can lead back.
            Some(object) if object.oid < from => return damaged("rows are out of order"),
            Some(object) => {
                self.next = object.oid.0.checked_add(1).map(Oid);
                self.expected = match self.expected {
                    Some(0) => return damaged("there are more rows than were counted"),
                    expected => expected.map(|left| left - 1),
                };
            }
            None => {
                self.next = None;
                // To look for a row and to count them goes different ways through the tree.
                if self.expected.is_some_and(|left| left > 0) {
                    return damaged("there are fewer rows than were counted");
                }
            }
        }
        Ok(found)
    }
}

/// The object of a row.
fn object(row: &Row<'_>) -> Result<DurusObject> {
    let id = row.get_ref(0).map_err(failed)?.as_i64();
    let oid = id.ok().and_then(|id| u64::try_from(id).ok()).map(Oid);
    let oid = oid.ok_or_else(|| Error::damaged(READ, "a row has no OID"))?;
    let bytes = |column, name: &str| {
        let value = row.get_ref(column).map_err(failed)?;
        match value {
            ValueRef::Blob(bytes) | ValueRef::Text(bytes) => Ok(bytes),
            _ => {
                let why = format!("the row of object {oid} has no {name}");
                Err(Error::damaged(READ, why).with_oid(oid))
            }
        }
    };
    let data = bytes(1, "data")?.to_vec();
    let (refs, rest) = bytes(2, "references")?.as_chunks::<8>();
    if !rest.is_empty() {
        let why = format!("the references of object {oid} do not have eight bytes each");
        return Err(Error::damaged(READ, why).with_oid(oid));
    }
    let mut refs: Vec<Oid> = refs
        .iter()
        .map(|oid| Oid(u64::from_be_bytes(*oid)))
        .collect();
    normalize_refs(oid, &mut refs);
    if let Some(beyond) = refs.last().filter(|target| !target.is_valid()) {
        let why = format!("it references object {beyond}, {BEYOND}");
        let error = Error::new(ErrorKind::Unreadable, READ).because(why);
        return Err(error.with_oid(oid));
    }
    Ok(DurusObject { oid, refs, data })
}

/// Opens a database and begins a transaction that reads.
fn connect(path: &Path) -> Result<Connection> {
    // SQLite knows names such as `:memory:` that are no paths.
    let path = match path.is_absolute() {
        true => path.to_path_buf(),
        false => Path::new(".").join(path),
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    // The schema is somebody else's: nothing in it may act.
    let settings = "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; BEGIN";
    connection.execute_batch(settings).map_err(failed)?;
    Ok(connection)
}

fn check_schema(connection: &Connection) -> Result<()> {
    let columns = "SELECT count(*) FROM pragma_table_info('objects') WHERE \
                   (name = 'id' AND pk = 1 AND lower(type) = 'integer') OR name IN ('data', 'refs')";
    let tables = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'objects'";
    for (query, wanted) in [(tables, 1), (columns, 3)] {
        let found: i64 = connection
            .query_row(query, [], |row| row.get(0))
            .map_err(failed)?;
        if found != wanted {
            return Err(Error::new(ErrorKind::Unreadable, READ)
                .because("it is an SQLite database, but not one of Durus"));
        }
    }
    Ok(())
}

fn failed(error: rusqlite::Error) -> Error {
    let error = convert(error, READ);
    match error.kind() {
        // It would have to be written to.
        ErrorKind::ReadOnly => error.with_kind(ErrorKind::Unreadable).hint(
            "A program ended while it wrote to this database. Open it once with Durus or `sqlite3`, \
             which takes back what was unfinished.",
        ),
        ErrorKind::InUse => error.hint("Stop the program that writes to it."),
        _ => error,
    }
}

/// Where a database says whether it has a write-ahead log.
const VERSIONS_AT: u64 = 18;

/// What it says there if it has.
const WITH_LOG: u8 = 2;

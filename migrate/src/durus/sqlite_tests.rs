//! SQLite databases that are not as Durus leaves them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use durum_core::{ErrorKind, Oid, Result};
use rusqlite::Connection;

use super::{DurusFile, DurusObject, DurusWriter, Format};
use crate::scratch::Scratch;

impl Scratch {
    /// A database of some objects.
    fn database(&self, name: &str, count: u64) -> PathBuf {
        let path = self.path(name);
        let mut writer = DurusWriter::create(&path, Format::Sqlite).unwrap();
        for number in 0..count {
            let object = DurusObject {
                oid: Oid(number * 3),
                refs: vec![Oid(number * 3 + 3)],
                data: vec![number as u8; number as usize * 100],
            };
            writer.push(&object).unwrap();
        }
        writer.finish().unwrap();
        path
    }

    /// All files with their contents.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = std::fs::read_dir(self.directory.path()).unwrap();
        entries
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.clone(), std::fs::read(path).unwrap()))
            .collect()
    }

    /// Reading must fail and change nothing.
    fn refused(&self, path: &Path, kind: ErrorKind, said: &str) {
        let before = self.files();
        let error = read(path).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        let message = error.to_string();
        assert!(message.contains(said), "{message}");
        assert!(message.contains(path.to_str().unwrap()), "{message}");
        assert!(self.files() == before, "{message}");
    }
}

fn read(path: &Path) -> Result<Vec<DurusObject>> {
    DurusFile::open(path)?.objects().collect()
}

fn change(path: &Path, sql: &str) {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(sql).unwrap();
    connection.close().unwrap();
}

#[test]
fn reading_changes_nothing() {
    let scratch = Scratch::new();
    let path = scratch.database("objects", 50);
    let before = scratch.files();
    let file = DurusFile::open(&path).unwrap();
    assert_eq!(file.objects().count(), 50);
    let later = file.objects_from(Oid(4)).unwrap();
    let later: Vec<_> = later.map(|object| object.unwrap().oid.0).collect();
    assert_eq!(later, (2..50).map(|number| number * 3).collect::<Vec<_>>());
    assert_eq!(file.objects_from(Oid::MAX).unwrap().count(), 0);
    assert_eq!(file.load(Oid(1)).unwrap(), None);
    assert_eq!(file.load(Oid(6)).unwrap().unwrap().data, [2; 200]);
    assert!(scratch.files() == before);
    drop(file);
    assert!(scratch.files() == before);
}

#[test]
fn a_writer_waits_for_the_reader() {
    let scratch = Scratch::new();
    let path = scratch.database("objects", 3);
    let file = DurusFile::open(&path).unwrap();
    let writer = Connection::open(&path).unwrap();
    writer.busy_timeout(std::time::Duration::ZERO).unwrap();
    assert!(writer.execute_batch("DELETE FROM objects").is_err());
    assert_eq!(file.objects().count(), 3);
    drop(file);
    writer.execute_batch("DELETE FROM objects").unwrap();
    writer.close().unwrap();
    assert_eq!(read(&path).unwrap(), []);
}

#[test]
fn what_needs_a_writer_first_is_refused() {
    let scratch = Scratch::new();
    let path = scratch.database("log", 3);
    change(
        &path,
        "PRAGMA journal_mode = WAL; DELETE FROM objects WHERE id = 3",
    );
    scratch.refused(&path, ErrorKind::Unreadable, "PRAGMA journal_mode=DELETE");
    change(&path, "PRAGMA journal_mode = DELETE");
    assert_eq!(read(&path).unwrap().len(), 2);

    let path = scratch.database("busy", 200);
    let writer = Connection::open(&path).unwrap();
    writer
        .execute_batch(
            "PRAGMA cache_size = 4; PRAGMA synchronous = FULL; BEGIN IMMEDIATE;
             UPDATE objects SET data = zeroblob(5000)",
        )
        .unwrap();
    let left = scratch.path("left");
    std::fs::copy(&path, &left).unwrap();
    let journal = scratch.path("left-journal");
    std::fs::copy(scratch.path("busy-journal"), &journal).unwrap();
    writer.execute_batch("ROLLBACK").unwrap();
    drop(writer);
    scratch.refused(&left, ErrorKind::Unreadable, "Open it once with Durus");
    change(&left, "SELECT count(*) FROM objects");
    assert!(!journal.exists());
    assert!(read(&left).unwrap() == read(&path).unwrap());
}

#[test]
fn other_databases_are_refused() {
    let scratch = Scratch::new();
    let other = |name: &str, sql: &str| {
        let path = scratch.path(name);
        change(&path, sql);
        path
    };
    let refused = |path: &Path| scratch.refused(path, ErrorKind::Unreadable, "not one of Durus");
    refused(&other(
        "table",
        "CREATE TABLE things (id integer primary key)",
    ));
    refused(&other(
        "columns",
        "CREATE TABLE objects (id integer primary key, data)",
    ));
    refused(&other(
        "key",
        "CREATE TABLE objects (id text primary key, data, refs)",
    ));
    refused(&other(
        "view",
        "CREATE VIEW objects AS SELECT 1 AS id, x'00' AS data, x'' AS refs",
    ));
    let path = scratch.path("start");
    std::fs::write(&path, b"SQLite format 3\0and no more").unwrap();
    scratch.refused(&path, ErrorKind::Damaged, "not a database");
}

#[test]
fn rows_that_durus_does_not_write_are_refused() {
    let scratch = Scratch::new();
    for (row, kind, said) in [
        ("(-1, x'00', x'')", ErrorKind::Unreadable, "2^63"),
        ("(7, NULL, x'')", ErrorKind::Damaged, "no data (object 7)"),
        (
            "(7, x'00', NULL)",
            ErrorKind::Damaged,
            "no references (object 7)",
        ),
        ("(7, x'00', x'00')", ErrorKind::Damaged, "eight bytes"),
        ("(7, x'00', 5)", ErrorKind::Damaged, "no references"),
        (
            "(7, x'00', x'8000000000000000')",
            ErrorKind::Unreadable,
            "(object 7)",
        ),
    ] {
        let path = scratch.database("objects", 3);
        change(&path, &format!("INSERT INTO objects VALUES {row}"));
        scratch.refused(&path, kind, said);
        std::fs::remove_file(path).unwrap();
    }
    let path = scratch.database("objects", 1);
    change(
        &path,
        "INSERT INTO objects VALUES (7, 'text', x'000000000000000700000000000000090000000000000000')",
    );
    let object = &read(&path).unwrap()[1];
    assert_eq!(
        (&object.refs[..], &object.data[..]),
        (&[Oid(0), Oid(9)][..], &b"text"[..])
    );
}

/// SQLite has no checksums: a damaged byte is an error, or other data, or makes no difference.
#[test]
fn no_damage_does_harm() {
    let scratch = Scratch::new();
    let path = scratch.database("objects", 30);
    let bytes = std::fs::read(&path).unwrap();
    let expected = read(&path).unwrap();
    let kinds = [
        ErrorKind::Damaged,
        ErrorKind::Unreadable,
        ErrorKind::Other,
        ErrorKind::Io,
        ErrorKind::TooLarge,
    ];
    let check = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        match read(&path) {
            Ok(objects) => objects == expected,
            Err(error) => {
                assert!(kinds.contains(&error.kind()), "{error}");
                false
            }
        }
    };
    let mut same = 0;
    // The first page has the schema, the second the root of the tree.
    let places = (0..8192).chain((8192..bytes.len()).step_by(97));
    for at in places.filter(|at| *at < 100 || bytes[*at] != 0) {
        let mut changed = bytes.clone();
        changed[at] ^= 0xff;
        same += u32::from(check(&changed));
    }
    assert!(same > 0);
    for end in (0..bytes.len()).step_by(512) {
        assert!(!check(&bytes[..end]), "{end}");
    }
    assert_eq!(scratch.files().len(), 1, "nothing was put beside it");
}

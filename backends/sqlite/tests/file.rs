//! The file as others see it, and its log.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use durum_core::ErrorKind;
use durum_core::engine::{Backend, Durability, Engine, Key, Op, Options, Table};
use durum_sqlite::SqliteBackend;
use rusqlite::Connection;

fn open(
    dir: &std::path::Path,
    options: &[(&'static str, &'static str)],
) -> durum_core::Result<Box<dyn Engine>> {
    let backend = SqliteBackend;
    let options = Options::check("sqlite", backend.options(), options.iter().copied())?;
    backend.open(dir, &options)
}

fn put(number: u64, value: &[u8]) -> Op<'_> {
    Op::Put {
        table: Table::Objects,
        key: Key::from(number),
        value,
    }
}

#[test]
fn the_schema_is_legible() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), &[]).unwrap();
    let pin = Op::Put {
        table: Table::Pins,
        key: Key::pair(3, 4),
        value: b"pin",
    };
    engine
        .apply(&[put(1, b"one"), put(2, b"two"), pin], Durability::Process)
        .unwrap();
    // While it is in use, too.
    let shell = Connection::open(dir.path().join("objects.sqlite")).unwrap();
    let record: Vec<u8> = shell
        .query_row("SELECT record FROM objects WHERE oid = 2", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(record, b"two");
    let pinned: i64 = shell
        .query_row("SELECT oid FROM pins WHERE session = 3", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(pinned, 4);
    for (name, expected) in [("auto_vacuum", 2), ("application_id", 0x4475_7275)] {
        let value: i64 = shell
            .pragma_query_value(None, name, |row| row.get(0))
            .unwrap();
        assert_eq!(value, expected, "{name}");
    }
}

#[test]
fn another_sqlite_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let other = Connection::open(dir.path().join("objects.sqlite")).unwrap();
    other
        .execute_batch("CREATE TABLE objects (oid, record)")
        .unwrap();
    drop(other);
    let error = open(dir.path(), &[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
}

#[test]
fn a_missing_table_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path(), &[]).unwrap());
    let shell = Connection::open(dir.path().join("objects.sqlite")).unwrap();
    shell.execute_batch("DROP TABLE orphans").unwrap();
    drop(shell);
    let error = open(dir.path(), &[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
    assert!(error.to_string().contains("orphans"), "{error}");
}

#[test]
fn a_key_from_2_to_the_63_on_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), &[]).unwrap();
    let error = engine
        .apply(
            &[put(1, b"one"), put(1 << 63, b"large")],
            Durability::Process,
        )
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
    let snapshot = engine.snapshot().unwrap();
    for number in [1, 1 << 63, u64::MAX] {
        let found = snapshot.get(Table::Objects, Key::from(number), &mut |_| ());
        assert!(!found.unwrap());
    }
    let mut cursor = snapshot.cursor(Table::Objects, Key::from(1 << 63)).unwrap();
    assert!(cursor.next().unwrap().is_none());
}

/// There is always a snapshot open here, and none for long: SQLite alone would let the log grow for
/// as long as that goes on.
#[test]
fn the_log_stays_short_under_overlapping_snapshots() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), &[("wal_limit", "64KiB")]).unwrap();
    let log = dir.path().join("objects.sqlite-wal");
    let done = AtomicBool::new(false);
    let mut longest = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut snapshot = engine.snapshot().unwrap();
            while !done.load(Ordering::Acquire) {
                std::thread::sleep(Duration::from_millis(2));
                let next = engine.snapshot().unwrap();
                drop(std::mem::replace(&mut snapshot, next));
            }
        });
        let value = vec![7; 12_000];
        for number in 0..1000 {
            let row = [put(number % 50, &value)];
            engine.apply(&row, Durability::Process).unwrap();
            longest = longest.max(std::fs::metadata(&log).unwrap().len());
        }
        done.store(true, Ordering::Release);
    });
    // All commits together make 16 MB.
    assert!(longest < 3 << 20, "{longest}");
}

#[test]
fn a_shell_that_has_the_file_open_is_waited_for_by_a_later_compaction() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), &[]).unwrap();
    engine
        .apply(&[put(1, b"before")], Durability::Power)
        .unwrap();
    let shell = Connection::open(dir.path().join("objects.sqlite")).unwrap();
    let count = |shell: &Connection| -> i64 {
        shell
            .query_row("SELECT count(*) FROM objects", [], |row| row.get(0))
            .unwrap()
    };
    assert_eq!(count(&shell), 1);
    let compact = engine.compact().unwrap();
    compact.rewrite(&mut |_, _| {}).unwrap();
    let refused = compact.swap().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InUse, "{refused}");
    compact.discard().unwrap();
    engine
        .apply(&[put(2, b"between")], Durability::Power)
        .unwrap();
    assert_eq!(count(&shell), 2);
    drop(shell);
    compact.rewrite(&mut |_, _| {}).unwrap();
    compact.swap().unwrap();
    engine
        .apply(&[put(3, b"after")], Durability::Power)
        .unwrap();
    let shell = Connection::open(dir.path().join("objects.sqlite")).unwrap();
    assert_eq!(count(&shell), 3);
}

/// A database of which half is free pages in the middle, with `options`.
fn half_free(
    dir: &std::path::Path,
    options: &[(&'static str, &'static str)],
) -> durum_core::Result<Box<dyn Engine>> {
    let engine = open(dir, options)?;
    let value = vec![7; 12_000];
    for number in 0..200 {
        engine.apply(&[put(number, &value)], Durability::Process)?;
    }
    let gone: Vec<Op<'_>> = (0..100)
        .map(|number| Op::Delete {
            table: Table::Objects,
            key: Key::from(number),
        })
        .collect();
    engine.apply(&gone, Durability::Power)?;
    Ok(engine)
}

/// Nothing was changed by what met the damage: the log is copied when the database is closed.
#[test]
fn a_reclaim_that_meets_damage_does_not_make_the_log_doubtful() {
    let dir = tempfile::tempdir().unwrap();
    drop(half_free(dir.path(), &[]).unwrap());
    // The map of pages that tells what points to each of them.
    let database = dir.path().join("objects.sqlite");
    let mut bytes = std::fs::read(&database).unwrap();
    bytes[4096..8192].fill(0xff);
    std::fs::write(&database, bytes).unwrap();
    let engine = open(dir.path(), &[]).unwrap();
    engine
        .apply(&[put(1000, b"new")], Durability::Process)
        .unwrap();
    let error = engine.reclaim(1 << 20).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
    drop(engine);
    assert!(!dir.path().join("objects.sqlite-wal").exists());
}

#[test]
fn a_reclaim_that_cannot_read_a_page_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let engine = half_free(
        dir.path(),
        &[("wal_limit", "1GiB"), ("cache_size", "64KiB")],
    )
    .unwrap();
    let log = std::fs::File::options()
        .write(true)
        .open(dir.path().join("objects.sqlite-wal"))
        .unwrap();
    log.set_len(100_000).unwrap();
    let error = engine.reclaim(1 << 20).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreadable, "{error}");
}

//! The map, its room, and the files beside it.

use durum_core::ErrorKind;
use durum_core::engine::{Backend, Durability, Engine, Key, Op, Options, Table};
use durum_lmdb::LmdbBackend;

fn open(dir: &std::path::Path, map_size: &str) -> durum_core::Result<Box<dyn Engine>> {
    let backend = LmdbBackend;
    let given = [("map_size", map_size)];
    let options = Options::check("lmdb", backend.options(), given)?;
    backend.open(dir, &options)
}

fn put(value: &[u8]) -> [Op<'_>; 1] {
    [Op::Put {
        table: Table::Objects,
        key: Key::from(1),
        value,
    }]
}

#[test]
fn room_is_made_once_no_snapshot_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), "1MiB").unwrap();
    let value = vec![7; 3 << 20];
    let snapshot = engine.snapshot().unwrap();
    let full = engine.apply(&put(&value), Durability::Power).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::NeedsRoom);
    let read = engine.make_room(value.len() as u64).unwrap_err();
    assert_eq!(read.kind(), ErrorKind::InUse, "{read}");
    let compact = engine.compact().unwrap();
    compact.rewrite(&mut |_, _| {}).unwrap();
    assert_eq!(compact.swap().unwrap_err().kind(), ErrorKind::InUse);
    compact.discard().unwrap();
    drop(snapshot);
    engine.make_room(value.len() as u64).unwrap();
    engine.apply(&put(&value), Durability::Power).unwrap();
    drop(engine);
    // The size is no longer needed: the map is never smaller than the data.
    let engine = open(dir.path(), "1MiB").unwrap();
    let found = engine
        .snapshot()
        .unwrap()
        .get(Table::Objects, Key::from(1), &mut |bytes| {
            assert!(bytes == value)
        });
    assert!(found.unwrap());
}

#[test]
fn a_second_opening_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _engine = open(dir.path(), "1MiB").unwrap();
    let error = open(dir.path(), "1MiB").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
}

#[test]
fn a_map_above_the_address_space_is_a_wrong_option() {
    let dir = tempfile::tempdir().unwrap();
    let error = open(dir.path(), "1000000TiB").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
}

#[test]
fn an_interrupted_compaction_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), "1MiB").unwrap();
    engine.apply(&put(b"kept"), Durability::Power).unwrap();
    drop(engine);
    let leftover = dir.path().join("data.mdb.compact");
    std::fs::write(&leftover, "half a copy").unwrap();
    let engine = open(dir.path(), "1MiB").unwrap();
    assert!(!leftover.exists());
    let snapshot = engine.snapshot().unwrap();
    let found = snapshot.get(Table::Objects, Key::from(1), &mut |bytes| {
        assert_eq!(bytes, b"kept")
    });
    assert!(found.unwrap());
}

#[test]
fn snapshots_beyond_the_limit_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let backend = LmdbBackend;
    let options = Options::check("lmdb", backend.options(), [("max_readers", "4")]).unwrap();
    let engine = backend.open(dir.path(), &options).unwrap();
    let mut snapshots = Vec::new();
    let error = loop {
        match engine.snapshot() {
            Ok(snapshot) => snapshots.push(snapshot),
            Err(error) => break error,
        }
        assert!(snapshots.len() < 1000);
    };
    assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
    assert!(error.to_string().contains("max_readers"), "{error}");
    assert!(snapshots.len() >= 4);
    snapshots.pop();
    assert!(engine.snapshot().is_ok());
}

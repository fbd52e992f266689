//! Large values whose space comes back as soon as they are dead.

use std::path::Path;
use std::sync::Arc;

use durum_core::ErrorKind;
use durum_core::engine::{Durability, Engine, Key, Op, Table};

use super::model::{Model, dump, open};
use crate::config::Config;
use crate::engine::FileEngine;
use crate::seam::memory::MemoryFileSystem;
use crate::seam::{FileSystem, RealFileSystem};

const LARGE: usize = 1 << 20;

fn put(engine: &FileEngine, key: u64, value: &[u8], durability: Durability) {
    let op = Op::Put {
        table: Table::Objects,
        key: Key::from(key),
        value,
    };
    engine.apply(&[op], durability).unwrap();
}

fn delete(engine: &FileEngine, key: u64, durability: Durability) {
    let op = Op::Delete {
        table: Table::Objects,
        key: Key::from(key),
    };
    engine.apply(&[op], durability).unwrap();
}

/// What the engine holds after [`history`].
fn expected() -> Model {
    let row = |key: u64, value: Vec<u8>| ((Table::Objects, Key::from(key)), value);
    [
        row(1, vec![4; 2 * LARGE]),
        row(2, vec![2; LARGE]),
        row(9, vec![9; 10]),
    ]
    .into()
}

/// Large values that are replaced and deleted, among others that stay.
fn history(engine: &FileEngine) {
    put(engine, 1, &vec![1; LARGE], Durability::Power);
    put(engine, 9, &[9; 10], Durability::Power);
    put(engine, 2, &vec![2; LARGE], Durability::Process);
    put(engine, 3, &vec![3; LARGE], Durability::Power);
    put(engine, 1, &vec![4; 2 * LARGE], Durability::Power);
    delete(engine, 3, Durability::Power);
}

fn config() -> Config {
    Config::default()
}

#[test]
fn the_system_gets_the_space_of_a_large_value_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let fs: Arc<dyn FileSystem> = Arc::new(RealFileSystem);
    let engine = FileEngine::open(&fs, dir.path(), config()).unwrap();
    put(&engine, 1, &vec![1; 8 * LARGE], Durability::Power);
    let full = engine.stats().unwrap();
    assert!(full.reclaimable_bytes < LARGE as u64, "{full:?}");
    delete(&engine, 1, Durability::Power);
    let after = engine.stats().unwrap();
    if after.disk_bytes == full.disk_bytes {
        // This file system has no holes: all of it is still to be had, by cleaning.
        assert!(after.reclaimable_bytes > 7 << 20, "{after:?}");
        return;
    }
    assert!(after.disk_bytes + (7 << 20) < full.disk_bytes, "{after:?}");
    assert!(after.reclaimable_bytes <= after.disk_bytes, "{after:?}");
    let mut given_back = 0;
    loop {
        let step = engine.reclaim(1 << 20).unwrap();
        given_back += step.bytes;
        if !step.more {
            break;
        }
    }
    assert!(
        given_back < full.disk_bytes - (7 << 20),
        "{given_back} counted twice"
    );
}

#[test]
fn not_before_its_end_is_durable_and_nobody_can_read_it() {
    let fs = MemoryFileSystem::default();
    let engine = open(&fs, config()).unwrap();
    let value = vec![1; LARGE];
    put(&engine, 1, &value, Durability::Power);
    let snapshot = engine.snapshot().unwrap();
    delete(&engine, 1, Durability::Process);
    assert_eq!(fs.punched(), 0, "not durable");
    engine.sync().unwrap();
    assert_eq!(fs.punched(), 0, "shown by a snapshot");
    for other in 2..5 {
        put(&engine, other, &[1; 10], Durability::Power);
    }
    let rows = dump(&*snapshot).unwrap();
    assert!(rows[&(Table::Objects, Key::from(1))] == value);
    assert_eq!(fs.punched(), 0);
    drop(snapshot);
    put(&engine, 5, &[1; 10], Durability::Relaxed);
    assert_eq!(fs.punched(), 1);

    // What no frame says to be durable could be taken for torn after a crash.
    put(&engine, 1, &value, Durability::Process);
    delete(&engine, 1, Durability::Power);
    assert_eq!(fs.punched(), 1, "not proved");
    put(&engine, 5, &[2; 10], Durability::Power);
    assert_eq!(fs.punched(), 2);
    drop(engine);
    assert_eq!(
        dump(&*open(&fs, config()).unwrap().snapshot().unwrap())
            .unwrap()
            .len(),
        4
    );
}

#[test]
fn what_is_left_is_replayed_rebuilt_and_cleaned() {
    let fs = MemoryFileSystem::default();
    let engine = open(&fs, config()).unwrap();
    history(&engine);
    assert_eq!(fs.punched(), 2);
    let rows = |fs: &MemoryFileSystem| {
        let engine = open(fs, config()).unwrap();
        let found = dump(&*engine.snapshot().unwrap()).unwrap();
        assert!(found == expected(), "{} rows", found.len());
        engine
    };
    // Killed: all of it is replayed.
    rows(&fs.synced_copy());
    engine.checkpoint().unwrap();
    let bare = fs.synced_copy();
    bare.remove(Path::new("/db/index/rows.idx")).unwrap();
    let rebuilt = rows(&bare);
    for key in [1, 2] {
        delete(&rebuilt, key, Durability::Power);
    }
    while rebuilt.reclaim(1 << 20).unwrap().more {}
    drop(rebuilt);
    let rebuilt = open(&bare, config()).unwrap();
    assert_eq!(dump(&*rebuilt.snapshot().unwrap()).unwrap().len(), 1);
    let bytes = bare.open(Path::new("/db/log/00000001.seg"));
    assert!(bytes.is_err(), "the segment was cleaned");
}

#[test]
fn a_large_value_that_is_needed_and_gone_is_damage() {
    let fs = MemoryFileSystem::default();
    let engine = open(&fs, config()).unwrap();
    history(&engine);
    drop(engine);
    fs.damage(Path::new("/db/log/00000001.seg"), |bytes| {
        let at = bytes
            .windows(100)
            .position(|bytes| bytes == [2; 100])
            .unwrap();
        bytes[at + 5000..at + 9000].fill(0);
    });
    for rebuild in [false, true] {
        if rebuild {
            fs.remove(Path::new("/db/index/rows.idx")).unwrap();
        }
        let engine = open(&fs, config()).unwrap();
        let snapshot = engine.snapshot().unwrap();
        let read = snapshot.get(Table::Objects, Key::from(2), &mut |_| {});
        assert_eq!(read.unwrap_err().kind(), ErrorKind::Damaged);
        let read = snapshot.get(Table::Objects, Key::from(1), &mut |_| {});
        assert!(read.unwrap());
    }
}

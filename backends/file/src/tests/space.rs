//! Space: what cleaning gives back, and what it leaves.

use std::sync::Arc;

use durum_core::engine::{Durability, Engine, Key, Op, Table};

use super::model::{TINY, dump, open, seeded};
use crate::engine::FileEngine;
use crate::seam::memory::MemoryFileSystem;
use crate::seam::{FileSystem, RealFileSystem};

fn put(engine: &FileEngine, keys: impl Iterator<Item = u64>, value: &[u8]) {
    let ops: Vec<_> = keys
        .map(|key| Op::Put {
            table: Table::Objects,
            key: Key::from(key),
            value,
        })
        .collect();
    engine.apply(&ops, Durability::Process).unwrap();
}

fn log_bytes(fs: &MemoryFileSystem) -> u64 {
    let paths = fs.paths().into_iter();
    let segments = paths.filter(|path| path.extension().is_some_and(|name| name == "seg"));
    segments
        .map(|path| fs.open(&path).unwrap().len().unwrap())
        .sum()
}

#[test]
fn the_log_stays_below_twice_the_live_bytes_and_two_segments() {
    let mut random = seeded(31);
    let fs = MemoryFileSystem::default();
    let engine = open(&fs, TINY).unwrap();
    let value = [7; 100];
    for start in (0..2000).step_by(20) {
        put(&engine, start..start + 20, &value);
    }
    for round in 0..10 {
        // Updates and deletes all over.
        for _ in 0..60 {
            let mut keys: Vec<u64> = (0..15).map(|_| random.u64(..2000)).collect();
            keys.sort_unstable();
            keys.dedup();
            let delete = |key: &u64| Op::Delete {
                table: Table::Objects,
                key: Key::from(*key),
            };
            if random.bool() {
                put(&engine, keys.into_iter(), &value);
            } else {
                let ops: Vec<_> = keys.iter().map(delete).collect();
                engine.apply(&ops, Durability::Process).unwrap();
            }
        }
        let mut calls = 0;
        while engine.reclaim(1 << 13).unwrap().more {
            calls += 1;
            assert!(calls < 1000, "cleaning comes to an end");
        }
        let rows = dump(&*engine.snapshot().unwrap()).unwrap();
        let live = rows.len() as u64 * 112;
        let log = log_bytes(&fs);
        let bound = 2 * live + 2 * TINY.segment_bytes;
        assert!(
            log <= bound,
            "round {round}: {log} bytes of log, {live} live"
        );
    }
}

#[test]
fn a_store_that_was_emptied_gives_its_log_back() {
    let fs = MemoryFileSystem::default();
    let engine = open(&fs, TINY).unwrap();
    for start in (0..2000).step_by(50) {
        put(&engine, start..start + 50, &[1; 200]);
    }
    let full = engine.stats().unwrap();
    let ops: Vec<_> = (0..2000)
        .map(|key| Op::Delete {
            table: Table::Objects,
            key: Key::from(key),
        })
        .collect();
    engine.apply(&ops, Durability::Power).unwrap();
    assert!(engine.stats().unwrap().reclaimable_bytes > full.disk_bytes / 2);
    while engine.reclaim(u64::MAX).unwrap().more {}
    let index = engine.stats().unwrap().disk_bytes - log_bytes(&fs);
    assert!(index < 32 * 4096, "{index} bytes of index");
    assert!(
        log_bytes(&fs) < 2 * TINY.segment_bytes + 100,
        "{}",
        log_bytes(&fs)
    );
}

#[test]
fn sparse_keys_and_large_values_fit() {
    let fs = MemoryFileSystem::default();
    let mut engine = open(&fs, TINY).unwrap();
    let large = vec![5; 64 << 20];
    put(&engine, [3, 1 << 40, (1 << 63) - 1].into_iter(), b"small");
    put(&engine, [4].into_iter(), &large);
    for _ in 0..2 {
        let snapshot = engine.snapshot().unwrap();
        let mut equal = false;
        let there = snapshot.get(Table::Objects, Key::from(4), &mut |value| {
            equal = value == large
        });
        assert!(there.unwrap() && equal);
        let mut cursor = snapshot.cursor(Table::Objects, Key::from(5)).unwrap();
        assert_eq!(cursor.next().unwrap().unwrap().0, Key::from(1 << 40));
        assert_eq!(cursor.next().unwrap().unwrap().0, Key::from((1 << 63) - 1));
        assert!(cursor.next().unwrap().is_none());
        drop(cursor);
        drop(snapshot);
        drop(engine);
        engine = open(&fs, TINY).unwrap();
    }
    let index = engine.stats().unwrap().disk_bytes - log_bytes(&fs);
    assert!(index < 1 << 20, "{index}");
}

#[test]
fn the_index_shrinks_under_snapshots_that_stay_readable() {
    let dir = tempfile::tempdir().unwrap();
    let fs: Arc<dyn FileSystem> = Arc::new(RealFileSystem);
    let engine = FileEngine::open(&fs, dir.path(), TINY).unwrap();
    for start in (0..20_000).step_by(1000) {
        put(&engine, start..start + 1000, &[1; 8]);
    }
    engine.checkpoint().unwrap();
    let index = || {
        std::fs::metadata(dir.path().join("index/rows.idx"))
            .unwrap()
            .len()
    };
    let before = index();
    let old = engine.snapshot().unwrap();
    let ops: Vec<_> = (0..20_000)
        .filter(|key| key % 100 > 0)
        .map(|key| Op::Delete {
            table: Table::Objects,
            key: Key::from(key),
        })
        .collect();
    engine.apply(&ops, Durability::Process).unwrap();
    engine.checkpoint().unwrap();
    let new = engine.snapshot().unwrap();
    while engine.reclaim(1 << 16).unwrap().more {}
    assert!(index() >= before, "{} bytes were {before}", index());
    assert_eq!(dump(&*old).unwrap().len(), 20_000);
    drop(old);
    assert_eq!(dump(&*new).unwrap().len(), 200);
    drop(new);
    // What snapshots were in the way of comes with the next reclaim that frees anything.
    put(&engine, 0..1000, &[2; 8]);
    let ops: Vec<_> = ops.into_iter().take(990).collect();
    engine.apply(&ops, Durability::Process).unwrap();
    let during = engine.snapshot().unwrap();
    let mut calls = 0;
    while engine.reclaim(1 << 16).unwrap().more || calls < 5 {
        calls += 1;
    }
    drop(during);
    while engine.reclaim(1 << 16).unwrap().more || calls < 10 {
        calls += 1;
    }
    assert!(index() < before / 3, "{} bytes were {before}", index());
    assert_eq!(dump(&*engine.snapshot().unwrap()).unwrap().len(), 200);
    drop(engine);
    let engine = FileEngine::open(&fs, dir.path(), TINY).unwrap();
    assert_eq!(dump(&*engine.snapshot().unwrap()).unwrap().len(), 200);
}

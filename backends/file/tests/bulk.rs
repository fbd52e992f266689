//! A run at the size of a large store, which takes minutes and is started by hand:
//!
//! ```text
//! cargo test --release -p durum-file --test bulk -- --ignored --nocapture
//! ```
//! `DURUM_BULK_OBJECTS` sets the number of objects, `DURUM_BULK_BYTES` the memory for sorting, and
//! TMPDIR where the store and the files for sorting lie.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use durum_core::check::check_within;
use durum_core::engine::{Durability, Op, Table};
use durum_core::record::{Codecs, Payload};
use durum_core::store::{LocalStore, StagedStore, StoreOptions};
use durum_core::{Oid, Tid};
use durum_file::FileBackend;

/// A number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(default, |number| number.parse().unwrap())
}

/// Kilobytes of memory of the process's own, without mapped files.
fn anonymous_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.unwrap().parse().unwrap()
}

/// Runs `work`, and prints how long it took and how much memory at most.
fn measured<T>(name: &str, work: impl FnOnce() -> T) -> T {
    let (done, peak) = (AtomicBool::new(false), AtomicU64::new(0));
    let begun = Instant::now();
    let before = anonymous_kib();
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                peak.fetch_max(anonymous_kib(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        result
    });
    let (seconds, peak) = (begun.elapsed().as_secs_f64(), peak.into_inner() / 1024);
    println!(
        "{name}: {seconds:.1} s, {peak} MiB at most ({} before)",
        before / 1024
    );
    result
}

/// The root refers to the last object, and each object to the one before it.
fn import(path: &Path, objects: u64, reverse: bool, memory: usize) -> LocalStore {
    let backend = Arc::new(FileBackend);
    let staged = StagedStore::create(backend, path, &StoreOptions::default()).unwrap();
    let mut importer = staged.importer().unwrap();
    importer = importer.with_memory(memory).unwrap();
    let (codecs, data) = (Codecs::default(), Payload::plain(b"some data"));
    measured("records", || {
        for oid in 0..objects {
            let target = match (reverse, oid) {
                (true, 0) => objects - 1,
                (true, _) => oid - 1,
                (false, _) => (oid + 1).min(objects - 1),
            };
            let refs = [Oid(target)];
            let refs = if target == oid { &[] } else { &refs[..] };
            importer
                .push(Oid(oid), Tid(1), refs, data, &codecs)
                .unwrap();
        }
    });
    let summary = measured("finish", || importer.finish(Tid(1), Oid(0)).unwrap());
    assert_eq!((summary.objects, summary.dangling), (objects, 0));
    measured("publish", || staged.publish().unwrap())
}

#[test]
#[ignore = "takes minutes; see the top of this file"]
fn lists_of_ten_million_in_both_directions() {
    let objects = setting("DURUM_BULK_OBJECTS", 10_000_000);
    let memory = setting("DURUM_BULK_BYTES", 8 << 20) as usize;
    for (name, reverse) in [("forward", false), ("reverse", true)] {
        println!("{objects} objects, {name}");
        let home = tempfile::tempdir().unwrap();
        let store = import(&home.path().join("store"), objects, reverse, memory);
        let report = measured("check", || check_within(&store, false, memory).unwrap());
        assert_eq!((report.errors, report.unreachable), (vec![], 0));
        let lost = Op::Delete {
            table: Table::Irregular,
            key: 7.into(),
        };
        let level = Durability::Process;
        store
            .while_quiet(|engine| engine.apply(&[lost], level))
            .unwrap();
        let report = measured("repair", || check_within(&store, true, memory).unwrap());
        assert_eq!(
            (report.errors, report.repaired.is_empty()),
            (vec![], !reverse)
        );
    }
}

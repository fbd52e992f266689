//! Loads, scans and commits of a store: `cargo bench -p durum-bench --bench store`.
//!
//! On the memory engine they cost what the store itself costs; LMDB's commits wait for the disk.

// What criterion's macros make has no documentation.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use durum_core::config::StoreSettings;
use durum_core::store::{Batch, LocalStore, SnapshotExt as _, Store as _};
use durum_core::{Oid, SessionId};
use fastrand::Rng;
use tempfile::TempDir;

/// Objects of each store, of 100 bytes each.
const OBJECTS: u32 = 10_000;
const DATA: [u8; 100] = [b'd'; 100];

/// A store whose root refers to all other objects.
fn store(engine: &str, directory: &TempDir) -> LocalStore {
    let settings = StoreSettings::new(engine, directory.path().join(engine));
    let store = durum_backends::registry().create(&settings).unwrap();
    let oids = store.new_oids(SessionId::EMBEDDED, OBJECTS).unwrap();
    let mut batch = Batch::new();
    batch.create(Oid::ROOT, DATA, oids.iter().copied());
    for oid in oids.iter().filter(|oid| **oid != Oid::ROOT) {
        batch.create(*oid, DATA, []);
    }
    store.commit(batch, store.durability()).unwrap();
    store
}

fn stores(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let mut draw = Rng::with_seed(7);
    for engine in ["memory", "lmdb"] {
        let store = store(engine, &directory);
        let mut group = criterion.benchmark_group(engine);
        let snapshot = store.snapshot().unwrap();
        group.throughput(Throughput::Elements(1));
        group.bench_function("load", |bencher| {
            bencher.iter(|| {
                let oid = Oid(draw.u64(1..OBJECTS.into()));
                black_box(snapshot.load(oid).unwrap().unwrap());
            });
        });
        let mut scan = snapshot.scan(Oid(1)).unwrap();
        group.bench_function("cursor step", |bencher| {
            bencher.iter(|| {
                let found = black_box(scan.next().unwrap()).is_some();
                if !found {
                    scan = snapshot.scan(Oid(1)).unwrap();
                }
            });
        });
        drop(scan);
        drop(snapshot);
        for count in [1_u64, 10, 100] {
            group.throughput(Throughput::Elements(count));
            group.bench_function(BenchmarkId::new("commit", count), |bencher| {
                bencher.iter(|| {
                    let from = draw.u64(1..u64::from(OBJECTS) - count);
                    let mut batch = Batch::new();
                    for oid in from..from + count {
                        batch.update(Oid(oid), DATA, []);
                    }
                    store.commit(batch, store.durability()).unwrap();
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, stores);
criterion_main!(benches);

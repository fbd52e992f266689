//! What a commit does for the collector: `cargo bench -p durum-bench --bench collector`.
//!
//! On the memory engine, so that it costs what core's own code costs. The same commit with references
//! that stay as they are is measured beside it.

// What criterion's macros make has no documentation.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use durum_core::config::StoreSettings;
use durum_core::store::{Batch, LocalStore, Store as _};
use durum_core::{Oid, SessionId};

const DATA: [u8; 100] = [b'd'; 100];

fn store() -> LocalStore {
    let settings = StoreSettings::new("memory", "");
    durum_backends::registry().create(&settings).unwrap()
}

fn create(store: &LocalStore, objects: u32, refs: impl Fn(u64) -> Vec<u64>) {
    let oids = store.new_oids(SessionId::EMBEDDED, objects).unwrap();
    assert_eq!(oids.first(), Some(&Oid::ROOT));
    let mut batch = Batch::new();
    for oid in oids {
        batch.create(oid, DATA, refs(oid.0).into_iter().map(Oid));
    }
    store.commit(batch, store.durability()).unwrap();
}

fn update(store: &LocalStore, updates: &[(u64, &[u64])]) {
    let mut batch = Batch::new();
    for (oid, refs) in updates {
        batch.update(Oid(*oid), DATA, refs.iter().copied().map(Oid));
    }
    store.commit(batch, store.durability()).unwrap();
}

/// Of many references one is exchanged: the difference of the old and the new ones is found, and what
/// they lead to is noted.
fn differences(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("references");
    for count in [3_u64, 30, 300] {
        let store = store();
        // The root refers to the one that changes, and to all that it refers to.
        let all: Vec<u64> = (1..count + 3).collect();
        create(&store, count as u32 + 3, |oid| match oid {
            0 => all.clone(),
            1 => (2..count + 2).collect(),
            _ => Vec::new(),
        });
        let [one, other]: [Vec<u64>; 2] = [(2..count + 2).collect(), (3..count + 3).collect()];
        group.bench_function(BenchmarkId::new("unchanged", count), |bencher| {
            update(&store, &[(1, &one)]);
            bencher.iter(|| update(&store, &[(1, &one)]));
        });
        let mut is_other = false;
        group.bench_function(BenchmarkId::new("one exchanged", count), |bencher| {
            bencher.iter(|| {
                is_other = !is_other;
                update(&store, &[(1, if is_other { &other } else { &one })]);
            });
        });
    }
    group.finish();
}

/// An object goes over from one chain to another: whether it is still reached is found by climbing up.
fn climbs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("anchors");
    for depth in [1_u64, 10, 100] {
        let store = store();
        // Objects 1 to `depth`, and as many behind them, are the chains; the last one goes over.
        let moved = 2 * depth + 1;
        create(&store, 2 * depth as u32 + 2, |oid| match oid {
            0 => vec![1, depth + 1],
            oid if oid == depth || oid == 2 * depth => vec![moved],
            oid if oid < moved => vec![oid + 1],
            _ => Vec::new(),
        });
        let (left, right) = (depth, 2 * depth);
        group.bench_function(BenchmarkId::new("goes over, depth", depth), |bencher| {
            bencher.iter(|| {
                update(&store, &[(left, &[]), (right, &[moved])]);
                update(&store, &[(left, &[moved]), (right, &[])]);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, differences, climbs);
criterion_main!(benches);

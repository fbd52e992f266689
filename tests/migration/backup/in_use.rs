//! Backups that are taken while others commit.

use std::sync::atomic::{AtomicBool, Ordering};

use durum_core::collect::Budget;
use durum_core::store::{Batch, Collection, LocalStore, Store as _, StoreOptions};
use durum_core::{Oid, SessionId, Tid};
use durum_testkit::seed;
use fastrand::Rng;

use super::{restore_to, take};
use crate::kept::{Flaw, NAME, registry_with};
use crate::sample::{best, contents, open, persistent};

/// Objects that every commit changes together, the root included.
const TOGETHER: usize = 40;

/// Gives all objects the same data, and now and then makes garbage.
fn commit(store: &LocalStore, oids: &[Oid], round: u64) {
    let oid = store.new_oids(SessionId::EMBEDDED, 1).unwrap()[0];
    let mut batch = Batch::new();
    batch.create(oid, round.to_string(), []);
    for known in oids {
        let all = oids.iter().copied().filter(|_| *known == Oid::ROOT);
        // What the round before linked here is garbage now.
        batch.update(*known, round.to_string(), all.chain([oid]));
    }
    store.commit(batch, store.engine().durability[0]).unwrap();
}

#[test]
fn a_backup_shows_one_commit_while_others_go_on() {
    let mut draw = Rng::with_seed(seed());
    let directory = tempfile::tempdir().unwrap();
    let registry = registry_with(Flaw::None);
    for engine in persistent(&registry) {
        let url = format!("{engine}:{}", directory.path().join(engine).display());
        let store = registry
            .create(&registry.parse_store(&url).unwrap())
            .unwrap();
        let oids = store
            .new_oids(SessionId::EMBEDDED, TOGETHER as u32)
            .unwrap();
        let mut batch = Batch::new();
        for oid in &oids {
            let all = oids.iter().copied().filter(|_| *oid == Oid::ROOT);
            batch.create(*oid, *b"0", all);
        }
        store.commit(batch, store.engine().durability[0]).unwrap();

        let stop = AtomicBool::new(false);
        let points = std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut round = 0;
                while !stop.load(Ordering::Relaxed) {
                    round += 1;
                    commit(&store, &oids, round);
                }
            });
            let points = (0..4).fold(Vec::new(), |mut points: Vec<super::Taken>, _| {
                // Something is committed between any two.
                let last = points.last().map(|it| it.summary.header.tid);
                while store.stats().unwrap().tid <= last.unwrap_or(Tid(3)) {
                    std::thread::yield_now();
                }
                points.push(take(&store, last, draw.bool()));
                points
            });
            stop.store(true, Ordering::Relaxed);
            points
        });
        drop(store);
        let chain: Vec<&[u8]> = points.iter().map(|it| it.bytes.as_slice()).collect();
        for (number, point) in points.iter().enumerate() {
            let tid = point.summary.header.tid;
            let path = directory.path().join(format!("{engine}-{number}"));
            let url = format!("{engine}:{}", path.display());
            let done = restore_to(&registry, &chain, Some(tid), &url).unwrap();
            assert_eq!(done.digest, point.digest, "{url}");
            let found = contents(&open(&registry, &url));
            assert!(found == point.objects, "{url}");
            let root = &found[0];
            for object in found.iter().filter(|it| oids.contains(&it.oid)) {
                assert_eq!(
                    (object.tid, &object.data),
                    (root.tid, &root.data),
                    "{url}: object {} is of another commit",
                    object.oid
                );
            }
            let linked = found.iter().filter(|it| root.refs.contains(&it.oid));
            assert_eq!(linked.count(), TOGETHER, "{url}");
        }
    }
}

/// What a collection has condemned is gone at once, and is deleted bit by bit: increments that begin and end
/// meanwhile hold each deletion where it belongs.
#[test]
fn increments_while_a_large_structure_is_deleted() {
    const RING: u32 = 3000;
    let mut draw = Rng::with_seed(seed());
    let directory = tempfile::tempdir().unwrap();
    let registry = registry_with(Flaw::None);
    let options = StoreOptions {
        collection: Collection {
            commit: Budget {
                deletes: 100,
                reads: 700,
                time: None,
            },
            worker: None,
            reclaim: false,
        },
        ..StoreOptions::default()
    };
    let path = directory.path().join("store");
    let backend = registry.get(NAME).unwrap();
    let store = LocalStore::create(backend, &path, &options).unwrap();
    let oids = store.new_oids(SessionId::EMBEDDED, RING + 1).unwrap();
    let ring = &oids[1..];
    let root = |refs: &[Oid]| {
        let mut batch = Batch::new();
        batch.update(Oid::ROOT, *b"root", refs.iter().copied());
        store.commit(batch, best(&store)).unwrap();
    };
    let mut batch = Batch::new();
    batch.create(Oid::ROOT, *b"root", [ring[0]]);
    for (index, oid) in ring.iter().enumerate() {
        batch.create(*oid, *b"in a ring", [ring[(index + 1) % ring.len()]]);
    }
    store.commit(batch, best(&store)).unwrap();
    let mut points = vec![take(&store, None, false)];
    root(&[]);
    let mut condemned = 0;
    loop {
        let left = store.pending().unwrap().condemned;
        if left == 0 && store.stats().unwrap().objects == 1 {
            break;
        }
        condemned += u64::from(left > 0);
        let earlier = draw.usize(..points.len());
        let since = points[earlier].summary.header.tid;
        points.push(take(&store, Some(since), true));
        root(&[]);
    }
    let since = points[draw.usize(..points.len())].summary.header.tid;
    points.push(take(&store, Some(since), true));
    assert!(condemned > 3, "{condemned} increments while it was deleted");
    let chain: Vec<&[u8]> = points.iter().map(|it| it.bytes.as_slice()).collect();
    for (number, point) in points.iter().enumerate() {
        let url = format!(
            "{NAME}:{}",
            directory.path().join(number.to_string()).display()
        );
        let tid = point.summary.header.tid;
        let done = restore_to(&registry, &chain, Some(tid), &url).unwrap();
        assert_eq!(done.digest, point.digest, "{number} of {}", points.len());
        assert!(contents(&open(&registry, &url)) == point.objects);
    }
    assert_eq!(points.last().unwrap().objects.len(), 1);
}

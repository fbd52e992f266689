//! Backups that are taken while others commit.

use std::sync::atomic::{AtomicBool, Ordering};

use durum_core::store::{Batch, LocalStore, Store as _};
use durum_core::{Oid, SessionId, Tid};
use durum_testkit::seed;
use fastrand::Rng;

use super::{restore_to, take};
use crate::kept::{Flaw, registry_with};
use crate::sample::{contents, open, persistent};

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

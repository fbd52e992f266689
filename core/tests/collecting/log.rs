//! The log of changes while large structures are condemned and deleted.

use super::*;

/// A condemned set is deleted to its end while somebody reads the log.
#[test]
fn deletions_are_reported_while_a_condemned_set_ends() {
    let place = Place::new();
    let collection = Collection {
        commit: budget(50, 400),
        worker: None,
        reclaim: false,
    };
    let store = Arc::new(place.create(collection));
    let oids = ring(&store, 3000);
    let since = root(&store, &[]).tid;
    while store.stats().unwrap().objects > 1 {
        root(&store, &[]);
    }
    assert!(store.pending().unwrap().condemned > 0);
    let collecting = store.clone();
    place.backend.after_next_view(move || {
        // On another thread: this one may hold a lock of the reader's.
        let thread = std::thread::spawn(move || collecting.collect().unwrap());
        thread.join().unwrap();
    });
    let changes = store.changes_since(since).unwrap().changes;
    let mut deleted: Vec<Oid> = changes
        .iter()
        .filter(|change| change.deleted)
        .map(|change| change.oid)
        .collect();
    deleted.sort_unstable();
    assert_eq!(store.pending().unwrap().condemned, 0);
    assert_eq!(deleted.len(), oids.len());
    assert_eq!(deleted, oids);
}

/// Whoever follows the log applies one change after the other.
#[test]
fn what_a_commit_writes_and_deletes_is_deleted_last() {
    // Deleted by the commit itself, and condemned by it.
    for deletes in [u64::MAX, 50] {
        let place = Place::new();
        let store = place.create(in_commits(deletes, u64::MAX));
        let kept = store.new_oids(SessionId::EMBEDDED, 5000).unwrap();
        let mut batch = Batch::new();
        for oid in &kept {
            batch.create(*oid, "kept", []);
        }
        batch.update(Oid::ROOT, "root", kept.iter().copied());
        commit(&store, batch).unwrap();
        let oids = ring(&store, 5000);
        // All are rewritten by the commit that unlinks some of them.
        let mut batch = Batch::new();
        for oid in &kept {
            batch.update(*oid, "again", []);
        }
        for (index, oid) in oids.iter().enumerate() {
            batch.update(*oid, "again", [oids[(index + 1) % oids.len()]]);
        }
        batch.update(Oid::ROOT, "root", kept.iter().copied());
        let before = Tid(commit(&store, batch).unwrap().tid.0 - 1);
        assert_eq!(store.stats().unwrap().objects, 5001);
        for _ in 0..2 {
            let changes = store.changes_since(before).unwrap().changes;
            let mut deleted = BTreeMap::new();
            for change in &changes {
                deleted.insert(change.oid, change.deleted);
            }
            assert_eq!(changes.len(), 15_001);
            assert!(oids.iter().all(|oid| deleted[oid]));
            assert!(kept.iter().all(|oid| !deleted[oid]));
            store.collect().unwrap();
        }
    }
}

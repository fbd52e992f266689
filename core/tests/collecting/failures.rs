//! Damage and failures that collection meets: commits go on, and so does it.

use super::*;

/// A commit that links what is pinned climbs through a damaged object, and is made.
#[test]
fn a_commit_does_not_fail_for_damage_that_it_only_climbs_through() {
    for kind in [SessionKind::Client, SessionKind::DurusClient] {
        let place = Place::new();
        let store = place.create(Collection::OFF);
        let session = store.session(kind).unwrap();
        let [low, mid, high] = store.new_oids(session, 3).unwrap().try_into().unwrap();
        let mut batch = Batch::of(session);
        batch.create(low, "low", []);
        batch.create(mid, "mid", [low]);
        batch.create(high, "high", [mid]);
        batch.update(Oid::ROOT, "root", [high]);
        commit(&store, batch).unwrap();
        let new = lone(&store, session);
        let oid = Key::from(high.0);
        let mut bytes = Vec::new();
        let view = store.raw_engine().snapshot().unwrap();
        view.get(Table::Objects, oid, &mut |stored| bytes = stored.to_vec())
            .unwrap();
        drop(view);
        *bytes.last_mut().unwrap() ^= 1;
        write_below(&store, Table::Objects, oid, Some(&bytes));
        // Anchors ascend from `low` to `high`, so that the floor is of no help.
        let mut batch = Batch::of(session);
        batch.update(mid, "mid", [low, new]);
        commit(&store, batch).unwrap();
        let mut batch = Batch::of(session);
        batch.update(mid, "mid", []);
        commit(&store, batch).unwrap();
        assert!(exists(&store, new));
    }
}

/// Writes that fail for a passing reason do not end the background worker.
#[test]
fn the_worker_goes_on_after_a_passing_failure() {
    for kind in [ErrorKind::Full, ErrorKind::InUse] {
        let place = Place::new();
        let store = place.create(Collection {
            worker: Some(budget(100, 1000)),
            ..Collection::OFF
        });
        ring(&store, 500);
        let mut unlink = Batch::new();
        unlink.update(Oid::ROOT, "root", []);
        commit(&store, unlink).unwrap();
        place.backend.fail_write(kind);
        let begun = Instant::now();
        while store.stats().unwrap().objects > 1 {
            if !place.backend.write_is_to_fail() {
                root(&store, &[]);
            }
            assert!(
                begun.elapsed() < PATIENCE / 4,
                "{kind:?}: the worker is gone"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Reading fails once, other than by damage: the next slice collects.
#[test]
fn collection_goes_on_after_a_passing_failure_to_read() {
    let place = Place::new();
    let store = place.create(in_commits(256, 4096));
    let session = store.session(SessionKind::Client).unwrap();
    lone(&store, session);
    store.end_session(session).unwrap();
    // This one reads nothing but what is collected.
    place.backend.fail_read(Table::Referrers);
    root(&store, &[]);
    assert_eq!(store.stats().unwrap().objects, 2);
    assert_eq!(store.collect().unwrap().objects, 1);
    assert_eq!(store.pending().unwrap().failed, None);
}

/// The worker meets damage, which is repaired while the store is open: it goes on.
#[test]
fn the_worker_goes_on_after_a_repair() {
    let place = Place::new();
    let store = place.create(Collection {
        worker: Some(budget(100, 1000)),
        ..Collection::OFF
    });
    let oids = ring(&store, 500);
    let row = Key::from(oids[7].0);
    write_below(&store, Table::Referrers, row, Some(b"rubbish"));
    root(&store, &[]);
    let begun = Instant::now();
    while store.pending().unwrap().failed.is_none() {
        assert!(begun.elapsed() < PATIENCE, "it has not met the damage");
        std::thread::sleep(Duration::from_millis(2));
    }
    root(&store, &[]);
    assert_eq!(check(&store, true).unwrap().errors, []);
    while store.stats().unwrap().objects > 1 {
        assert!(begun.elapsed() < PATIENCE, "the worker is gone");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_clean(&store);
}

/// A slice fails when it shortens the log of changes: what it had done counts as not done.
#[test]
fn a_slice_that_cannot_shorten_the_log_is_done_again() {
    let place = Place::new();
    let store = place.create(Collection::OFF);
    let session = store.session(SessionKind::Client).unwrap();
    lone(&store, session);
    // The log is shortened when it is longer than 65,536 commits by 1,024.
    while store.stats().unwrap().tid < Tid(65_536 + 1024 - 1) {
        root(&store, &[]);
    }
    store.end_session(session).unwrap();
    place.backend.fail_read(Table::Changes);
    assert_eq!(store.collect().unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(store.collect().unwrap().objects, 1);
}

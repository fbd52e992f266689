//! Snapshots: fixed, whatever happens, on every engine.

use super::{Fixture, assert_snapshot};
use crate::error::ErrorKind;
use crate::id::Oid;
use crate::store::{SnapshotExt as _, StoreOptions};

/// Updates, creations and deletions after a snapshot was taken do not show in it.
pub fn a_snapshot_stays_fixed_while_others_commit(fixture: &Fixture) {
    let mut subject = fixture.create();
    let mut kept = Vec::new();
    subject.put(&[(Oid(0), b"root", &[])]);
    for round in 0..20u8 {
        let snapshot = subject.store().snapshot().unwrap();
        // Some are read from before the next commits, some not before the end.
        if round % 2 == 0 {
            assert_snapshot(&*snapshot, &subject.model);
        }
        kept.push((snapshot, subject.model.clone()));
        let oids = subject.oids(2);
        let (old, _) = subject.model.last_key_value().unwrap();
        let old = *old;
        subject.put(&[
            (oids[0], &[round; 40], &[oids[1]]),
            (oids[1], &[round], &[Oid(0)]),
            (Oid(0), &[round; 9], &[oids[0], old]),
        ]);
        if round % 5 == 4 {
            subject.store().collect().unwrap();
            let live = [Oid(0), oids[0], oids[1], old];
            let reached = reached_from(&subject.model, &live);
            subject.model.retain(|oid, _| reached.contains(oid));
        }
        for (snapshot, model) in &kept {
            assert_snapshot(&**snapshot, model);
        }
    }
    drop(kept);
    subject.finish();
}

fn reached_from(model: &super::Model, roots: &[Oid]) -> std::collections::BTreeSet<Oid> {
    let mut found = std::collections::BTreeSet::new();
    let mut stack = roots.to_vec();
    while let Some(oid) = stack.pop() {
        if found.insert(oid) {
            stack.extend(model[&oid].0.iter().copied());
        }
    }
    found
}

/// A scan that has begun shows its state to the end, also where rows before and behind it change.
pub fn a_scan_stays_fixed_while_others_commit(fixture: &Fixture) {
    let mut subject = fixture.create();
    let oids: Vec<Oid> = subject.oids(3000);
    let objects: Vec<(Oid, &[u8], &[Oid])> = oids
        .iter()
        .map(|oid| (*oid, b"old".as_slice(), &[][..]))
        .collect();
    subject.put(&objects);
    let snapshot = subject.store().snapshot().unwrap();
    let expected = subject.model.clone();
    let mut scan = snapshot.scan(Oid::ROOT).unwrap();
    let mut seen = Vec::new();
    while let Some(record) = scan.next().unwrap() {
        let object = record.to_object(snapshot.codecs()).unwrap();
        assert_eq!(object.data, expected[&object.oid].1);
        seen.push(object.oid);
        if seen.len() % 500 == 1 {
            let behind = oids[2999 - seen.len() / 500];
            let new = subject.oids(1)[0];
            subject.put(&[
                (oids[0], b"new", &[]),
                (behind, b"new", &[]),
                (new, b"new", &[]),
            ]);
        }
    }
    assert!(seen.iter().eq(expected.keys()));
    drop(scan);
    drop(snapshot);
    subject.finish();
}

/// Deleted objects can be read for as long as a snapshot has them.
pub fn a_snapshot_outlives_the_deletion_of_its_objects(fixture: &Fixture) {
    let mut subject = fixture.create();
    let oids = subject.oids(2);
    subject.put(&[(oids[0], b"root", &[oids[1]]), (oids[1], b"leaf", &[])]);
    let before = subject.store().snapshot().unwrap();
    let model = subject.model.clone();
    subject.put(&[(oids[0], b"root", &[])]);
    assert_eq!(subject.store().collect().unwrap().objects, 1);
    subject.model.remove(&oids[1]);
    assert_eq!(before.load(oids[1]).unwrap().unwrap().data, b"leaf");
    assert_snapshot(&*before, &model);
    assert_eq!(
        subject.store().snapshot().unwrap().load(oids[1]).unwrap(),
        None
    );
    drop(before);
    subject.finish();
}

/// What superseded records may take is bounded; a snapshot beyond fails, and says why.
pub fn a_snapshot_that_grew_too_old_says_so(fixture: &Fixture) {
    let options = StoreOptions {
        superseded_bytes_max: 10_000,
        ..fixture.options()
    };
    let mut subject = fixture.create_with(options);
    subject.put(&[(Oid(0), &[1; 4000], &[])]);
    let old = subject.store().snapshot().unwrap();
    for round in 0..5 {
        subject.put(&[(Oid(0), &[round; 4000], &[])]);
    }
    // An engine with snapshots of its own may still have this one; if not, it is said.
    match old.load(Oid(0)) {
        Ok(object) => assert_eq!(object.unwrap().data, [1; 4000]),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::TooOld);
            assert!(error.retry() && error.to_string().contains("too old"));
        }
    }
    let new = subject.store().snapshot().unwrap();
    assert_eq!(new.load(Oid(0)).unwrap().unwrap().data, [4; 4000]);
    drop((old, new));
    subject.finish();
}

/// Many snapshots that nobody reads from are in nobody's way, nor is one in the middle of a scan.
pub fn idle_snapshots_do_not_hold_up_commits(fixture: &Fixture) {
    let mut subject = fixture.create();
    subject.put(&[(Oid(0), &[7; 5000], &[])]);
    let snapshots: Vec<_> = (0..100)
        .map(|_| subject.store().snapshot().unwrap())
        .collect();
    for snapshot in &snapshots {
        snapshot.load(Oid(0)).unwrap();
    }
    let mut scan = snapshots[0].scan(Oid::ROOT).unwrap();
    assert!(scan.next().unwrap().is_some());
    // Enough for an engine with a small map to have to make room more than once.
    let oids = subject.oids(64);
    for oids in oids.chunks(8) {
        let data = vec![oids[0].0 as u8; 100_000];
        let objects: Vec<(Oid, &[u8], &[Oid])> = oids
            .iter()
            .map(|oid| (*oid, data.as_slice(), &[][..]))
            .collect();
        subject.put(&objects);
    }
    assert!(scan.next().unwrap().is_none());
    for snapshot in &snapshots {
        assert_eq!(snapshot.load(Oid(0)).unwrap().unwrap().data, [7; 5000]);
        assert_eq!(snapshot.load(oids[0]).unwrap(), None);
    }
    drop(scan);
    drop(snapshots);
    subject.finish();
}

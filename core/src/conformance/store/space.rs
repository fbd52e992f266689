//! Space that goes back to the system, under snapshots and commits.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{Fixture, Subject, assert_snapshot};
use crate::error::ErrorKind;
use crate::id::Oid;
use crate::store::{SnapshotExt as _, Store as _};

const OBJECTS: u32 = 400;

/// A root with many objects, of which nine of ten are collected.
fn fill_and_collect(subject: &mut Subject<'_>) -> Vec<Oid> {
    let oids = subject.oids(OBJECTS);
    let data = vec![7; 5000];
    let mut objects: Vec<(Oid, &[u8], &[Oid])> = vec![(oids[0], b"root", &oids[1..])];
    objects.extend(oids[1..].iter().map(|oid| (*oid, data.as_slice(), &[][..])));
    subject.put(&objects);
    let kept = oids.len() / 10;
    subject.put(&[(oids[0], b"root", &oids[1..kept])]);
    subject.store().collect().unwrap();
    subject.model.retain(|oid, _| *oid < oids[kept]);
    oids
}

/// Store snapshots from before stay valid, others read while the copy is made, commits come after it;
/// where the engine has no compaction that is said, and nothing happens.
pub fn snapshots_outlast_a_compaction(fixture: &Fixture) {
    let mut subject = fixture.create();
    let oids = fill_and_collect(&mut subject);
    let before = subject.store().snapshot().unwrap();
    let model = subject.model.clone();
    let ended = AtomicBool::new(false);
    let mut last = (0, 0);
    std::thread::scope(|scope| {
        let store = subject.store();
        let (ended, model, oids) = (&ended, &model, &oids);
        let reader = scope.spawn(move || {
            let mut loads = 0;
            while !ended.load(Ordering::Acquire) || loads < 20 {
                let snapshot = store.snapshot().unwrap();
                let oid = oids[1 + loads % (oids.len() / 10 - 1)];
                let found = snapshot.load(oid).unwrap().expect("an object that is kept");
                assert_eq!(found.data, model[&oid].1);
                loads += 1;
            }
        });
        let compacted = store.compact(&mut |done, total| last = (done, total));
        ended.store(true, Ordering::Release);
        reader.join().expect("a reader that found nothing wrong");
        match fixture.capabilities().compaction {
            true => assert!(compacted.unwrap() > 0),
            false => assert_eq!(compacted.unwrap_err().kind(), ErrorKind::Unsupported),
        }
    });
    assert_eq!(last.0, last.1);
    assert_snapshot(&*before, &model);
    subject.put(&[(oids[1], b"later", &[])]);
    assert_snapshot(&*before, &model);
    drop(before);
    subject.finish();
}

/// Slices of it, with a snapshot open and commits in between.
pub fn snapshots_outlast_reclaiming(fixture: &Fixture) {
    let mut subject = fixture.create();
    let oids = fill_and_collect(&mut subject);
    let before = subject.store().snapshot().unwrap();
    let model = subject.model.clone();
    for round in 0..200_u32 {
        let step = subject.store().reclaim(64 << 10).unwrap();
        assert!(fixture.capabilities().reclaim || step.bytes == 0);
        if round % 8 == 0 {
            subject.put(&[(oids[1], &round.to_le_bytes(), &[])]);
            assert_snapshot(&*before, &model);
        }
        if !step.more {
            break;
        }
    }
    assert_snapshot(&*before, &model);
    drop(before);
    subject.finish();
}

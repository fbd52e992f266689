//! Many threads at once.

use std::sync::atomic::{AtomicBool, Ordering};

use super::Fixture;
use crate::error::ErrorKind;
use crate::id::{Oid, SessionId};
use crate::store::{Batch, SnapshotExt as _};

const THREADS: u64 = 4;

/// Threads that increment one number, each reading and retrying after conflicts, lose nothing.
pub fn counters_are_never_lost(fixture: &Fixture) {
    const ROUNDS: u64 = 25;
    let mut subject = fixture.create();
    subject.put(&[(Oid(0), &0u64.to_le_bytes(), &[])]);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| (0..ROUNDS).for_each(|_| increment(&subject)));
        }
    });
    let total = (THREADS * ROUNDS).to_le_bytes().to_vec();
    subject.model.insert(Oid(0), (vec![], total));
    subject.finish();
}

fn increment(subject: &super::Subject<'_>) {
    loop {
        let object = subject
            .store()
            .snapshot()
            .unwrap()
            .load(Oid(0))
            .unwrap()
            .unwrap();
        let number = u64::from_le_bytes(object.data.try_into().unwrap());
        let mut batch = Batch::new();
        batch
            .update(Oid(0), (number + 1).to_le_bytes(), [])
            .expect(Oid(0), object.tid);
        match subject.commit(batch) {
            Ok(_) => return,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict),
        }
    }
}

/// Writers of pairs that always hold equal data, and readers that never see an unequal pair.
pub fn many_committers_and_readers(fixture: &Fixture) {
    const ROUNDS: u8 = 40;
    let mut subject = fixture.create();
    let oids = subject.oids(1 + 2 * THREADS as u32);
    let objects: Vec<(Oid, &[u8], &[Oid])> = oids
        .iter()
        .map(|oid| (*oid, [0; 50].as_slice(), &[][..]))
        .collect();
    subject.put(&objects);
    let done = AtomicBool::new(false);
    let (pairs, _) = oids[1..].as_chunks::<2>();
    std::thread::scope(|scope| {
        let writers: Vec<_> = pairs
            .iter()
            .map(|[first, second]| {
                let subject = &subject;
                scope.spawn(move || {
                    for round in 1..=ROUNDS {
                        let mut batch = Batch::new();
                        batch
                            .update(*first, [round; 50], [])
                            .update(*second, [round; 50], []);
                        let new = subject.store().new_oids(SessionId::EMBEDDED, 1).unwrap()[0];
                        batch.create(new, [round; 9], [*first]);
                        subject.commit(batch).unwrap();
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let snapshot = subject.store().snapshot().unwrap();
                for [first, second] in pairs {
                    let found = snapshot.load_many(&[*first, *second]).unwrap();
                    assert_eq!(
                        found[0].as_ref().unwrap().data,
                        found[1].as_ref().unwrap().data
                    );
                }
                let mut scan = snapshot.scan(Oid::ROOT).unwrap();
                while let Some(record) = scan.next().unwrap() {
                    assert!(record.tid <= snapshot.tid());
                }
            }
        });
        let results: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        done.store(true, Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok));
    });
    let stats = subject.store().stats().unwrap();
    let commits = THREADS * u64::from(ROUNDS);
    assert_eq!(stats.objects, oids.len() as u64 + commits);
    // Handing out OIDs writes without a commit; every commit has its own tid.
    assert_eq!(stats.tid.0, 1 + commits);
    let snapshot = subject.store().snapshot().unwrap();
    let mut scan = snapshot.scan(Oid::ROOT).unwrap();
    while let Some(record) = scan.next().unwrap() {
        let object = record.to_object(snapshot.codecs()).unwrap();
        subject.model.insert(object.oid, (object.refs, object.data));
    }
    drop(scan);
    drop(snapshot);
    for oid in &oids[1..] {
        assert_eq!(subject.model[oid].1, [ROUNDS; 50]);
    }
    subject.finish();
}

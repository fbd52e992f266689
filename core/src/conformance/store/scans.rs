//! Walking over objects.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::Fixture;
use crate::id::Oid;
use crate::record::Record;
use crate::store::{Snapshot, SnapshotExt as _};

/// Ascending, from any OID on, over chunks of all sizes.
pub fn a_scan_ascends_and_starts_anywhere(fixture: &Fixture) {
    let mut subject = fixture.create();
    let oids = subject.oids(6000);
    let data = [1; 200];
    let chosen: Vec<Oid> = oids.iter().copied().filter(|oid| oid.0 % 3 != 1).collect();
    let objects: Vec<(Oid, &[u8], &[Oid])> = chosen
        .iter()
        .map(|oid| (*oid, &data[..(oid.0 % 200) as usize], &[][..]))
        .collect();
    subject.put(&objects);
    let snapshot = subject.store().snapshot().unwrap();
    for from in [
        0,
        1,
        2,
        31,
        32,
        33,
        4000,
        5999,
        6000,
        1 << 40,
        Oid::MAX.0,
        u64::MAX,
    ] {
        let mut scan = snapshot.scan(Oid(from)).unwrap();
        let mut expected = chosen.iter().filter(|oid| oid.0 >= from);
        while let Some(record) = scan.next().unwrap() {
            assert_eq!(Some(&record.oid), expected.next());
        }
        assert_eq!(expected.next(), None);
        assert!(
            scan.next().unwrap().is_none(),
            "a scan that has ended stays so"
        );
        let expected: Vec<Oid> = chosen.iter().copied().filter(|oid| oid.0 >= from).collect();
        for wanted in [1, 4096, 4097, usize::MAX] {
            let mut lent = Vec::new();
            let visit = &mut |record: Record<'_>| {
                lent.push(record.oid);
                Ok(lent.len() < wanted)
            };
            snapshot.scan_with(Oid(from), visit).unwrap();
            assert_eq!(lent, expected[..wanted.min(expected.len())]);
        }
    }
    drop(snapshot);
    subject.finish();
}

/// Rows that are lent are those of the snapshot, whatever is committed before and between them.
pub fn lent_records_are_those_of_the_snapshot(fixture: &Fixture) {
    const COUNT: usize = 9000;
    let mut subject = fixture.create();
    let oids = subject.oids(COUNT as u32);
    let objects: Vec<(Oid, &[u8], &[Oid])> = oids
        .iter()
        .map(|oid| (*oid, &b"old"[..], &[][..]))
        .collect();
    subject.put(&objects);
    let lent = |snapshot: &dyn Snapshot, pause: &mut dyn FnMut(usize)| {
        let mut found = Vec::new();
        let mut from = Some(Oid::ROOT);
        while let Some(begin) = from.take() {
            let visit = &mut |record: Record<'_>| {
                found.push((record.oid, record.payload().bytes().to_vec()));
                // Commits have to wait for the end of the walk on some engines.
                let more = found.len() % 3000 != 0;
                from = (!more).then(|| record.oid.next());
                Ok(more)
            };
            snapshot.scan_with(begin, visit).unwrap();
            pause(found.len());
        }
        found
    };
    let early = subject.store().snapshot().unwrap();
    let before = lent(&*early, &mut |_| {});
    assert_eq!(before.len(), COUNT);
    // Some are changed and one comes while the walk pauses: neither is to be seen.
    let late = subject.oids(1)[0];
    let during = lent(&*early, &mut |found| {
        if found < COUNT {
            let [first, last] = [oids[10], oids[COUNT - 10]];
            subject.put(&[
                (first, b"new", &[]),
                (last, b"new", &[]),
                (late, b"new", &[]),
            ]);
        }
    });
    assert!(during == before);
    let after = lent(&*subject.store().snapshot().unwrap(), &mut |_| {});
    let changed = after.iter().filter(|(_, data)| data == b"new").count();
    assert_eq!((after.len(), changed), (COUNT + 1, 3));
    drop(early);
    subject.finish();
}

/// Who takes his time for each record that he is lent does not keep others from work for which the engine's
/// snapshots have to be closed.
pub fn a_slow_borrower_lets_others_work(fixture: &Fixture) {
    const COUNT: usize = 200;
    let mut subject = fixture.create();
    let oids = subject.oids(COUNT as u32);
    let objects: Vec<_> = oids.iter().map(|oid| (*oid, &b"x"[..], &[][..])).collect();
    subject.put(&objects);
    let (store, visited) = (subject.store(), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let (begun, begins) = std::sync::mpsc::channel();
        let visited = &visited;
        scope.spawn(move || {
            let visit = &mut |_: Record<'_>| {
                visited.fetch_add(1, Ordering::Relaxed);
                begun.send(()).unwrap();
                std::thread::sleep(Duration::from_millis(2));
                Ok(true)
            };
            let snapshot = store.snapshot().unwrap();
            snapshot.scan_with(Oid::ROOT, visit).unwrap();
        });
        begins.recv().unwrap();
        let seen = subject
            .local()
            .while_quiet(|_| Ok(visited.load(Ordering::Relaxed)));
        let seen = seen.unwrap();
        assert!(seen < COUNT, "the walk was waited for");
        // So that the other end stays.
        begins.iter().for_each(drop);
    });
    assert_eq!(visited.into_inner(), COUNT);
    subject.finish();
}

/// Answers come in the order of the questions, absent objects included.
pub fn loads_of_many(fixture: &Fixture) {
    let mut subject = fixture.create();
    let oids = subject.oids(3);
    subject.put(&[(oids[0], b"0", &[]), (oids[2], b"2", &[])]);
    let snapshot = subject.store().snapshot().unwrap();
    let found = snapshot
        .load_many(&[oids[2], oids[1], oids[0], oids[2]])
        .unwrap();
    let data: Vec<_> = found
        .into_iter()
        .map(|object| object.map(|object| object.data))
        .collect();
    let expected = [
        Some(b"2".to_vec()),
        None,
        Some(b"0".to_vec()),
        Some(b"2".to_vec()),
    ];
    assert_eq!(data, expected);
    drop(snapshot);
    subject.finish();
}

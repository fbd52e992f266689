//! Walking over objects.

use super::Fixture;
use crate::id::Oid;
use crate::store::{SnapshotExt as _, Store as _};

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
    }
    drop(snapshot);
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

//! Small and large objects, small and large commits.

use super::Fixture;
use crate::id::Oid;
use crate::store::SnapshotExt as _;

/// Data of 0 to 70 bytes, which passes the thresholds of codecs and page layouts.
pub fn objects_of_no_and_of_few_bytes(fixture: &Fixture) {
    let mut subject = fixture.create();
    let data = [0xab; 70];
    let oids = subject.oids(71);
    let objects: Vec<(Oid, &[u8], &[Oid])> = oids
        .iter()
        .enumerate()
        .map(|(length, oid)| (*oid, &data[..length], &[][..]))
        .collect();
    subject.put(&objects);
    subject.finish();
}

/// An object as large as a file.
pub fn an_object_of_64_mib(fixture: &Fixture) {
    let mut subject = fixture.create();
    let mut random = fastrand::Rng::with_seed(64);
    let data: Vec<u8> = (0..8 << 20)
        .flat_map(|_| random.u64(..).to_le_bytes())
        .collect();
    subject.put(&[(Oid(0), &data, &[])]);
    subject.reopen();
    let object = subject
        .store()
        .snapshot()
        .unwrap()
        .load(Oid(0))
        .unwrap()
        .unwrap();
    assert!(object.data == data);
    subject.put(&[(Oid(0), b"small again", &[])]);
    subject.finish();
}

/// An object that refers to a hundred thousand others.
pub fn a_hundred_thousand_references(fixture: &Fixture) {
    let mut subject = fixture.create();
    let oids = subject.oids(100_001);
    let objects: Vec<(Oid, &[u8], &[Oid])> = oids[1..]
        .iter()
        .map(|oid| (*oid, b"leaf".as_slice(), &[][..]))
        .collect();
    for objects in objects.chunks(25_000) {
        subject.put(objects);
    }
    subject.put(&[(oids[0], b"root", &oids[1..])]);
    subject.put(&[(oids[0], b"root", &oids[50_000..])]);
    assert_eq!(subject.store().collect().unwrap().objects, 49_999);
    oids[1..50_000]
        .iter()
        .for_each(|oid| drop(subject.model.remove(oid)));
    subject.finish();
}

/// One commit with many objects.
pub fn a_commit_of_many_objects(fixture: &Fixture) {
    let mut subject = fixture.create();
    let oids = subject.oids(20_000);
    let data = [5; 100];
    let objects: Vec<(Oid, &[u8], &[Oid])> = oids
        .iter()
        .map(|oid| (*oid, data.as_slice(), &oids[..1]))
        .collect();
    subject.put(&objects);
    subject.finish();
}

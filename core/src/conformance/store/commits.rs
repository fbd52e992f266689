//! Commits: atomic, with conflicts and dangling references refused.

use super::Fixture;
use crate::error::ErrorKind;
use crate::id::{Oid, Tid};
use crate::store::{Batch, SnapshotExt as _};

/// One bad write keeps the good ones of its batch out.
pub fn a_commit_is_all_or_nothing(fixture: &Fixture) {
    let mut subject = fixture.create();
    subject.put(&[(Oid(0), b"root", &[])]);
    let oids = subject.oids(2);
    let mut batch = Batch::new();
    batch
        .create(oids[0], b"good".as_slice(), [])
        .update(Oid(0), b"changed".as_slice(), [oids[0]]);
    batch.create(oids[1], b"bad".as_slice(), [Oid(1 << 40)]);
    let before = subject.store().stats().unwrap();
    let error = subject.commit(batch).unwrap_err();
    assert_eq!(
        (error.kind(), error.oids()),
        (ErrorKind::Gone, [Oid(1 << 40)].as_slice())
    );
    let after = subject.store().stats().unwrap();
    assert_eq!((before.tid, before.objects), (after.tid, after.objects));
    // What was refused can be used again.
    subject.put(&[(oids[0], b"now", &[]), (Oid(0), b"changed", &[oids[0]])]);
    subject.finish();
}

/// Every object that is not as expected is named, and only these.
pub fn a_conflict_names_every_changed_object(fixture: &Fixture) {
    let mut subject = fixture.create();
    let first = subject.put(&[(Oid(0), b"root", &[])]).tid;
    let oids = subject.oids(3);
    let refs = [oids[0], oids[1], oids[2]];
    subject.put(&[
        (Oid(0), b"r", &refs),
        (oids[0], b"a", &[]),
        (oids[1], b"b", &[]),
        (oids[2], b"c", &[]),
    ]);
    let read = subject.put(&[(oids[2], b"c2", &[])]).tid;
    subject.put(&[(oids[0], b"a2", &[]), (oids[1], b"b2", &[])]);
    let mut batch = Batch::new();
    batch.update(oids[2], b"c3".as_slice(), []);
    batch
        .expect(Oid(0), first)
        .expect(oids[0], read)
        .expect(oids[2], read);
    let error = subject.commit(batch).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(error.oids(), [Oid(0), oids[0]]);
    assert!(error.retry());
    subject.finish();
}

/// An object is created once.
pub fn creating_what_exists_is_a_conflict(fixture: &Fixture) {
    let mut subject = fixture.create();
    subject.put(&[(Oid(0), b"root", &[])]);
    let mut batch = Batch::new();
    batch.create(Oid(0), b"again".as_slice(), []);
    let error = subject.commit(batch).unwrap_err();
    assert_eq!(
        (error.kind(), error.oids()),
        (ErrorKind::Conflict, [Oid(0)].as_slice())
    );
    subject.finish();
}

/// An update needs its object.
pub fn updating_what_does_not_exist_is_refused(fixture: &Fixture) {
    let mut subject = fixture.create();
    subject.put(&[(Oid(0), b"root", &[])]);
    let oid = subject.oids(1)[0];
    let mut batch = Batch::new();
    batch.update(oid, b"state".as_slice(), []);
    assert_eq!(subject.commit(batch).unwrap_err().kind(), ErrorKind::Gone);
    subject.finish();
}

/// No commit leaves a reference to an object that does not exist.
pub fn a_reference_to_nothing_is_refused(fixture: &Fixture) {
    let mut subject = fixture.create();
    subject.put(&[(Oid(0), b"root", &[])]);
    // Handed out is not stored.
    let oid = subject.oids(1)[0];
    let mut batch = Batch::new();
    batch.update(Oid(0), b"root".as_slice(), [oid, Oid(99_999)]);
    let error = subject.commit(batch).unwrap_err();
    assert_eq!(
        (error.kind(), error.oids()),
        (ErrorKind::Gone, [oid, Oid(99_999)].as_slice())
    );
    subject.finish();
}

/// Objects of one batch may refer to each other in any order, and to themselves.
pub fn references_within_a_batch_are_fine(fixture: &Fixture) {
    let mut subject = fixture.create();
    subject.put(&[(Oid(0), b"root", &[])]);
    let oids = subject.oids(3);
    let cycle = [oids[2], oids[0], oids[0]];
    subject.put(&[
        (oids[2], b"c", &[oids[1]]),
        (oids[0], b"a", &cycle),
        (oids[1], b"b", &[oids[0]]),
        (Oid(0), b"root", &[oids[0]]),
    ]);
    subject.finish();
}

/// Batches that make no sense are refused as such.
pub fn bad_batches_are_refused(fixture: &Fixture) {
    let mut subject = fixture.create();
    subject.put(&[(Oid(0), b"root", &[])]);
    let mut twice = Batch::new();
    twice
        .update(Oid(0), b"1".as_slice(), [])
        .update(Oid(0), b"2".as_slice(), []);
    let mut large = Batch::new();
    large.create(Oid(1 << 63), b"x".as_slice(), []);
    let mut far = Batch::new();
    far.update(Oid(0), b"x".as_slice(), [Oid(u64::MAX)]);
    for batch in [twice, large, far] {
        assert_eq!(subject.commit(batch).unwrap_err().kind(), ErrorKind::Usage);
    }
    let empty = subject.commit(Batch::new()).unwrap();
    assert!(empty.tid > Tid(1), "an empty commit is a commit");
    subject.finish();
}

/// A commit can depend on an object not being there.
pub fn expecting_absence(fixture: &Fixture) {
    let mut subject = fixture.create();
    let mut first = Batch::new();
    first
        .create(Oid(0), b"first".as_slice(), [])
        .expect(Oid(0), Tid::ZERO);
    let mut second = Batch::new();
    second.expect(Oid(0), Tid::ZERO);
    subject.commit(first).unwrap();
    assert_eq!(subject.commit(second).unwrap_err().oids(), [Oid(0)]);
    subject.model.insert(Oid(0), (vec![], b"first".to_vec()));
    let object = subject
        .store()
        .snapshot()
        .unwrap()
        .load(Oid(0))
        .unwrap()
        .unwrap();
    assert_eq!(object.tid, Tid(1));
    subject.finish();
}

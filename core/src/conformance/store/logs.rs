//! The log of changes and the memory of commits.

use super::Fixture;
use crate::engine::Durability;
use crate::error::ErrorKind;
use crate::id::{Oid, Tid};
use crate::store::{Batch, Change};

/// Each commit's objects, and what collections delete, in order.
pub fn changes_are_logged_by_commit(fixture: &Fixture) {
    let mut subject = fixture.create();
    let oids = subject.oids(3);
    let first = subject
        .put(&[(oids[0], b"root", &[oids[1]]), (oids[1], b"leaf", &[])])
        .tid;
    let second = subject.put(&[(oids[0], b"root", &[])]).tid;
    subject.store().collect().unwrap();
    subject.model.remove(&oids[1]);
    let third = subject.store().stats().unwrap().tid;
    let of = |tid, oid, deleted| Change { tid, oid, deleted };
    let expected = [
        of(first, oids[0], false),
        of(first, oids[1], false),
        of(second, oids[0], false),
        of(third, oids[1], true),
    ];
    for _ in 0..2 {
        let all = subject.store().changes_since(Tid::ZERO).unwrap();
        assert_eq!(
            (all.tid, all.changes.as_slice()),
            (third, expected.as_slice())
        );
        let mut visited = Vec::new();
        let until = subject.store().visit_changes_since(first, &mut |change| {
            visited.push(change);
            Ok(())
        });
        visited.sort_by_key(|change| (change.tid, change.deleted, change.oid));
        assert_eq!((until.unwrap(), &visited[..]), (third, &expected[2..]));
        let later = subject.store().changes_since(first).unwrap();
        assert_eq!(later.changes, expected[2..]);
        assert_eq!(subject.store().changes_since(third).unwrap().changes, []);
        subject.reopen();
    }
    subject.finish();
}

/// A commit with an identity is remembered under it, and only it.
pub fn the_outcome_of_a_commit_is_known(fixture: &Fixture) {
    let mut subject = fixture.create();
    let mut identity = [7; 16];
    let mut batch = Batch::new();
    batch
        .create(Oid(0), b"root".as_slice(), [])
        .identify(identity);
    let tid = subject.commit(batch).unwrap().tid;
    subject.model.insert(Oid(0), (vec![], b"root".to_vec()));
    let mut refused = Batch::new();
    refused
        .update(Oid(77), b"x".as_slice(), [])
        .identify([8; 16]);
    assert_eq!(subject.commit(refused).unwrap_err().kind(), ErrorKind::Gone);
    subject.reopen();
    assert_eq!(subject.store().outcome(identity).unwrap(), Some(tid));
    assert_eq!(subject.store().outcome([8; 16]).unwrap(), None);
    // It is not applied again, whatever it contains now: nor does that use up OIDs.
    let mut again = Batch::new();
    again
        .create(Oid::MAX, b"again".as_slice(), [])
        .identify(identity);
    assert_eq!(
        subject
            .store()
            .commit(again, Durability::Relaxed)
            .unwrap()
            .tid,
        tid
    );
    assert_eq!(subject.store().stats().unwrap().tid, tid);
    assert!(subject.oids(1)[0] < Oid(1 << 20));
    // One that was given up is not performed later.
    assert_eq!(subject.local().settle(identity).unwrap(), Some(tid));
    assert_eq!(subject.local().settle([9; 16]).unwrap(), None);
    let mut late = Batch::new();
    late.update(Oid(0), b"late".as_slice(), [])
        .identify([9; 16]);
    assert_eq!(subject.commit(late).unwrap_err().kind(), ErrorKind::Other);
    // The key has only the first half of an identity.
    identity[15] = 0;
    assert_eq!(subject.store().outcome(identity).unwrap(), None);
    subject.finish();
}

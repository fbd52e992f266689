//! OIDs: handed out once, created once, never again.

use std::collections::BTreeSet;

use super::Fixture;
use crate::error::ErrorKind;
use crate::id::{Oid, SessionId};
use crate::store::{Batch, SessionKind};

/// An empty store hands out 0, 1, 2; and 0 again after it was closed without a root.
pub fn the_first_oid_is_the_root(fixture: &Fixture) {
    let mut subject = fixture.create();
    assert_eq!(subject.oids(3), [0, 1, 2].map(Oid));
    if fixture.capabilities().persistent {
        subject.reopen();
        assert_eq!(subject.oids(1), [Oid(0)]);
    }
    subject.put(&[(Oid(0), b"root", &[])]);
    subject.reopen();
    assert_ne!(subject.oids(1), [Oid(0)]);
    subject.finish();
}

/// No OID but an unused root's comes twice, over reopening and with many sessions.
pub fn no_oid_is_handed_out_twice(fixture: &Fixture) {
    let mut subject = fixture.create();
    subject.put(&[(Oid(0), b"root", &[])]);
    let mut seen = BTreeSet::from([Oid(0)]);
    for round in 0..4 {
        let other = subject.store().session(SessionKind::Client).unwrap();
        for count in [1, 7, 2000, 0] {
            let more = subject.store().new_oids(other, count).unwrap();
            for oid in subject.oids(count).into_iter().chain(more) {
                assert!(seen.insert(oid), "{oid} twice");
            }
        }
        let (used, _) = (*seen.last().unwrap(), round);
        let mut batch = Batch::of(other);
        let own = subject.store().new_oids(other, 1).unwrap()[0];
        assert!(own > used && seen.insert(own));
        batch.create(own, b"x".as_slice(), []);
        subject.commit(batch).unwrap();
        subject.model.insert(own, (vec![], b"x".to_vec()));
        subject.reopen();
    }
    subject.finish();
}

/// OIDs of another session, of nobody and of the past cannot be created.
pub fn only_handed_out_oids_can_be_created(fixture: &Fixture) {
    let mut subject = fixture.create();
    subject.put(&[(Oid(0), b"root", &[])]);
    let other = subject.store().session(SessionKind::Client).unwrap();
    let (mine, theirs) = (
        subject.oids(1)[0],
        subject.store().new_oids(other, 1).unwrap()[0],
    );
    for oid in [theirs, Oid(1 << 50)] {
        let mut batch = Batch::new();
        batch.create(oid, b"x".as_slice(), []);
        let error = subject.commit(batch).unwrap_err();
        assert_eq!(
            (error.kind(), error.oids()),
            (ErrorKind::Gone, [oid].as_slice())
        );
    }
    let late = subject.oids(1)[0];
    subject.put(&[(mine, b"mine", &[])]);
    if fixture.capabilities().persistent {
        subject.reopen();
        let mut batch = Batch::new();
        batch.create(late, b"x".as_slice(), []);
        assert_eq!(subject.commit(batch).unwrap_err().kind(), ErrorKind::Gone);
    }
    subject.finish();
}

/// What an ended session was given is lost, and unknown sessions are named.
pub fn an_ended_session_cannot_create(fixture: &Fixture) {
    let mut subject = fixture.create();
    subject.put(&[(Oid(0), b"root", &[])]);
    let session = subject.store().session(SessionKind::Client).unwrap();
    let oid = subject.store().new_oids(session, 1).unwrap()[0];
    subject.store().end_session(session).unwrap();
    let mut batch = Batch::of(session);
    batch.create(oid, b"x".as_slice(), []);
    assert_eq!(subject.commit(batch).unwrap_err().kind(), ErrorKind::Gone);
    for result in [
        subject.store().end_session(session),
        subject.store().end_session(SessionId(999)),
        subject.store().new_oids(session, 1).map(drop),
    ] {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Usage);
    }
    subject.finish();
}

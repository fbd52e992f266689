//! Deleting garbage.

use super::Fixture;
use crate::error::ErrorKind;
use crate::id::Oid;
use crate::store::Batch;

/// Cycles that the root does not reach go, cycles that it reaches stay.
pub fn cyclic_garbage_is_deleted_and_nothing_else(fixture: &Fixture) {
    let mut subject = fixture.create();
    let oids = subject.oids(7);
    let [root, a, b, c, d, e, f] = oids.try_into().unwrap();
    subject.put(&[
        (root, b"root", &[a, c]),
        (a, b"a", &[b]),
        (b, b"b", &[a, root]),
        (c, b"c", &[d]),
        (d, b"d", &[e, a]),
        (e, b"e", &[c]),
        (f, b"never linked", &[a]),
    ]);
    assert_eq!(subject.store().collect().unwrap().objects, 1);
    subject.model.remove(&f);
    subject.compare();
    subject.put(&[(root, b"root", &[a])]);
    let collected = subject.store().collect().unwrap();
    assert_eq!(collected.objects, 3);
    assert!(collected.bytes > 0);
    [c, d, e]
        .iter()
        .for_each(|oid| drop(subject.model.remove(oid)));
    assert_eq!(subject.store().collect().unwrap().objects, 0);
    assert_eq!(subject.store().stats().unwrap().objects, 3);
    subject.finish();
}

/// A collected OID cannot be updated, referred to or created again.
pub fn a_deleted_object_is_gone_for_commits(fixture: &Fixture) {
    let mut subject = fixture.create();
    let oids = subject.oids(2);
    subject.put(&[(oids[0], b"root", &[oids[1]]), (oids[1], b"leaf", &[])]);
    subject.put(&[(oids[0], b"root", &[])]);
    subject.store().collect().unwrap();
    subject.model.remove(&oids[1]);
    let mut update = Batch::new();
    update.update(oids[1], b"back".as_slice(), []);
    let mut create = Batch::new();
    create.create(oids[1], b"back".as_slice(), []);
    let mut link = Batch::new();
    link.update(oids[0], b"root".as_slice(), [oids[1]]);
    for batch in [update, create, link] {
        let error = subject.commit(batch).unwrap_err();
        assert_eq!(
            (error.kind(), error.oids()),
            (ErrorKind::Gone, [oids[1]].as_slice())
        );
    }
    subject.finish();
}

/// Without a root nothing is reached.
pub fn a_store_without_a_root_is_all_garbage(fixture: &Fixture) {
    let mut subject = fixture.create();
    assert_eq!(subject.store().collect().unwrap().objects, 0);
    let oids = subject.oids(2);
    subject.put(&[(oids[1], b"not the root", &[])]);
    assert_eq!(subject.store().collect().unwrap().objects, 1);
    subject.model.clear();
    subject.put(&[(Oid(0), b"root", &[])]);
    subject.finish();
}

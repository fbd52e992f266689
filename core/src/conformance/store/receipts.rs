//! Durability: what is declared is given, what is not is refused.

use super::Fixture;
use crate::engine::Durability;
use crate::error::ErrorKind;
use crate::id::Oid;
use crate::store::{Batch, LocalStore, StoreOptions};

/// A receipt names at least what was asked for, and tids ascend.
pub fn every_declared_durability_is_given(fixture: &Fixture) {
    let mut subject = fixture.create();
    let mut last = subject.put(&[(Oid(0), b"root", &[])]).tid;
    for level in fixture.capabilities().durability {
        let mut batch = Batch::new();
        batch.update(Oid(0), level.name().as_bytes(), []);
        let receipt = subject.store().commit(batch, level).unwrap();
        assert!(receipt.durability >= level && receipt.tid > last);
        last = receipt.tid;
        subject
            .model
            .insert(Oid(0), (vec![], level.name().as_bytes().to_vec()));
        subject.reopen();
        subject.compare();
    }
    let best = fixture.capabilities().durability.into_iter().max().unwrap();
    assert_eq!(subject.store().sync().unwrap(), best);
    subject.finish();
}

/// A level above what the engine has is an error, never a weaker commit.
pub fn more_than_is_offered_is_refused(fixture: &Fixture) {
    let capabilities = fixture.capabilities();
    let best = capabilities.durability.iter().max().copied().unwrap();
    let mut subject = fixture.create();
    subject.put(&[(Oid(0), b"root", &[])]);
    for level in Durability::ALL.into_iter().filter(|level| *level > best) {
        let mut batch = Batch::new();
        batch.update(Oid(0), b"changed".as_slice(), []);
        let error = subject.store().commit(batch, level).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(best.name()), "{error}");
        if capabilities.persistent {
            let options = StoreOptions {
                durability: level,
                ..fixture.options()
            };
            let path = fixture.path().with_extension("other");
            let refused = LocalStore::create(fixture.backend(), &path, &options);
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unsupported);
            assert!(!path.exists());
        }
    }
    subject.finish();
}

/// What is enqueued first is committed first, whoever waits first, and also where nobody waits.
pub fn commits_keep_the_order_of_the_queue(fixture: &Fixture) {
    let mut subject = fixture.create();
    subject.put(&[(Oid(0), b"root", &[])]);
    let level = subject.store().durability();
    let write = |data: &'static str| {
        let mut batch = Batch::new();
        batch.update(Oid(0), data, []);
        subject.local().enqueue(batch, level).unwrap()
    };
    let (first, second) = (write("first"), write("second"));
    let second = second.wait().unwrap();
    let first = first.wait().unwrap();
    assert!(first.tid < second.tid && first.durability >= level);
    drop(write("third"));
    subject.model.insert(Oid(0), (vec![], b"third".to_vec()));
    subject.reopen();
    subject.compare();
    let mut batch = Batch::new();
    batch.update(Oid(1), "of an object that is not there", []);
    let refused = subject.local().enqueue(batch, level).unwrap().wait();
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Gone);
    subject.finish();
}

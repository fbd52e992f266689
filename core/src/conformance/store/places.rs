//! Where stores lie: open once, created whole, never over something else.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Fixture;
use crate::error::ErrorKind;
use crate::id::Oid;
use crate::place::Directory;
use crate::store::LocalStore;

/// How often a store is closed and opened: where what is held of it outlasts it, one of ten finds it in use.
const REOPENED: usize = 30;

/// A second opening is refused while the first lasts.
pub fn a_store_is_open_once(fixture: &Fixture) {
    let mut subject = fixture.create();
    subject.put(&[(Oid(0), b"root", &[])]);
    let again = || LocalStore::open(fixture.backend(), &fixture.path(), &fixture.options());
    if fixture.capabilities().persistent {
        assert_eq!(again().unwrap_err().kind(), ErrorKind::InUse);
        subject.compare();
    } else {
        // Stores in memory are apart.
        again().unwrap();
    }
    subject.finish();
}

/// A store that is closed can be opened at once, although programs that other threads start have its files
/// open too until they are loaded.
pub fn a_closed_store_is_free_while_programs_start(fixture: &Fixture) {
    let mut subject = fixture.create();
    subject.put(&[(Oid(0), b"root", &[])]);
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    // Whether there is such a program or not, there is a process for a while.
                    let _ = Command::new("true").status();
                }
            });
        }
        let reopened = catch_unwind(AssertUnwindSafe(|| {
            for _ in 0..REOPENED {
                subject.reopen();
            }
        }));
        ended.store(true, Ordering::Relaxed);
        if let Err(panic) = reopened {
            resume_unwind(panic);
        }
    });
    subject.finish();
}

/// A store is not opened as one of another engine.
pub fn another_engine_is_refused(fixture: &Fixture) {
    let mut subject = fixture.create();
    subject.put(&[(Oid(0), b"root", &[])]);
    let error = Directory::open(&fixture.path(), "another").unwrap_err();
    if fixture.capabilities().persistent && fixture.backend().remote().is_none() {
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(
            error.to_string().contains(fixture.capabilities().name),
            "{error}"
        );
    } else {
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
    subject.finish();
}

/// Creation needs a free place, and a failed one leaves nothing behind.
pub fn nothing_is_created_over_something(fixture: &Fixture) {
    let mut subject = fixture.create();
    subject.put(&[(Oid(0), b"root", &[])]);
    subject.reopen();
    if fixture.capabilities().persistent {
        let again = LocalStore::create(fixture.backend(), &fixture.path(), &fixture.options());
        assert_eq!(again.unwrap_err().kind(), ErrorKind::Exists);
        assert_eq!(fixture.stores(), 1, "only the store itself");
    }
    subject.finish();
}

/// Of many who create a store at one place at once, one succeeds, and the others see that it exists.
pub fn one_of_many_creators_wins(fixture: &Fixture) {
    if !fixture.capabilities().persistent {
        return fixture.create().finish();
    }
    let create = || LocalStore::create(fixture.backend(), &fixture.path(), &fixture.options());
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(create)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    for error in results.iter().filter_map(|result| result.as_ref().err()) {
        assert_eq!(error.kind(), ErrorKind::Exists, "{error}");
    }
    drop(results);
    assert_eq!(fixture.stores(), 1);
}

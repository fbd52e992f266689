//! Prompt collection: what goes with the commit that makes it garbage, what goes later, and what stays.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Fixture, Subject};
use crate::check::check;
use crate::collect::Budget;
use crate::digest::Digest;
use crate::engine::Durability;
use crate::error::ErrorKind;
use crate::id::{Oid, SessionId};
use crate::store::{Batch, Collection, SessionKind, SnapshotExt as _, StoreOptions};

/// So long may a background collection take before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(120);

fn prompt(fixture: &Fixture, deletes: u64, reads: u64) -> StoreOptions {
    StoreOptions {
        collection: Collection {
            commit: Budget {
                deletes,
                reads,
                time: None,
            },
            worker: None,
            reclaim: false,
        },
        ..fixture.options()
    }
}

fn exists(subject: &Subject<'_>, oid: Oid) -> bool {
    let snapshot = subject.store().snapshot().unwrap();
    snapshot.load(oid).unwrap().is_some()
}

/// A ring of objects that the root refers to.
fn ring(subject: &mut Subject<'_>, count: u32) -> Vec<Oid> {
    let root = match exists(subject, Oid::ROOT) {
        true => Oid::ROOT,
        false => subject.oids(1)[0],
    };
    let oids = subject.oids(count);
    let mut objects: Vec<(Oid, &[u8], Vec<Oid>)> = Vec::new();
    for (index, oid) in oids.iter().enumerate() {
        objects.push((*oid, b"in a ring", vec![oids[(index + 1) % oids.len()]]));
    }
    objects.push((root, b"root", vec![oids[0]]));
    let borrowed: Vec<_> = objects
        .iter()
        .map(|(oid, data, refs)| (*oid, *data, refs.as_slice()))
        .collect();
    subject.put(&borrowed);
    oids
}

/// A cycle is deleted by the commit that cuts it off, which says so.
pub fn a_cycle_goes_with_the_commit_that_cuts_it_off(fixture: &Fixture) {
    let mut subject = fixture.create_with(prompt(fixture, 256, 4096));
    let oids = ring(&mut subject, 200);
    let receipt = subject.put(&[(Oid::ROOT, b"root", &[])]);
    assert_eq!(receipt.collected.objects, 200);
    assert!(receipt.collected.bytes > 0);
    let changes = subject.store().changes_since(crate::Tid(receipt.tid.0 - 1));
    let deleted: BTreeSet<Oid> = changes
        .unwrap()
        .changes
        .iter()
        .filter(|change| change.deleted)
        .map(|change| change.oid)
        .collect();
    assert!(deleted.iter().eq(&oids));
    subject.model.retain(|oid, _| *oid == Oid::ROOT);
    subject.finish();
}

/// The number of references to an object stays the same in a commit that makes it garbage: from the
/// root to a to t to b; a drops t, and b refers to it.
pub fn a_commit_that_keeps_the_count_of_references_makes_garbage(fixture: &Fixture) {
    let mut subject = fixture.create_with(prompt(fixture, 256, 4096));
    let [root, a, t, b] = subject.oids(4).try_into().unwrap();
    subject.put(&[
        (root, b"", &[a]),
        (a, b"", &[t]),
        (t, b"", &[b]),
        (b, b"", &[]),
    ]);
    let receipt = subject.put(&[(a, b"", &[]), (b, b"", &[t])]);
    assert_eq!(receipt.collected.objects, 2);
    subject.model.retain(|oid, _| *oid == root || *oid == a);
    subject.finish();
}

/// What a session has committed and not linked lives until it is linked or the session ends.
pub fn an_object_that_is_not_linked_lives_as_long_as_its_session(fixture: &Fixture) {
    let mut subject = fixture.create_with(prompt(fixture, 256, 4096));
    let root = subject.oids(1)[0];
    subject.put(&[(root, b"root", &[])]);
    let store = subject.store();
    let session = store.session(SessionKind::Client).unwrap();
    let oids = store.new_oids(session, 3).unwrap();
    let mut batch = Batch::of(session);
    batch.create(oids[0], b"linked later".as_slice(), []);
    batch.create(oids[1], b"never linked".as_slice(), [oids[2]]);
    batch.create(oids[2], b"hangs on it".as_slice(), [oids[1]]);
    subject.commit(batch).unwrap();
    subject.store().collect().unwrap();
    assert!(oids.iter().all(|oid| exists(&subject, *oid)));
    let mut link = Batch::new();
    link.update(root, b"root".as_slice(), [oids[0]]);
    subject.commit(link).unwrap();
    subject.store().end_session(session).unwrap();
    assert_eq!(subject.store().collect().unwrap().objects, 2);
    assert!(exists(&subject, oids[0]));
    subject
        .model
        .insert(root, (vec![oids[0]], b"root".to_vec()));
    subject
        .model
        .insert(oids[0], (vec![], b"linked later".to_vec()));
    subject.finish();
}

/// The sessions of a process that was killed have ended; their numbers are not used again.
pub fn sessions_end_with_the_process(fixture: &Fixture) {
    let mut subject = fixture.create_with(prompt(fixture, 256, 4096));
    let root = subject.oids(1)[0];
    subject.put(&[(root, b"root", &[])]);
    let store = subject.store();
    let session = store.session(SessionKind::Client).unwrap();
    let mut batch = Batch::of(session);
    batch.create(
        store.new_oids(session, 1).unwrap()[0],
        b"unlinked".as_slice(),
        [],
    );
    batch.create(
        store.new_oids(session, 1).unwrap()[0],
        b"unlinked".as_slice(),
        [],
    );
    subject.commit(batch).unwrap();
    if fixture.capabilities().persistent {
        subject.reopen();
        let next = subject.store().session(SessionKind::Client).unwrap();
        assert!(next > session);
    } else {
        subject.store().end_session(session).unwrap();
    }
    assert_eq!(subject.store().stats().unwrap().objects, 3);
    // The next commit does it.
    let receipt = subject.put(&[(root, b"again", &[])]);
    assert_eq!(receipt.collected.objects, 2);
    subject.finish();
}

/// A client of Durus's protocol unlinks in one commit and links again in the next.
pub fn an_object_can_be_moved_in_two_commits(fixture: &Fixture) {
    let mut subject = fixture.create_with(prompt(fixture, 256, 4096));
    let [root, moved, dropped] = subject.oids(3).try_into().unwrap();
    subject.put(&[
        (root, b"root", &[moved, dropped]),
        (moved, b"moved", &[]),
        (dropped, b"dropped", &[]),
    ]);
    let session = subject.store().session(SessionKind::DurusClient).unwrap();
    let unlink = |refs: &[Oid]| {
        let mut batch = Batch::of(session);
        batch.update(root, b"root".as_slice(), refs.iter().copied());
        batch
    };
    subject.commit(unlink(&[])).unwrap();
    // Another session's commits in between change nothing.
    let mut other = Batch::new();
    let oid = subject.oids(1)[0];
    other.create(oid, b"elsewhere".as_slice(), []);
    subject.commit(other).unwrap();
    assert!(exists(&subject, moved) && exists(&subject, dropped));
    let receipt = subject.commit(unlink(&[moved])).unwrap();
    assert_eq!(receipt.collected.objects, 1);
    assert!(exists(&subject, moved) && !exists(&subject, dropped));
    assert_eq!(subject.store().collect().unwrap().objects, 1);
    subject.model.clear();
    subject.model.insert(root, (vec![moved], b"root".to_vec()));
    subject.model.insert(moved, (vec![], b"moved".to_vec()));
    subject.finish();
}

/// An import refers to objects before it brings them in, and ends when all of them are there.
pub fn an_import_may_refer_to_what_comes_later(fixture: &Fixture) {
    let mut subject = fixture.create_with(prompt(fixture, 256, 4096));
    let session = subject.store().session(SessionKind::Import).unwrap();
    let commit = |subject: &Subject<'_>, oid: u64, refs: &[u64]| {
        let mut batch = Batch::of(session);
        batch.create(
            Oid(oid),
            b"imported".as_slice(),
            refs.iter().copied().map(Oid),
        );
        subject.commit(batch).unwrap();
    };
    // Children before and after their parents, and a cycle.
    for (oid, refs) in [(7, &[9, 8][..]), (5, &[7]), (8, &[5]), (0, &[5, 6])] {
        commit(&subject, oid, refs);
        assert_eq!(check(subject.local(), false).unwrap().dangling, 0);
    }
    let error = subject.store().end_session(session).unwrap_err();
    assert_eq!(
        (error.kind(), error.oids()),
        (ErrorKind::Gone, [Oid(6), Oid(9)].as_slice())
    );
    for (oid, refs) in [(9, &[0][..]), (6, &[]), (70, &[0, 1000])] {
        commit(&subject, oid, refs);
    }
    // What an import refers to and does not bring is nobody else's, and can be given up.
    assert!(subject.oids(1)[0] > Oid(1000));
    assert!(subject.store().end_session(session).is_err());
    let mut batch = Batch::of(session);
    batch.update(Oid(70), b"imported".as_slice(), [Oid(0)]);
    subject.commit(batch).unwrap();
    subject.store().end_session(session).unwrap();
    assert_eq!(subject.store().collect().unwrap().objects, 1);
    for (oid, refs) in [
        (0, &[5, 6][..]),
        (5, &[7]),
        (6, &[]),
        (7, &[8, 9]),
        (8, &[5]),
        (9, &[0]),
    ] {
        let refs = refs.iter().copied().map(Oid).collect();
        subject.model.insert(Oid(oid), (refs, b"imported".to_vec()));
    }
    subject.finish();
}

/// A cycle that is too large for one commit is gone for everyone at once, but for earlier snapshots, and
/// deleted bit by bit, also by the next process.
pub fn a_large_cycle_is_gone_at_once_and_deleted_bit_by_bit(fixture: &Fixture) {
    const COUNT: u32 = 3000;
    let mut subject = fixture.create_with(prompt(fixture, 50, 400));
    let oids = ring(&mut subject, COUNT);
    let before = subject.store().snapshot().unwrap();
    let full = subject.model.clone();
    subject.put(&[(Oid::ROOT, b"root", &[])]);
    let mut commits = 0;
    while subject.store().stats().unwrap().objects > 1 {
        // Nothing is lost before all is condemned.
        assert!(exists(&subject, oids[17]));
        subject.put(&[(Oid::ROOT, b"turn", &[])]);
        commits += 1;
        assert!(commits < 10_000, "the search does not end");
    }
    assert!(commits > 2, "it was spread over commits");
    subject.model.retain(|oid, _| *oid == Oid::ROOT);
    subject.compare();
    assert!(subject.store().stats().unwrap().garbage_pending > 0);
    for oid in [oids[0], oids[2999]] {
        let mut link = Batch::new();
        link.update(Oid::ROOT, b"root".as_slice(), [oid]);
        let error = subject.commit(link).unwrap_err();
        assert_eq!(
            (error.kind(), error.oids()),
            (ErrorKind::Gone, [oid].as_slice())
        );
    }
    // Whoever follows the changes hears of all of them, though most are still to be deleted.
    let followed = subject.store().changes_since(before.tid()).unwrap();
    let deleted = followed.changes.iter().filter(|change| change.deleted);
    assert_eq!(deleted.count(), COUNT as usize);
    super::assert_snapshot(&*before, &full);
    assert_eq!(check(subject.local(), false).unwrap().errors, []);
    let since = before.tid();
    drop(before);
    if fixture.capabilities().persistent {
        subject.reopen();
    }
    subject.compare();
    subject.store().collect().unwrap();
    let stats = subject.store().stats().unwrap();
    assert_eq!((stats.objects, stats.garbage_pending), (1, 0));
    let followed = subject.store().changes_since(since).unwrap();
    let deleted: BTreeSet<Oid> = followed
        .changes
        .iter()
        .filter(|change| change.deleted)
        .map(|change| change.oid)
        .collect();
    assert_eq!(deleted.len(), COUNT as usize);
    subject.finish();
}

/// Readers, committers and the background worker at once: snapshots stay fixed, and nobody ever meets
/// anything but an object's own state or its absence.
pub fn readers_and_committers_go_on_while_the_worker_collects(fixture: &Fixture) {
    let slice = Budget {
        deletes: 64,
        reads: 256,
        time: Some(Duration::from_millis(1)),
    };
    let options = StoreOptions {
        collection: Collection {
            commit: Budget {
                deletes: 16,
                reads: 64,
                time: None,
            },
            worker: Some(slice),
            reclaim: true,
        },
        ..fixture.options()
    };
    let mut subject = fixture.create_with(options);
    let root = subject.oids(1)[0];
    subject.put(&[(root, b"root", &[])]);
    let store = subject.store();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|number| scope.spawn(move || write_rings(store, number)))
            .collect();
        let readers: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| read_fixed(store, &done)))
            .collect();
        let results: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        done.store(true, Ordering::Release);
        results.into_iter().for_each(|result| result.unwrap());
        let rounds: usize = readers
            .into_iter()
            .map(|reader| reader.join().unwrap())
            .sum();
        assert!(rounds > 0);
    });
    let begun = Instant::now();
    while store.stats().unwrap().garbage_pending > 0 {
        assert!(begun.elapsed() < PATIENCE, "the worker does not finish");
        std::thread::sleep(Duration::from_millis(2));
    }
    store.collect().unwrap();
    assert_eq!(store.stats().unwrap().objects, 1);
    subject.model.clear();
    subject.model.insert(root, (vec![], b"end".to_vec()));
    subject.put(&[(root, b"end", &[])]);
    subject.finish();
}

/// Links rings to the root and cuts them off again, and tries to come back to what is gone.
fn write_rings(store: &dyn crate::store::Store, number: u64) {
    let session = store.session(SessionKind::Client).unwrap();
    let mut random = fastrand::Rng::with_seed(number);
    for _ in 0..25 {
        let count = random.usize(1..150);
        let oids = store.new_oids(session, count as u32).unwrap();
        let mut batch = Batch::of(session);
        for (index, oid) in oids.iter().enumerate() {
            batch.create(
                *oid,
                oid.0.to_le_bytes().as_slice(),
                [oids[(index + 1) % count]],
            );
        }
        store.commit(batch, Durability::Relaxed).unwrap();
        link(store, session, Some(oids[0]), None);
        link(store, session, None, Some(oids[0]));
        let old = oids[random.usize(..count)];
        let snapshot = store.snapshot().unwrap();
        if let Some(object) = snapshot.load(old).unwrap() {
            assert_eq!(object.data, old.0.to_le_bytes());
        }
        let mut back = Batch::of(session);
        back.update(old, old.0.to_le_bytes().as_slice(), []);
        if let Err(error) = store.commit(back, Durability::Relaxed) {
            assert_eq!(
                (error.kind(), error.oids()),
                (ErrorKind::Gone, [old].as_slice())
            );
        }
    }
    store.end_session(session).unwrap();
}

/// Adds a reference to the root and removes another, whatever others do to it meanwhile.
fn link(
    store: &dyn crate::store::Store,
    session: SessionId,
    add: Option<Oid>,
    remove: Option<Oid>,
) {
    loop {
        let root = store.snapshot().unwrap().load(Oid::ROOT).unwrap().unwrap();
        let mut refs: BTreeSet<Oid> = root.refs.into_iter().collect();
        refs.extend(add);
        refs.retain(|oid| Some(*oid) != remove);
        let mut batch = Batch::of(session);
        batch.update(Oid::ROOT, b"root".as_slice(), refs);
        batch.expect(Oid::ROOT, root.tid);
        match store.commit(batch, Durability::Relaxed) {
            Ok(_) => return,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
        }
    }
}

/// Digests a snapshot twice, and finds everything that the root reaches in it.
fn read_fixed(store: &dyn crate::store::Store, done: &AtomicBool) -> usize {
    let mut rounds = 0;
    while !done.load(Ordering::Acquire) || rounds == 0 {
        let snapshot = store.snapshot().unwrap();
        let before = Digest::of(&*snapshot).unwrap();
        let reached = crate::collect::reach(&*snapshot).unwrap();
        assert_eq!((reached.dangling_count, reached.damaged.len()), (0, 0));
        assert_eq!(Digest::of(&*snapshot).unwrap(), before);
        rounds += 1;
    }
    rounds
}

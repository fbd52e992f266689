//! Commits in groups, readers, the worker and reopening, all at once and at random.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use durum_core::store::Snapshot;
use durum_testkit::seed;

use super::*;

const THREADS: u64 = 4;

/// Data of objects that only the session that created them may link.
const OWN: u8 = 9;

struct Found {
    tid: Tid,
    refs: Vec<Oid>,
    own: bool,
}

fn objects(snapshot: &dyn Snapshot) -> BTreeMap<Oid, Found> {
    let mut found = BTreeMap::new();
    let mut scan = snapshot.scan(Oid::ROOT).unwrap();
    while let Some(record) = scan.next().unwrap() {
        let object = Found {
            tid: record.tid,
            refs: record.refs().collect(),
            own: record.payload().as_plain().unwrap().first() == Some(&OWN),
        };
        found.insert(record.oid, object);
    }
    found
}

/// An application: a session, and what it has committed and not linked.
struct Application<'a> {
    store: &'a LocalStore,
    rng: fastrand::Rng,
    session: SessionId,
    own: Vec<Oid>,
}

impl<'a> Application<'a> {
    fn new(store: &'a LocalStore, rng: fastrand::Rng) -> Application<'a> {
        let session = store.session(SessionKind::Client).unwrap();
        Application {
            store,
            rng,
            session,
            own: Vec::new(),
        }
    }

    fn run(&mut self) {
        for _ in 0..150 {
            match self.rng.u8(..40) {
                0 => {
                    self.store.end_session(self.session).unwrap();
                    let kinds = [SessionKind::Client, SessionKind::DurusClient];
                    let kind = kinds[usize::from(self.rng.bool())];
                    self.session = self.store.session(kind).unwrap();
                    self.own.clear();
                }
                1 => {
                    self.store.release(self.session);
                    self.own.clear();
                }
                2 => self.store.collect().map(drop).unwrap_or_else(|error| {
                    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
                }),
                3..8 => self.create_own(),
                _ => self.step(),
            }
        }
        self.store.end_session(self.session).unwrap();
    }

    fn commit(&self, batch: Batch) -> bool {
        match commit(self.store, batch) {
            Ok(_) => true,
            Err(error) => {
                use ErrorKind::{Conflict, Full, Gone};
                assert!(matches!(error.kind(), Conflict | Full | Gone), "{error}");
                let own = error.oids().iter().find(|oid| self.own.contains(oid));
                assert_eq!(own, None, "{error}");
                false
            }
        }
    }

    fn create_own(&mut self) {
        let oid = self.store.new_oids(self.session, 1);
        let Ok(oid) = oid.map(|oids| oids[0]) else {
            return;
        };
        let mut batch = Batch::of(self.session);
        batch.create(oid, [OWN], self.own.last().copied());
        if self.commit(batch) {
            self.own.push(oid);
        }
    }

    /// Creates, links and unlinks, all from what it has just read.
    fn step(&mut self) {
        let snapshot = self.store.snapshot().unwrap();
        let mut all = objects(&*snapshot);
        assert!(self.own.iter().all(|oid| all.contains_key(oid)));
        all.retain(|_, object| !object.own);
        let (store, rng) = (self.store, &mut self.rng);
        let oids: Vec<Oid> = all.keys().copied().collect();
        let mut batch = Batch::of(self.session);
        let mut written = BTreeSet::new();
        let Ok(new) = store.new_oids(self.session, rng.u32(1..7)) else {
            return;
        };
        let create = rng.u8(..3) == 0 && oids.len() < 120;
        let mut linked = None;
        for _ in 0..rng.u8(1..4) {
            let oid = *rng.choice(&oids).unwrap();
            if !written.insert(oid) {
                continue;
            }
            let mut refs = all[&oid].refs.clone();
            if rng.bool() && !refs.is_empty() {
                refs.swap_remove(rng.usize(..refs.len()));
            }
            if rng.u8(..3) == 0 {
                refs.push(*rng.choice(&oids).unwrap());
            }
            if create {
                refs.push(new[0]);
            }
            if rng.u8(..4) == 0 && linked.is_none() {
                linked = self.own.first().copied();
                refs.extend(linked);
            }
            batch.expect(oid, all[&oid].tid);
            batch.update(oid, vec![7; rng.usize(..300)], refs);
        }
        if create {
            for (index, oid) in new.iter().enumerate() {
                let next = new[(index + 1) % new.len()];
                let other = *rng.choice(&oids).unwrap();
                batch.create(*oid, vec![8; rng.usize(..300)], [next, other]);
            }
        }
        if self.commit(batch) && linked.is_some() {
            self.own.remove(0);
        }
    }
}

/// A snapshot is closed under references, and stays what it was.
fn watch(store: &LocalStore, rng: &mut fastrand::Rng) {
    let snapshot = store.snapshot().unwrap();
    if rng.bool() {
        std::thread::sleep(Duration::from_micros(rng.u64(..3000)));
    }
    let all = objects(&*snapshot);
    for (oid, object) in &all {
        assert!(object.tid <= snapshot.tid());
        for target in &object.refs {
            assert!(
                all.contains_key(target),
                "{oid} refers to {target}, which is not in the snapshot of {}",
                snapshot.tid()
            );
        }
    }
    std::thread::sleep(Duration::from_micros(rng.u64(..5000)));
    for (oid, before) in &all {
        let object = snapshot.load(*oid).unwrap().unwrap();
        assert_eq!((object.tid, &object.refs), (before.tid, &before.refs));
    }
    assert!(objects(&*snapshot).keys().eq(all.keys()));
}

/// Replays the log onto what was there at `since`.
fn follow(store: &LocalStore, since: &mut Tid, known: &mut BTreeSet<Oid>) {
    let changes = store.changes_since(*since).unwrap();
    for change in &changes.changes {
        if change.deleted {
            assert!(known.remove(&change.oid), "{change:?} was not there");
        } else {
            known.insert(change.oid);
        }
    }
    *since = changes.tid;
}

/// Small budgets, so that searches span commits and condemn a lot, and writes that fail.
#[test]
fn everything_at_once() {
    let mut rng = fastrand::Rng::with_seed(seed());
    for round in 0..8 {
        let place = &Place::with(KeptBackend::with(round % 2 == 0));
        let collection = Collection {
            commit: budget(rng.u64(..6), rng.u64(..60)),
            worker: rng.bool().then(|| budget(rng.u64(1..6), rng.u64(10..60))),
            reclaim: true,
        };
        let mut store = place.create(collection);
        place.backend.slow_down(Duration::from_micros(300));
        let (mut since, mut known) = (Tid::ZERO, BTreeSet::new());
        for _ in 0..3 {
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let (store, done) = (&store, &done);
                let threads: Vec<_> = (0..THREADS)
                    .map(|_| {
                        let mut application = Application::new(store, rng.fork());
                        scope.spawn(move || application.run())
                    })
                    .collect();
                let (mut watching, mut failing) = (rng.fork(), rng.fork());
                scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        std::thread::sleep(Duration::from_millis(failing.u64(1..20)));
                        place.backend.fail_write(ErrorKind::Full);
                    }
                    place.backend.pass_write();
                });
                scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        watch(store, &mut watching);
                    }
                });
                let (since, known) = (&mut since, &mut known);
                scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        follow(store, since, known);
                    }
                });
                for thread in threads {
                    thread.join().unwrap();
                }
                done.store(true, Ordering::Relaxed);
            });
            // The worker may go on.
            let there = loop {
                let snapshot = store.snapshot().unwrap();
                follow(&store, &mut since, &mut known);
                if snapshot.tid() == since {
                    break objects(&*snapshot);
                }
            };
            assert!(there.keys().eq(&known));
            drop(store);
            store = place.open(collection);
            assert_clean(&store);
        }
        store.collect().unwrap();
        let report = check(&store, false).unwrap();
        assert_eq!((report.errors, report.unreachable), (vec![], 0));
    }
}

//! Random histories against a model.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fixture, Model, Subject, assert_snapshot};
use crate::check::check;
use crate::collect::Budget;
use crate::engine::{Key, Table};
use crate::error::ErrorKind;
use crate::id::{Oid, Tid};
use crate::store::{Batch, Collection, Snapshot, StoreOptions};

/// Steps of each history, unless [`STEPS_VARIABLE`] says otherwise.
const STEPS: usize = 1200;
/// The environment variable for longer histories, such as a million steps in memory.
const STEPS_VARIABLE: &str = "DURUM_HISTORY_STEPS";
/// The environment variable that repeats a history.
const SEED_VARIABLE: &str = "DURUM_TEST_SEED";

/// How often the collector's tables are verified as a whole, in steps.
const CHECKED_EVERY: usize = 25;

/// OIDs that are handed out and unused at most: the model looks through them with each commit, so that a
/// long history would take time in proportion to its square.
const FREE_MAX: usize = 300;

/// Commits that are valid and commits that are not, snapshots, collections and reopening in random
/// order; every result is what the model says. Prints its seed, which `DURUM_TEST_SEED` takes.
pub fn a_random_history_equals_the_model(fixture: &Fixture) {
    run(fixture, |_| Collection::OFF);
}

/// The same with collection in each commit and without a bound: after each the store holds exactly what
/// the root and the pins reach.
pub fn every_commit_leaves_no_garbage(fixture: &Fixture) {
    run(fixture, |_| Collection {
        commit: Budget::UNLIMITED,
        worker: None,
        reclaim: false,
    });
}

/// The same with budgets so small that every search and every deletion is spread over several commits,
/// and everything that has more than one object is condemned first.
pub fn collection_in_small_steps_loses_nothing(fixture: &Fixture) {
    run(fixture, |random| Collection {
        commit: Budget {
            deletes: random.u64(1..4),
            reads: random.u64(1..30),
            time: None,
        },
        worker: None,
        reclaim: false,
    });
}

fn run(fixture: &Fixture, collection: impl Fn(&mut fastrand::Rng) -> Collection) {
    let seed = match std::env::var(SEED_VARIABLE) {
        Ok(seed) => seed.parse().expect("DURUM_TEST_SEED is a number"),
        Err(_) => fastrand::u64(..),
    };
    println!("to repeat: {SEED_VARIABLE}={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let options = StoreOptions {
        collection: collection(&mut random),
        ..fixture.options()
    };
    let mut history = History {
        random,
        tids: BTreeMap::new(),
        free: Vec::new(),
        gone: BTreeSet::new(),
        snapshots: Vec::new(),
        budget: options.collection.commit,
    };
    let mut subject = fixture.create_with(options);
    let steps = std::env::var(STEPS_VARIABLE).map_or(STEPS, |steps| {
        steps.parse().expect("DURUM_HISTORY_STEPS is a number")
    });
    for step in 0..steps {
        history.step(&mut subject, fixture.capabilities().persistent);
        if step % CHECKED_EVERY == 0 {
            assert_eq!(check(subject.local(), false).unwrap().errors, []);
        }
    }
    history.collect(&mut subject);
    assert_eq!(check(subject.local(), false).unwrap().errors, []);
    assert_eq!(subject.store().stats().unwrap().garbage_pending, 0);
    history.snapshots.clear();
    subject.finish();
}

/// Objects with whether they are created, their references and their data.
type Writes = BTreeMap<Oid, (bool, Vec<Oid>, Vec<u8>)>;

struct History {
    random: fastrand::Rng,
    tids: BTreeMap<Oid, Tid>,
    /// Handed out and not used.
    free: Vec<Oid>,
    /// Cannot be created any more, or never could.
    gone: BTreeSet<Oid>,
    snapshots: Vec<(Box<dyn Snapshot>, Model)>,
    /// What each commit may do for collection.
    budget: Budget,
}

impl History {
    fn step(&mut self, subject: &mut Subject<'_>, persistent: bool) {
        match self.random.u32(..100) {
            0..70 => self.commit(subject),
            70..80 => {
                let snapshot = subject.store().snapshot().unwrap();
                assert_snapshot(&*snapshot, &subject.model);
                self.snapshots.push((snapshot, subject.model.clone()));
            }
            80..90 => {
                if !self.snapshots.is_empty() {
                    let index = self.random.usize(..self.snapshots.len());
                    let (snapshot, model) = self.snapshots.swap_remove(index);
                    assert_snapshot(&*snapshot, &model);
                }
            }
            90..96 => self.collect(subject),
            _ => {
                self.snapshots.clear();
                subject.reopen();
                subject.compare();
                if persistent {
                    self.gone
                        .extend(self.free.drain(..).filter(|oid| *oid != Oid::ROOT));
                }
            }
        }
    }

    fn any(&mut self, model: &Model) -> Option<Oid> {
        let index = self.random.usize(..model.len().max(1));
        model.keys().nth(index).copied()
    }

    /// Random writes, not all of them valid.
    fn writes(&mut self, subject: &Subject<'_>) -> Writes {
        if self.free.len() < FREE_MAX {
            self.free.extend(subject.oids(3));
        }
        let mut writes = Writes::new();
        for _ in 0..self.random.usize(1..5) {
            let oid = match self.random.u8(..20) {
                0..9 => self.any(&subject.model),
                9..19 => self.free.get(self.random.usize(..self.free.len())).copied(),
                _ => self.gone.first().copied(),
            };
            let Some(oid) = oid else { continue };
            let create = subject.model.contains_key(&oid) == (self.random.u8(..30) == 0);
            let data = vec![self.random.u8(..); self.random.usize(..120)];
            writes.insert(oid, (create, Vec::new(), data));
        }
        let written: Vec<Oid> = writes.keys().copied().collect();
        for (oid, (_, refs, _)) in &mut writes {
            for _ in 0..self.random.usize(..4) {
                let target = match self.random.u8(..20) {
                    0..10 => self.any(&subject.model),
                    10..19 => written.get(self.random.usize(..written.len())).copied(),
                    _ => self.free.first().copied(),
                };
                refs.extend(target);
            }
            crate::record::normalize_refs(*oid, refs);
        }
        writes
    }

    /// A random batch, and what the model says of it: the conflicting and the missing objects.
    fn commit(&mut self, subject: &mut Subject<'_>) {
        let writes = self.writes(subject);
        let mut batch = Batch::new();
        let (mut conflict, mut gone) = (BTreeSet::new(), BTreeSet::new());
        for (oid, (create, refs, data)) in &writes {
            let exists = subject.model.contains_key(oid);
            let known =
                |target: &Oid| subject.model.contains_key(target) || writes.contains_key(target);
            gone.extend(refs.iter().copied().filter(|target| !known(target)));
            match (create, exists) {
                (true, true) => drop(conflict.insert(*oid)),
                (false, false) => drop(gone.insert(*oid)),
                (true, false) if !self.free.contains(oid) && *oid != Oid::ROOT => {
                    gone.insert(*oid);
                }
                _ => {}
            }
            match create {
                true => batch.create(*oid, data.as_slice(), refs.iter().copied()),
                false => batch.update(*oid, data.as_slice(), refs.iter().copied()),
            };
        }
        if let Some(read) = self.any(&subject.model) {
            let stale = self.random.u8(..10) == 0;
            let tid = self.tids[&read];
            batch.expect(read, if stale { Tid(tid.0 + 1) } else { tid });
            conflict.extend(stale.then_some(read));
        }
        let result = subject.commit(batch);
        if !conflict.is_empty() || !gone.is_empty() {
            let error = result.unwrap_err();
            let (kind, oids) = match conflict.is_empty() {
                true => (ErrorKind::Gone, gone),
                false => (ErrorKind::Conflict, conflict),
            };
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.oids().iter().eq(&oids), "{error}: {oids:?}");
            return;
        }
        let tid = result.unwrap().tid;
        self.free.retain(|oid| !writes.contains_key(oid));
        let mut created = Vec::new();
        for (oid, (create, refs, data)) in writes {
            created.extend(create.then_some(oid));
            self.tids.insert(oid, tid);
            subject.model.insert(oid, (refs, data));
        }
        if self.budget.reads > 0 {
            self.settle(subject, &created);
        }
    }

    /// Looks at what the collection along with a commit has left, which must be all that is reached.
    fn settle(&mut self, subject: &mut Subject<'_>, created: &[Oid]) {
        let snapshot = subject.store().snapshot().unwrap();
        let mut scan = snapshot.scan(Oid::ROOT).unwrap();
        let mut left = BTreeSet::new();
        while let Some(record) = scan.next().unwrap() {
            left.insert(record.oid);
        }
        let mut roots = pinned(subject);
        roots.push(Oid::ROOT);
        let live = reached(&subject.model, &roots);
        if self.budget == Budget::UNLIMITED {
            assert_eq!(left, live);
            // What is new and not linked at all is kept alive by its session.
            let linked: BTreeSet<Oid> = subject
                .model
                .values()
                .flat_map(|(refs, _)| refs)
                .copied()
                .collect();
            assert!(
                created
                    .iter()
                    .all(|oid| live.contains(oid) || linked.contains(oid))
            );
        } else {
            assert!(left.is_superset(&live), "{left:?} of {live:?}");
        }
        assert!(subject.model.len() >= left.len());
        self.gone
            .extend(subject.model.keys().filter(|oid| !left.contains(oid)));
        subject.model.retain(|oid, _| left.contains(oid));
        assert_eq!(
            subject.store().stats().unwrap().objects,
            left.len() as u64,
            "what is condemned does not count"
        );
    }

    fn collect(&mut self, subject: &mut Subject<'_>) {
        let live = reached(&subject.model, &[Oid::ROOT]);
        let before = subject.store().stats().unwrap().objects;
        assert_eq!(before, subject.model.len() as u64);
        let collected = subject.store().collect().unwrap().objects;
        // What was condemned before is counted when it is deleted.
        assert!(collected >= before - live.len() as u64);
        self.gone
            .extend(subject.model.keys().filter(|oid| !live.contains(oid)));
        subject.model.retain(|oid, _| live.contains(oid));
        subject.compare();
    }
}

/// What can be reached from `roots`.
fn reached(model: &Model, roots: &[Oid]) -> BTreeSet<Oid> {
    let mut live = BTreeSet::new();
    let mut stack = roots.to_vec();
    while let Some(oid) = stack.pop() {
        if let Some((refs, _)) = model.get(&oid)
            && live.insert(oid)
        {
            stack.extend(refs);
        }
    }
    live
}

/// The objects that sessions keep alive.
fn pinned(subject: &Subject<'_>) -> Vec<Oid> {
    let view = subject.local().raw_engine().snapshot().unwrap();
    let mut cursor = view.cursor(Table::Pins, Key::MIN).unwrap();
    let mut pinned = Vec::new();
    while let Some((key, _)) = cursor.next().unwrap() {
        pinned.push(Oid(key.second));
    }
    pinned
}

//! Random histories against a model.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fixture, Model, Subject, assert_snapshot};
use crate::error::ErrorKind;
use crate::id::{Oid, Tid};
use crate::store::{Batch, Snapshot, Store as _};

const STEPS: usize = 300;
/// The environment variable that repeats a history.
const SEED_VARIABLE: &str = "DURUM_TEST_SEED";

/// Commits that are valid and commits that are not, snapshots, collections and reopening in random
/// order; every result is what the model says. Prints its seed, which `DURUM_TEST_SEED` takes.
pub fn a_random_history_equals_the_model(fixture: &Fixture) {
    let seed = match std::env::var(SEED_VARIABLE) {
        Ok(seed) => seed.parse().expect("DURUM_TEST_SEED is a number"),
        Err(_) => fastrand::u64(..),
    };
    println!("to repeat: {SEED_VARIABLE}={seed}");
    let mut history = History {
        random: fastrand::Rng::with_seed(seed),
        tids: BTreeMap::new(),
        free: Vec::new(),
        gone: BTreeSet::new(),
        snapshots: Vec::new(),
    };
    let mut subject = fixture.create();
    for _ in 0..STEPS {
        history.step(&mut subject, fixture.capabilities().persistent);
    }
    history.snapshots.clear();
    subject.finish();
}

struct History {
    random: fastrand::Rng,
    tids: BTreeMap<Oid, Tid>,
    /// Handed out and not used.
    free: Vec<Oid>,
    /// Cannot be created any more, or never could.
    gone: BTreeSet<Oid>,
    snapshots: Vec<(Box<dyn Snapshot>, Model)>,
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

    /// A random batch, and what the model says of it: the conflicting and the missing objects.
    fn commit(&mut self, subject: &mut Subject<'_>) {
        self.free.extend(subject.oids(3));
        let mut writes: BTreeMap<Oid, (bool, Vec<Oid>, Vec<u8>)> = BTreeMap::new();
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
        for (oid, (_, refs, data)) in writes {
            self.tids.insert(oid, tid);
            subject.model.insert(oid, (refs, data));
        }
    }

    fn collect(&mut self, subject: &mut Subject<'_>) {
        let mut live = BTreeSet::new();
        let mut stack = vec![Oid::ROOT];
        while let Some(oid) = stack.pop() {
            if let Some((refs, _)) = subject.model.get(&oid)
                && live.insert(oid)
            {
                stack.extend(refs);
            }
        }
        let garbage = subject.model.len() - live.len();
        assert_eq!(subject.store().collect().unwrap().objects, garbage as u64);
        self.gone
            .extend(subject.model.keys().filter(|oid| !live.contains(oid)));
        subject.model.retain(|oid, _| live.contains(oid));
        subject.compare();
    }
}

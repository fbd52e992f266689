//! Bringing a store up to date before it appears.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fixture, assert_snapshot};
use crate::check::{FindingKind, check};
use crate::id::{Oid, Tid};
use crate::record::{Codecs, Payload};
use crate::store::{CatchUp, LocalStore, SnapshotExt as _, StagedStore, Store as _};

/// The environment variable that repeats a history.
const SEED_VARIABLE: &str = "DURUM_TEST_SEED";
/// Stores that are filled and brought up to date.
const STORES: usize = 8;
/// Objects have OIDs below this: few enough that they come, go and come back, and enough that one can
/// have more referrers than fit in a row.
const OIDS: u64 = 90;

/// What another store holds: tids, references and data.
type Elsewhere = BTreeMap<Oid, (Tid, Vec<Oid>, Vec<u8>)>;

/// However objects are put and deleted elsewhere, with references to what is not there yet or no longer:
/// the store has the same in the end, with the same tids, its tables are right, and what the root does
/// not reach is collected. Prints its seed, which `DURUM_TEST_SEED` takes.
pub fn a_store_follows_whatever_happens_elsewhere(fixture: &Fixture) {
    let seed = match std::env::var(SEED_VARIABLE) {
        Ok(seed) => seed.parse().expect("DURUM_TEST_SEED is a number"),
        Err(_) => fastrand::u64(..),
    };
    println!("to repeat: {SEED_VARIABLE}={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..STORES {
        follow(fixture, &mut random);
        if fixture.capabilities().persistent {
            fixture.remove();
        }
    }
}

fn follow(fixture: &Fixture, random: &mut fastrand::Rng) {
    let mut elsewhere = Elsewhere::new();
    let mut tid = Tid(1);
    for _ in 0..random.usize(1..200) {
        change(&mut elsewhere, tid, random);
    }
    let mut staged = fixture.stage();
    let mut importer = staged
        .resumable_importer(b"copied".to_vec(), 1 << 20, &|_| Ok(()))
        .unwrap();
    importer.leave_open();
    let codecs = Codecs::default();
    for (oid, (tid, refs, data)) in &elsewhere {
        importer
            .push(*oid, *tid, refs, Payload::plain(data), &codecs)
            .unwrap();
    }
    importer.finish(tid, Oid(0)).unwrap();
    staged.keep().unwrap();
    let mut note = b"copied".to_vec();
    for round in 0..random.u64(0..6) {
        if fixture.capabilities().persistent && random.bool() {
            let _ = staged.leave().unwrap();
            let backend = fixture.backend();
            let resumed = StagedStore::resume(backend, &fixture.path(), &fixture.options());
            let found;
            (staged, found) = resumed.unwrap().unwrap();
            assert_eq!(found, note);
        }
        tid = Tid(tid.0 + random.u64(1..4));
        let mut changed = BTreeSet::new();
        for _ in 0..random.usize(0..80) {
            changed.extend(change(&mut elsewhere, tid, random));
        }
        let mut changed: Vec<Oid> = changed.into_iter().collect();
        random.shuffle(&mut changed);
        note = format!("round {round}").into_bytes();
        let mut catch_up = staged.catch_up();
        for oid in changed {
            step(&mut catch_up, oid, elsewhere.get(&oid));
            if random.u8(0..8) == 0 {
                catch_up.write(tid, Oid(OIDS), &note).unwrap();
            }
        }
        catch_up.write(tid, Oid(OIDS), &note).unwrap();
    }
    let dangling: usize = elsewhere
        .values()
        .map(|(_, refs, _)| {
            refs.iter()
                .filter(|oid| !elsewhere.contains_key(oid))
                .count()
        })
        .sum();
    assert_eq!(
        staged.catch_up().seal(b"at its end").unwrap(),
        dangling as u64
    );
    staged.store().sync().unwrap();
    verify(&staged.publish().unwrap(), &elsewhere, tid);
}

fn step(catch_up: &mut CatchUp<'_>, oid: Oid, object: Option<&(Tid, Vec<Oid>, Vec<u8>)>) {
    match object {
        Some((tid, refs, data)) => {
            let codecs = Codecs::default();
            let data = Payload::plain(data);
            catch_up.put(oid, *tid, refs, data, &codecs).unwrap();
        }
        None => catch_up.delete(oid),
    }
}

/// Puts or deletes something; what.
fn change(elsewhere: &mut Elsewhere, tid: Tid, random: &mut fastrand::Rng) -> Vec<Oid> {
    let oid = Oid(random.u64(0..OIDS));
    if random.u8(0..4) == 0 {
        elsewhere.remove(&oid);
        return vec![oid];
    }
    let mut refs: Vec<Oid> = (0..random.usize(0..4))
        .map(|_| Oid(random.u64(0..OIDS)))
        .collect();
    if random.u8(0..12) == 0 {
        // Everything refers to one object, or does so no longer.
        let hub = Oid(random.u64(0..OIDS));
        let refers = random.bool();
        for (oid, (changed, refs, _)) in elsewhere.iter_mut() {
            refs.retain(|target| *target != hub);
            refs.extend(Some(hub).filter(|hub| refers && hub != oid));
            refs.sort_unstable();
            *changed = tid;
        }
        return elsewhere.keys().copied().collect();
    }
    crate::record::normalize_refs(oid, &mut refs);
    let data = vec![random.u8(..); random.usize(0..300)];
    elsewhere.insert(oid, (tid, refs, data));
    vec![oid]
}

fn verify(store: &LocalStore, elsewhere: &Elsewhere, tid: Tid) {
    let mut model: super::Model = elsewhere
        .iter()
        .map(|(oid, (_, refs, data))| (*oid, (refs.clone(), data.clone())))
        .collect();
    let snapshot = store.snapshot().unwrap();
    assert_eq!(snapshot.tid(), tid);
    assert_snapshot(&*snapshot, &model);
    for (oid, (tid, ..)) in elsewhere {
        assert_eq!(snapshot.load(*oid).unwrap().unwrap().tid, *tid);
    }
    drop(snapshot);
    let clean = || {
        let errors = check(store, false).unwrap().errors;
        let others: Vec<_> = errors
            .iter()
            .filter(|finding| finding.kind != FindingKind::Dangling)
            .collect();
        assert!(others.is_empty(), "{others:?}");
    };
    clean();
    store.collect().unwrap();
    clean();
    let (mut reached, mut ahead) = (BTreeSet::new(), vec![Oid::ROOT]);
    while let Some(oid) = ahead.pop() {
        if let Some((refs, _)) = model.get(&oid)
            && reached.insert(oid)
        {
            ahead.extend(refs);
        }
    }
    model.retain(|oid, _| reached.contains(oid));
    assert_snapshot(&*store.snapshot().unwrap(), &model);
}

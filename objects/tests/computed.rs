//! Values that are computed and not stored: who has which when.

// Clippy knows test functions, but not the helpers beside them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::cell::Cell;
use std::sync::Arc;

use durum_core::store::{SnapshotExt as _, Store as _};
use durum_objects::{Computed, Database, Error, ErrorKind, Persistent, Ref, Result, Transaction};
use serde::{Deserialize, Serialize};
use support::Place;

#[derive(Clone, Debug, Serialize, Deserialize, Persistent)]
#[persistent(name = "test.Entry")]
struct Entry {
    amount: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize, Persistent)]
#[persistent(name = "test.Ledger")]
struct Ledger {
    factor: i64,
    entry: Ref<Entry>,
    product: Computed<i64>,
}

const CACHE: u64 = 1 << 20;

/// A ledger whose product is 2 * 3.
fn ledger(db: &Database) -> (Ref<Ledger>, Ref<Entry>) {
    let made = db.transact(|tx| {
        let entry = tx.new(Entry { amount: 3 })?;
        let ledger = Ledger {
            factor: 2,
            entry,
            product: Computed::default(),
        };
        let ledger = tx.new(ledger)?;
        tx.set_root("ledger", ledger)?;
        Ok((ledger, entry))
    });
    made.unwrap()
}

/// The product, and whether it had to be computed.
fn product(tx: &Transaction, ledger: Ref<Ledger>) -> (i64, bool) {
    let ledger = tx.get(ledger).unwrap();
    let computed = Cell::new(false);
    let product = ledger.product.get(tx, || {
        computed.set(true);
        Ok(ledger.factor * tx.get(ledger.entry)?.amount)
    });
    (*product.unwrap(), computed.get())
}

fn change(tx: &Transaction, ledger: Ref<Ledger>, entry: Ref<Entry>, amount: i64) -> Result<()> {
    tx.get_mut(entry)?.amount = amount;
    tx.get_mut(ledger)?.product.invalidate();
    Ok(())
}

#[test]
fn it_is_computed_once_in_each_process_and_dropped_in_all() {
    let place = Place::served("file");
    let (here, there) = (place.database(CACHE), place.database(CACHE));
    let (ledger, entry) = ledger(&here);
    let other = there
        .begin()
        .unwrap()
        .root::<Ledger>("ledger")
        .unwrap()
        .unwrap();
    assert_eq!(product(&here.begin().unwrap(), ledger), (6, true));
    assert_eq!(product(&here.begin().unwrap(), ledger), (6, false));
    assert_eq!(product(&here.view().unwrap(), ledger), (6, false));
    assert_eq!(product(&there.begin().unwrap(), other), (6, true));
    assert_eq!(product(&there.begin().unwrap(), other), (6, false));

    let before = there.begin().unwrap();
    assert_eq!(product(&before, other), (6, false));
    here.transact(|tx| change(tx, ledger, entry, 5)).unwrap();
    assert_eq!(product(&here.begin().unwrap(), ledger), (10, true));
    assert_eq!(product(&here.begin().unwrap(), ledger), (10, false));
    assert_eq!(product(&there.begin().unwrap(), other), (10, true));
    assert_eq!(product(&there.begin().unwrap(), other), (10, false));
    assert_eq!(
        product(&before, other).0,
        6,
        "it sees the state in which it began"
    );
}

#[test]
fn a_transaction_that_is_aborted_leaves_the_value_as_it_was() {
    for cache in [0, CACHE] {
        let place = Place::new("memory");
        let db = place.database(cache);
        let (ledger, entry) = ledger(&db);
        assert_eq!(product(&db.begin().unwrap(), ledger), (6, true));
        let mut tx = db.begin().unwrap();
        change(&tx, ledger, entry, 100).unwrap();
        assert_eq!(product(&tx, ledger).0, 200);
        tx.abort();
        assert_eq!(product(&tx, ledger), (6, cache == 0));
        assert_eq!(product(&db.begin().unwrap(), ledger), (6, cache == 0));
    }
}

#[test]
fn what_follows_from_changes_that_are_not_committed_is_seen_by_nobody_else() {
    let place = Place::new("memory");
    let db = place.database(CACHE);
    let (ledger, entry) = ledger(&db);
    let tx = db.begin().unwrap();
    // Computed before it is invalidated, in a version that all share.
    tx.get_mut(entry).unwrap().amount = 100;
    assert_eq!(product(&tx, ledger).0, 200);
    assert_eq!(product(&db.begin().unwrap(), ledger), (6, true));
    // And while the change is not even finished.
    let changing = tx.get_mut(entry).unwrap();
    let read = tx.get(ledger).unwrap();
    read.product.get(&tx, || Ok(changing.amount)).unwrap();
    drop(changing);
    assert_eq!(product(&db.begin().unwrap(), ledger), (6, false));
}

#[test]
fn a_return_to_a_savepoint_brings_no_value_of_what_was_undone() {
    let place = Place::new("memory");
    let db = place.database(CACHE);
    let (ledger, entry) = ledger(&db);
    let mut tx = db.begin().unwrap();
    change(&tx, ledger, entry, 4).unwrap();
    let point = tx.savepoint();
    change(&tx, ledger, entry, 100).unwrap();
    assert_eq!(product(&tx, ledger).0, 200);
    tx.roll_back(&point).unwrap();
    assert_eq!(product(&tx, ledger).0, 8);
    tx.commit().unwrap();
    assert_eq!(product(&tx, ledger), (8, true));
    assert_eq!(product(&tx, ledger), (8, false));
}

#[test]
fn a_change_of_the_object_itself_drops_the_value() {
    // With no cache nobody else has the version that is changed.
    for cache in [0, CACHE] {
        let place = Place::new("memory");
        let db = place.database(cache);
        let (ledger, _) = ledger(&db);
        let mut tx = db.begin().unwrap();
        let mut changed = tx.get_mut(ledger).unwrap();
        assert_eq!(
            *changed.product.get(&db.view().unwrap(), || Ok(6)).unwrap(),
            6
        );
        assert!(changed.product.is_computed());
        changed.factor = 7;
        assert!(!changed.product.is_computed());
        drop(changed);
        tx.commit().unwrap();
        assert_eq!(product(&db.begin().unwrap(), ledger).0, 21);
    }
}

#[test]
fn two_who_invalidate_it_conflict() {
    let place = Place::new("memory");
    let db = place.database(CACHE);
    let (ledger, entry) = ledger(&db);
    let (mut one, two) = (db.begin().unwrap(), db.begin().unwrap());
    one.get_mut(ledger).unwrap().product.invalidate();
    change(&two, ledger, entry, 1).unwrap();
    let mut two = two;
    two.commit().unwrap();
    assert_eq!(one.commit().unwrap_err().kind(), ErrorKind::Conflict);
}

#[test]
fn a_computation_that_fails_leaves_it_absent() {
    let place = Place::new("memory");
    let db = place.database(CACHE);
    let (ledger, _) = ledger(&db);
    let tx = db.begin().unwrap();
    let read = tx.get(ledger).unwrap();
    let failed = read
        .product
        .get(&tx, || Err(Error::new(ErrorKind::Other, "compute")));
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Other);
    assert_eq!(product(&tx, ledger), (6, true));
}

#[test]
fn the_value_is_never_stored() {
    for (name, place) in Place::all() {
        let db = place.database(CACHE);
        let (ledger, entry) = ledger(&db);
        let state = || {
            let snapshot = place.store().snapshot().unwrap();
            snapshot.load(ledger.oid()).unwrap().unwrap().data
        };
        let before = state();
        let mut tx = db.begin().unwrap();
        assert_eq!(product(&tx, ledger), (6, true), "{name}");
        tx.get_mut(entry).unwrap().amount = 3;
        tx.commit().unwrap();
        assert_eq!(state(), before, "{name}");
        db.transact(|tx| change(tx, ledger, entry, 9)).unwrap();
        assert_eq!(product(&db.begin().unwrap(), ledger), (18, true), "{name}");
        let after = state();
        assert_eq!(after.len(), before.len(), "{name}");
        let changed = after
            .iter()
            .zip(&before)
            .filter(|(one, other)| one != other);
        assert_eq!(changed.count(), 1, "only the generation: {name}");
    }
}

#[test]
fn threads_share_one_value() {
    let place = Place::new("memory");
    let db = place.database(CACHE);
    let (ledger, _) = ledger(&db);
    let values: Vec<Arc<i64>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|number| {
                let db = &db;
                scope.spawn(move || {
                    let tx = db.view().unwrap();
                    tx.get(ledger)
                        .unwrap()
                        .product
                        .get(&tx, || Ok(number))
                        .unwrap()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(
        values.iter().all(|value| **value == *values[0]),
        "{values:?}"
    );
}

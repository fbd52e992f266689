//! Sets against those of std.

use std::collections::BTreeSet;

use durum_objects::{Result, Set, Transaction};
use fastrand::Rng;

use crate::kit::{CACHES, Place};

fn all(items: impl Iterator<Item = Result<u16>>) -> Vec<u16> {
    items.collect::<Result<_>>().unwrap()
}

/// Compares what is made of two sets.
fn compare(tx: &Transaction, sets: [Set<u16>; 2], own: &[BTreeSet<u16>; 2]) {
    let [one, two] = sets;
    let [a, b] = own;
    for (set, own) in sets.iter().zip(own) {
        assert_eq!(set.check(tx).unwrap(), own.len() as u64);
        assert_eq!(
            all(set.iter(tx).unwrap()),
            own.iter().copied().collect::<Vec<_>>()
        );
        assert_eq!(set.first(tx).unwrap().as_ref(), own.first());
        assert_eq!(set.last(tx).unwrap().as_ref(), own.last());
    }
    let union: Vec<_> = a.union(b).copied().collect();
    assert_eq!(all(one.union(tx, &two).unwrap()), union);
    let both: Vec<_> = a.intersection(b).copied().collect();
    assert_eq!(all(one.intersection(tx, &two).unwrap()), both);
    let difference: Vec<_> = a.difference(b).copied().collect();
    assert_eq!(all(one.difference(tx, &two).unwrap()), difference);
    let symmetric: Vec<_> = a.symmetric_difference(b).copied().collect();
    assert_eq!(all(one.symmetric_difference(tx, &two).unwrap()), symmetric);
    assert_eq!(one.is_subset(tx, &two).unwrap(), a.is_subset(b));
    assert_eq!(one.is_superset(tx, &two).unwrap(), a.is_superset(b));
    assert_eq!(one.is_disjoint(tx, &two).unwrap(), a.is_disjoint(b));
}

fn change(tx: &Transaction, sets: [Set<u16>; 2], own: &mut [BTreeSet<u16>; 2], rng: &mut Rng) {
    let at = rng.usize(..2);
    let (set, other) = (sets[at], sets[1 - at]);
    let (mine, others) = (own[at].clone(), own[1 - at].clone());
    let item = rng.u16(..300);
    let own = &mut own[at];
    match rng.u32(0..40) {
        0 => {
            set.union_with(tx, &other).unwrap();
            *own = &mine | &others;
        }
        1 => {
            set.intersect_with(tx, &other).unwrap();
            *own = &mine & &others;
        }
        2 => {
            set.subtract(tx, &other).unwrap();
            *own = &mine - &others;
        }
        3 => {
            set.symmetric_difference_with(tx, &other).unwrap();
            *own = &mine ^ &others;
        }
        4 => assert_eq!(set.pop_first(tx).unwrap(), own.pop_first()),
        5 => assert_eq!(set.pop_last(tx).unwrap(), own.pop_last()),
        6 => {
            let items: Vec<_> = (item..item + 40).collect();
            set.extend(tx, items.clone()).unwrap();
            own.extend(items);
        }
        7 => {
            let range = item..item + 50;
            assert_eq!(
                all(set.range(tx, range.clone()).unwrap()),
                all(own.range(range).map(|it| Ok(*it)))
            );
        }
        8..16 => assert_eq!(set.remove(tx, &item).unwrap(), own.remove(&item)),
        16..20 => assert_eq!(set.contains(tx, &item).unwrap(), own.contains(&item)),
        _ => assert_eq!(set.insert(tx, item).unwrap(), own.insert(item)),
    }
    assert_eq!(set.len(tx).unwrap(), own.len() as u64);
}

fn run(place: &Place, cache: u64, rng: &mut Rng, transactions: usize) {
    let mut opened = place.open(cache);
    let size = rng.u32(4..20);
    let names = ["one", "two"];
    let mut sets = opened
        .db
        .transact(|tx| {
            let sets = [
                Set::with_node_size(tx, size)?,
                Set::with_node_size(tx, size)?,
            ];
            for (set, name) in sets.iter().zip(names) {
                set.set_root(tx, name)?;
            }
            Ok(sets)
        })
        .unwrap();
    let mut own = [BTreeSet::new(), BTreeSet::new()];
    for _ in 0..transactions {
        let mut tx = opened.db.begin().unwrap();
        let mut inside = own.clone();
        for _ in 0..rng.usize(1..40) {
            change(&tx, sets, &mut inside, rng);
        }
        compare(&tx, sets, &inside);
        if rng.u32(0..4) > 0 {
            tx.commit().unwrap();
            own = inside;
        }
        drop(tx);
        if place.persistent && rng.u32(0..5) == 0 {
            drop(opened);
            opened = place.open(cache);
            let tx = opened.db.begin().unwrap();
            sets = names.map(|name| Set::root(&tx, name).unwrap().unwrap());
        }
        compare(&opened.db.view().unwrap(), sets, &own);
    }
}

#[test]
fn sets_do_as_those_of_std() {
    let mut rng = Rng::with_seed(durum_testkit::seed());
    for round in 0..30 {
        run(&Place::memory(), CACHES[round % 3], &mut rng, 15);
    }
}

#[test]
fn sets_do_so_on_all_engines_and_through_a_server() {
    let mut rng = Rng::with_seed(durum_testkit::seed());
    for place in Place::all() {
        println!("{}", place.name);
        run(&place, CACHES[rng.usize(..3)], &mut rng, 12);
    }
}

#[test]
fn a_set_with_itself() {
    let opened = Place::memory().open(0);
    let tx = opened.db.begin().unwrap();
    let set: Set<u16> = Set::from_sorted(&tx, 0..500).unwrap();
    set.union_with(&tx, &set).unwrap();
    set.intersect_with(&tx, &set).unwrap();
    assert_eq!(set.check(&tx).unwrap(), 500);
    set.subtract(&tx, &set).unwrap();
    assert_eq!(set.check(&tx).unwrap(), 0);
    set.extend(&tx, 0..500).unwrap();
    set.symmetric_difference_with(&tx, &set).unwrap();
    assert_eq!(set.check(&tx).unwrap(), 0);
}

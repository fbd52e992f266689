//! Dicts against maps of std.

use std::collections::HashMap;

use durum_objects::{Dict, ErrorKind, Result};
use fastrand::Rng;
use serde::{Deserialize, Serialize};

use crate::kit::{CACHES, Place, memory};

/// A key without an order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Name {
    Number(u8),
    Text(String),
}

fn name(rng: &mut Rng) -> Name {
    match rng.bool() {
        true => Name::Number(rng.u8(..40)),
        false => Name::Text(format!("name {}", rng.u8(..40))),
    }
}

fn run(place: &Place, cache: u64, rng: &mut Rng, transactions: usize) {
    let mut opened = place.open(cache);
    let size = rng.u32(4..12);
    let mut dict: Dict<Name, i32> = opened
        .db
        .transact(|tx| {
            let dict = Dict::with_node_size(tx, size)?;
            dict.set_root(tx, "dict")?;
            Ok(dict)
        })
        .unwrap();
    let mut map = HashMap::new();
    for _ in 0..transactions {
        let mut tx = opened.db.begin().unwrap();
        let mut inside = map.clone();
        for _ in 0..rng.usize(1..40) {
            let (key, value) = (name(rng), rng.i32(..));
            match rng.u32(0..40) {
                0..14 => assert_eq!(
                    dict.insert(&tx, key.clone(), value).unwrap(),
                    inside.insert(key, value)
                ),
                14..24 => assert_eq!(dict.remove(&tx, &key).unwrap(), inside.remove(&key)),
                24..28 => assert_eq!(dict.get(&tx, &key).unwrap(), inside.get(&key).copied()),
                28..31 => assert_eq!(dict.contains(&tx, &key).unwrap(), inside.contains_key(&key)),
                31..34 => {
                    let found = dict.set_default(&tx, key.clone(), || value).unwrap();
                    assert_eq!(found, *inside.entry(key).or_insert(value));
                }
                34..37 => {
                    let found = dict
                        .update(&tx, &key, |it| std::mem::replace(it, value))
                        .unwrap();
                    assert_eq!(
                        found,
                        inside.get_mut(&key).map(|it| std::mem::replace(it, value))
                    );
                }
                37 if rng.u32(0..8) == 0 => {
                    dict.clear(&tx).unwrap();
                    inside.clear();
                }
                _ => assert_eq!(dict.is_empty(&tx).unwrap(), inside.is_empty()),
            }
            assert_eq!(dict.len(&tx).unwrap(), inside.len() as u64);
        }
        assert_eq!(dict.check(&tx).unwrap(), inside.len() as u64);
        if rng.u32(0..4) > 0 {
            tx.commit().unwrap();
            map = inside;
        }
        drop(tx);
        if place.persistent && rng.u32(0..5) == 0 {
            drop(opened);
            opened = place.open(cache);
            dict = Dict::root(&opened.db.begin().unwrap(), "dict")
                .unwrap()
                .unwrap();
        }
        let tx = opened.db.view().unwrap();
        let entries: HashMap<_, _> = dict.iter(&tx).unwrap().collect::<Result<_>>().unwrap();
        assert_eq!(entries, map);
    }
}

#[test]
fn a_dict_does_as_a_map_of_std() {
    let mut rng = Rng::with_seed(durum_testkit::seed());
    for round in 0..30 {
        run(&Place::memory(), CACHES[round % 3], &mut rng, 20);
    }
}

#[test]
fn a_dict_does_so_on_all_engines_and_through_a_server() {
    let mut rng = Rng::with_seed(durum_testkit::seed());
    for place in Place::all() {
        println!("{}", place.name);
        run(&place, CACHES[rng.usize(..3)], &mut rng, 12);
    }
}

/// Keys that are stored alike have the same hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Alike(#[serde(skip)] u8);

#[test]
fn keys_with_the_same_hash_are_told_apart() {
    let db = memory(0);
    let tx = db.begin().unwrap();
    let dict = Dict::new(&tx).unwrap();
    for key in 0..50 {
        assert_eq!(dict.insert(&tx, Alike(key), key).unwrap(), None);
    }
    for key in (0..50).step_by(3) {
        assert_eq!(dict.remove(&tx, &Alike(key)).unwrap(), Some(key));
    }
    for key in (0..50).step_by(6) {
        assert_eq!(dict.insert(&tx, Alike(key), key).unwrap(), None);
    }
    for key in 0..50 {
        let there = key % 3 != 0 || key % 6 == 0;
        assert_eq!(dict.get(&tx, &Alike(key)).unwrap(), there.then_some(key));
    }
    let there = (0..50).filter(|key| key % 3 != 0 || key % 6 == 0).count();
    assert_eq!(dict.check(&tx).unwrap(), there as u64);
}

#[test]
fn different_keys_of_one_leaf_do_not_conflict() {
    let db = memory(1 << 20);
    let dict: Dict<String, u32> = db
        .transact(|tx| {
            let dict = Dict::new(tx)?;
            dict.set_root(tx, "dict")?;
            Ok(dict)
        })
        .unwrap();
    let mut transactions: Vec<_> = (0..10).map(|_| db.begin().unwrap()).collect();
    for (number, tx) in transactions.iter().enumerate() {
        dict.insert(tx, format!("key {number}"), 0).unwrap();
    }
    for tx in &mut transactions {
        tx.commit().unwrap();
    }
    assert_eq!(dict.len(&db.begin().unwrap()).unwrap(), 10);
    let (mut one, mut two) = (db.begin().unwrap(), db.begin().unwrap());
    assert_eq!(dict.insert(&one, "new".into(), 1).unwrap(), None);
    assert_eq!(dict.insert(&two, "new".into(), 2).unwrap(), None);
    one.commit().unwrap();
    assert_eq!(two.commit().unwrap_err().kind(), ErrorKind::Conflict);
}

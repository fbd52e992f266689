//! Operations on trees, and what they do to a map of std.

use std::collections::BTreeMap;
use std::ops::Bound;

use durum_objects::{BTree, Result, Transaction};
use fastrand::Rng;

pub(crate) type Tree = BTree<u32, String>;
pub(crate) type Map = BTreeMap<u32, String>;

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Get(u32),
    Contains(u32),
    Insert(u32, String),
    SetDefault(u32, String),
    Update(u32, String),
    Remove(u32),
    First,
    Last,
    PopFirst,
    PopLast,
    Len,
    IsEmpty,
    /// For each entry to be read, whether it is from the upper end.
    Range(Bound<u32>, Bound<u32>, Vec<bool>),
    /// Removes all entries of a range while it is read.
    Drain(u32, u32),
    Extend(Vec<(u32, String)>),
    Clear,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    Value(Option<String>),
    Entry(Option<(u32, String)>),
    Entries(Vec<(u32, String)>),
    Flag(bool),
    Count(u64),
    Done,
}

impl Op {
    pub(crate) fn random(rng: &mut Rng, keys: u32) -> Op {
        let key = rng.u32(0..keys);
        let value = || "x".repeat((key % 7) as usize);
        let value = format!("{}{}", rng.u32(..1000), value());
        match rng.u32(0..100) {
            0..10 => Op::Get(key),
            10..13 => Op::Contains(key),
            13..42 => Op::Insert(key, value),
            42..46 => Op::SetDefault(key, value),
            46..52 => Op::Update(key, value),
            52..78 => Op::Remove(key),
            78 => Op::First,
            79 => Op::Last,
            80 => Op::PopFirst,
            81 => Op::PopLast,
            82 => Op::Len,
            83 => Op::IsEmpty,
            84..94 => {
                let ends = (0..rng.usize(0..30)).map(|_| rng.bool()).collect();
                let up = (0..rng.usize(0..30)).map(|_| false).collect();
                let down = (0..rng.usize(0..30)).map(|_| true).collect();
                let ends = rng.choice([ends, up, down]).unwrap();
                Op::Range(bound(rng, keys), bound(rng, keys), ends)
            }
            94..96 => Op::Drain(key, key + rng.u32(0..keys / 4)),
            96..99 => {
                let start = rng.u32(0..keys);
                let entries = (start..start + rng.u32(0..12)).map(|key| (key, value.clone()));
                Op::Extend(entries.collect())
            }
            _ if rng.u32(0..4) == 0 => Op::Clear,
            _ => Op::Get(key),
        }
    }

    pub(crate) fn on_tree(&self, tx: &Transaction, tree: Tree) -> Result<Outcome> {
        Ok(match self {
            Op::Get(key) => Outcome::Value(tree.get(tx, key)?),
            Op::Contains(key) => Outcome::Flag(tree.contains(tx, key)?),
            Op::Insert(key, value) => Outcome::Value(tree.insert(tx, *key, value.clone())?),
            Op::SetDefault(key, value) => {
                Outcome::Value(Some(tree.set_default(tx, *key, || value.clone())?))
            }
            Op::Update(key, more) => Outcome::Value(tree.update(tx, key, |value| {
                value.push_str(more);
                value.truncate(9);
                value.clone()
            })?),
            Op::Remove(key) => Outcome::Value(tree.remove(tx, key)?),
            Op::First => Outcome::Entry(tree.first(tx)?),
            Op::Last => Outcome::Entry(tree.last(tx)?),
            Op::PopFirst => Outcome::Entry(tree.pop_first(tx)?),
            Op::PopLast => Outcome::Entry(tree.pop_last(tx)?),
            Op::Len => Outcome::Count(tree.len(tx)?),
            Op::IsEmpty => Outcome::Flag(tree.is_empty(tx)?),
            Op::Range(low, high, ends) => {
                let mut range = tree.range(tx, (*low, *high))?;
                let entries = ends.iter().map_while(|end| match end {
                    true => range.next_back(),
                    false => range.next(),
                });
                Outcome::Entries(entries.collect::<Result<_>>()?)
            }
            Op::Drain(low, high) => {
                let mut entries = Vec::new();
                for entry in tree.range(tx, low..high)? {
                    let entry = entry?;
                    assert_eq!(tree.remove(tx, &entry.0)?.as_ref(), Some(&entry.1));
                    entries.push(entry);
                }
                Outcome::Entries(entries)
            }
            Op::Extend(entries) => {
                tree.extend(tx, entries.clone())?;
                Outcome::Done
            }
            Op::Clear => {
                tree.clear(tx)?;
                Outcome::Done
            }
        })
    }

    pub(crate) fn on_map(&self, map: &mut Map) -> Outcome {
        match self {
            Op::Get(key) => Outcome::Value(map.get(key).cloned()),
            Op::Contains(key) => Outcome::Flag(map.contains_key(key)),
            Op::Insert(key, value) => Outcome::Value(map.insert(*key, value.clone())),
            Op::SetDefault(key, value) => {
                Outcome::Value(Some(map.entry(*key).or_insert(value.clone()).clone()))
            }
            Op::Update(key, more) => Outcome::Value(map.get_mut(key).map(|value| {
                value.push_str(more);
                value.truncate(9);
                value.clone()
            })),
            Op::Remove(key) => Outcome::Value(map.remove(key)),
            Op::First => Outcome::Entry(map.first_key_value().map(owned)),
            Op::Last => Outcome::Entry(map.last_key_value().map(owned)),
            Op::PopFirst => Outcome::Entry(map.pop_first()),
            Op::PopLast => Outcome::Entry(map.pop_last()),
            Op::Len => Outcome::Count(map.len() as u64),
            Op::IsEmpty => Outcome::Flag(map.is_empty()),
            Op::Range(low, high, ends) => {
                let within = (*low, *high);
                // std panics where the ends are the wrong way round.
                let all = map
                    .iter()
                    .filter(|(key, _)| std::ops::RangeBounds::contains(&within, *key));
                let mut all = all.collect::<Vec<_>>().into_iter();
                let entries = ends.iter().map_while(|end| match end {
                    true => all.next_back(),
                    false => all.next(),
                });
                Outcome::Entries(entries.map(owned).collect())
            }
            Op::Drain(low, high) => {
                let entries: Vec<_> = map.range(low..high).map(owned).collect();
                map.retain(|key, _| !(low..high).contains(&key));
                Outcome::Entries(entries)
            }
            Op::Extend(entries) => {
                map.extend(entries.clone());
                Outcome::Done
            }
            Op::Clear => {
                map.clear();
                Outcome::Done
            }
        }
    }
}

fn owned((key, value): (&u32, &String)) -> (u32, String) {
    (*key, value.clone())
}

fn bound(rng: &mut Rng, keys: u32) -> Bound<u32> {
    match rng.u32(0..4) {
        0 => Bound::Unbounded,
        1 => Bound::Excluded(rng.u32(0..keys)),
        _ => Bound::Included(rng.u32(0..keys)),
    }
}

/// Compares all there is, and checks the tree.
pub(crate) fn assert_same(tx: &Transaction, tree: Tree, map: &Map) {
    let entries: Vec<_> = tree.iter(tx).unwrap().collect::<Result<_>>().unwrap();
    assert_eq!(entries, map.iter().map(owned).collect::<Vec<_>>());
    assert_eq!(tree.check(tx).unwrap(), map.len() as u64);
}

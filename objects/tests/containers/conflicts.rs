//! Several transactions at once on the same tree. What those that are committed have done and read must be what
//! they would have one after the other, in the order of their commits.

use std::sync::atomic::{AtomicU64, Ordering};

use durum_objects::{BTree, Counter, Database, ErrorKind, Savepoint, Transaction};
use fastrand::Rng;

use crate::kit::{CACHES, Place, memory};
use crate::operations::{Map, Op, Outcome, Tree, assert_same};

/// A transaction that is under way.
struct Open {
    tx: Transaction,
    /// What it sees, without its own changes.
    begun: Map,
    log: Vec<Entry>,
    points: Vec<(usize, Savepoint)>,
    /// The number of commits when it began.
    commits: u64,
}

enum Entry {
    Did(Op, Outcome),
    Savepoint,
    /// Back to the savepoint that is this entry of the log.
    RolledBack(usize),
}

impl Open {
    fn step(&mut self, tree: Tree, rng: &mut Rng, keys: u32) {
        match rng.u32(0..16) {
            0 => {
                self.points.push((self.log.len(), self.tx.savepoint()));
                self.log.push(Entry::Savepoint);
            }
            1 if !self.points.is_empty() => {
                let at = rng.usize(..self.points.len());
                let (number, point) = &self.points[at];
                self.tx.roll_back(point).unwrap();
                self.log.push(Entry::RolledBack(*number));
                self.points.truncate(at + 1);
            }
            _ => {
                let op = Op::random(rng, keys);
                let outcome = op.on_tree(&self.tx, tree).unwrap();
                self.log.push(Entry::Did(op, outcome));
            }
        }
    }

    /// Does the same to a map, and compares what comes of it.
    fn replay(&self, map: &mut Map) {
        let mut states = Vec::new();
        for entry in &self.log {
            states.push(map.clone());
            match entry {
                Entry::Did(op, outcome) => assert_eq!(op.on_map(map), *outcome, "{op:?}"),
                Entry::Savepoint => {}
                Entry::RolledBack(number) => map.clone_from(&states[*number]),
            }
        }
    }
}

#[derive(Debug, Default)]
struct Counts {
    /// Commits after another transaction's that was committed since this one began.
    merged: u64,
    conflicts: u64,
}

fn run(db: &Database, rng: &mut Rng, steps: usize, counts: &mut Counts) {
    let (size, keys) = (rng.u32(4..9), rng.u32(20..200));
    let tree: Tree = db
        .transact(|tx| {
            let tree = BTree::with_node_size(tx, size)?;
            tree.set_root(tx, "tree")?;
            let entries = (0..keys).step_by(2).map(|key| (key, key.to_string()));
            tree.extend(tx, entries)?;
            Ok(tree)
        })
        .unwrap();
    let mut map: Map = (0..keys)
        .step_by(2)
        .map(|key| (key, key.to_string()))
        .collect();
    let mut open: Vec<Open> = Vec::new();
    let mut commits = 0;
    for _ in 0..steps {
        if open.is_empty() || open.len() < 5 && rng.u32(0..6) == 0 {
            open.push(Open {
                tx: db.begin().unwrap(),
                begun: map.clone(),
                log: Vec::new(),
                points: Vec::new(),
                commits,
            });
            continue;
        }
        let chosen = rng.usize(..open.len());
        if rng.u32(0..5) > 0 {
            open[chosen].step(tree, rng, keys);
            continue;
        }
        let mut done = open.swap_remove(chosen);
        match done.tx.commit() {
            Ok(Some(_)) => {
                done.replay(&mut map);
                counts.merged += u64::from(done.commits != commits);
                commits += 1;
                assert_same(&db.view().unwrap(), tree, &map);
            }
            // It has seen what was there when it began.
            Ok(None) => done.replay(&mut done.begun.clone()),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
                assert!(done.commits != commits, "it has met nobody: {error}");
                counts.conflicts += 1;
                assert_same(&db.view().unwrap(), tree, &map);
            }
        }
    }
}

#[test]
fn transactions_that_are_committed_are_serializable() {
    let mut rng = Rng::with_seed(durum_testkit::seed());
    let mut counts = Counts::default();
    for round in 0..150 {
        run(&memory(CACHES[round % 3]), &mut rng, 400, &mut counts);
    }
    println!("{counts:?}");
    assert!(counts.merged > 200 && counts.conflicts > 200, "{counts:?}");
}

#[test]
fn they_are_so_on_all_engines_and_through_a_server() {
    let mut rng = Rng::with_seed(durum_testkit::seed());
    for place in Place::all() {
        println!("{}", place.name);
        let opened = place.open(CACHES[rng.usize(..3)]);
        run(&opened.db, &mut rng, 300, &mut Counts::default());
    }
}

/// A tree with the even numbers up to 20, all in one leaf of up to `size`.
fn one_leaf(size: u32) -> (Database, Tree) {
    let db = memory(1 << 20);
    let tree = db.transact(|tx| {
        let tree = BTree::with_node_size(tx, size)?;
        tree.extend(tx, (0..=20).step_by(2).map(|key| (key, String::new())))?;
        tree.set_root(tx, "tree")?;
        Ok(tree)
    });
    (db, tree.unwrap())
}

#[test]
fn different_keys_of_one_leaf_do_not_conflict() {
    let (db, tree) = one_leaf(32);
    let mut transactions: Vec<_> = (0..10).map(|_| db.begin().unwrap()).collect();
    for (number, tx) in transactions.iter().enumerate() {
        let key = number as u32 * 2;
        match number % 3 {
            0 => drop(tree.remove(tx, &key).unwrap()),
            1 => drop(tree.insert(tx, key + 1, "new".into()).unwrap()),
            _ => drop(tree.update(tx, &key, |value| value.push('x')).unwrap()),
        }
    }
    for tx in &mut transactions {
        tx.commit().unwrap();
    }
    assert_eq!(tree.check(&db.view().unwrap()).unwrap(), 11 - 4 + 3);
}

#[test]
fn a_split_merges_with_changes_of_what_stays_whoever_is_first() {
    for splitter_first in [true, false] {
        let (db, tree) = one_leaf(12);
        let (mut split, mut other) = (db.begin().unwrap(), db.begin().unwrap());
        tree.extend(&split, (13..19).step_by(2).map(|key| (key, String::new())))
            .unwrap();
        assert_eq!(tree.depth(&split).unwrap(), 2);
        tree.update(&other, &0, |value| value.push('x')).unwrap();
        let order = match splitter_first {
            true => [&mut split, &mut other],
            false => [&mut other, &mut split],
        };
        for tx in order {
            tx.commit().unwrap();
        }
        let tx = db.view().unwrap();
        assert_eq!(tree.check(&tx).unwrap(), 14);
        assert_eq!(tree.get(&tx, &0).unwrap().as_deref(), Some("x"));
    }
}

#[test]
fn what_was_read_of_a_leaf_must_not_have_changed() {
    type Read = fn(&Transaction, Tree);
    let reads: [(&str, Read, u32, bool); 8] = [
        ("a key", |tx, tree| drop(tree.get(tx, &4)), 4, true),
        ("another key", |tx, tree| drop(tree.get(tx, &4)), 6, false),
        (
            "a key that is not there",
            |tx, tree| drop(tree.get(tx, &5)),
            5,
            true,
        ),
        (
            "a range",
            |tx, tree| tree.range(tx, 4..9).unwrap().for_each(drop),
            7,
            true,
        ),
        (
            "beside a range",
            |tx, tree| tree.range(tx, 4..9).unwrap().for_each(drop),
            9,
            false,
        ),
        ("the length", |tx, tree| drop(tree.len(tx)), 11, true),
        ("before the last", |tx, tree| drop(tree.last(tx)), 19, false),
        ("after the last", |tx, tree| drop(tree.last(tx)), 21, true),
    ];
    for (name, read, key, conflicts) in reads {
        let (db, tree) = one_leaf(32);
        let mut tx = db.begin().unwrap();
        read(&tx, tree);
        tree.insert(&tx, 1, "decided by what was read".into())
            .unwrap();
        db.transact(|tx| tree.insert(tx, key, "changed".into()))
            .unwrap();
        match (tx.commit(), conflicts) {
            (Ok(_), false) => {}
            (Err(error), true) => assert_eq!(error.kind(), ErrorKind::Conflict),
            (other, _) => panic!("{name}: {other:?}"),
        }
        tree.check(&db.view().unwrap()).unwrap();
    }
}

#[test]
fn what_was_read_and_undone_counts_as_read() {
    let (db, tree) = one_leaf(12);
    let mut tx = db.begin().unwrap();
    let point = tx.savepoint();
    tree.extend(&tx, (13..19).step_by(2).map(|key| (key, String::new())))
        .unwrap();
    // It is in another leaf now.
    assert!(tree.get(&tx, &20).unwrap().is_some());
    tx.roll_back(&point).unwrap();
    tree.insert(&tx, 1, "20 is there".into()).unwrap();
    db.transact(|tx| tree.remove(tx, &20)).unwrap();
    assert_eq!(tx.commit().unwrap_err().kind(), ErrorKind::Conflict);
}

#[test]
fn what_was_read_where_entries_were_joined_and_undone_counts_as_read() {
    for joined in [true, false] {
        let db = memory(1 << 20);
        let mut right = vec![8, 10, 12, 14];
        let tree: BTree<u32, ()> = db
            .transact(|tx| {
                let keys = (0..24).step_by(2).map(|key| (key, ()));
                let tree = BTree::from_sorted_with(tx, 4, keys)?;
                tree.set_root(tx, "tree")?;
                Ok(tree)
            })
            .unwrap();
        if joined {
            db.transact(|tx| tree.remove(tx, &14)).unwrap();
            right.pop();
        }
        for key in right {
            let mut tx = db.begin().unwrap();
            let point = tx.savepoint();
            let nodes = tree.node_count(&tx).unwrap();
            for key in [0, 2, 4, 6] {
                tree.remove(&tx, &key).unwrap();
            }
            assert_eq!(tree.node_count(&tx).unwrap() < nodes, joined);
            let there = tree.contains(&tx, &key).unwrap();
            assert!(there);
            tx.roll_back(&point).unwrap();
            tree.update(&tx, &16, |()| {}).unwrap();
            db.transact(|tx| tree.remove(tx, &key)).unwrap();
            assert_eq!(tx.commit().unwrap_err().kind(), ErrorKind::Conflict);
            db.transact(|tx| tree.insert(tx, key, ())).unwrap();
        }
    }
}

#[test]
fn clearing_conflicts_with_changes_whoever_is_first() {
    for clearer_first in [true, false] {
        let (db, tree) = one_leaf(12);
        let (mut clear, mut other) = (db.begin().unwrap(), db.begin().unwrap());
        tree.clear(&clear).unwrap();
        tree.insert(&other, 1, "new".into()).unwrap();
        let (first, second) = match clearer_first {
            true => (&mut clear, &mut other),
            false => (&mut other, &mut clear),
        };
        first.commit().unwrap();
        assert_eq!(second.commit().unwrap_err().kind(), ErrorKind::Conflict);
        tree.check(&db.view().unwrap()).unwrap();
    }
}

#[test]
fn increments_of_a_counter_merge_unless_it_was_read() {
    let db = memory(0);
    let counter = db.transact(|tx| {
        let counter = Counter::new(tx, 5)?;
        counter.set_root(tx, "counter")?;
        Ok(counter)
    });
    let counter = counter.unwrap();
    let mut transactions: Vec<_> = (0..9).map(|_| db.begin().unwrap()).collect();
    for (number, tx) in transactions.iter_mut().enumerate() {
        counter.increment(tx, number as i64 - 3).unwrap();
    }
    let reader = transactions.last().unwrap();
    assert_eq!(counter.get(reader).unwrap(), 5 + 5);
    let mut reader = transactions.pop().unwrap();
    for mut tx in transactions {
        tx.commit().unwrap();
    }
    assert_eq!(reader.commit().unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(counter.get(&db.begin().unwrap()).unwrap(), 5 + 4);
    let error = db
        .transact(|tx| counter.increment(tx, i64::MAX))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
}

#[test]
fn threads_that_move_entries_lose_none() {
    for cache in CACHES {
        let db = memory(cache);
        let (tree, moved) = db
            .transact(|tx| {
                let tree: BTree<u32, u32> = BTree::with_node_size(tx, 6)?;
                tree.extend(tx, (0..300).map(|key| (key * 2, key)))?;
                tree.set_root(tx, "tree")?;
                let moved = Counter::new(tx, 0)?;
                moved.set_root(tx, "moved")?;
                Ok((tree, moved))
            })
            .unwrap();
        let done = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (db, done) = (&db, &done);
                scope.spawn(move || {
                    let mut rng = Rng::with_seed(thread);
                    for _ in 0..150 {
                        let (from, to) = (rng.u32(0..600), rng.u32(0..600));
                        let did = db.transact(|tx| {
                            if tree.contains(tx, &to)? {
                                return Ok(false);
                            }
                            let Some(value) = tree.remove(tx, &from)? else {
                                return Ok(false);
                            };
                            tree.insert(tx, to, value)?;
                            moved.increment(tx, 1)?;
                            Ok(true)
                        });
                        done.fetch_add(u64::from(did.unwrap()), Ordering::Relaxed);
                    }
                });
            }
        });
        let tx = db.view().unwrap();
        assert_eq!(tree.check(&tx).unwrap(), 300);
        let mut values: Vec<_> = tree.values(&tx).unwrap().map(Result::unwrap).collect();
        values.sort_unstable();
        assert_eq!(values, (0..300).collect::<Vec<_>>());
        assert_eq!(moved.get(&tx).unwrap() as u64, done.into_inner());
    }
}

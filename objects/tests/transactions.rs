//! Transactions: what they see, what conflicts, what comes back.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::Arc;

use durum_core::store::Store;
use durum_objects::{Database, ErrorKind, Options, Persistent, Ref, Result, WeakRef};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Persistent)]
#[persistent(name = "test.Node")]
struct Node {
    value: i64,
    next: Option<Ref<Node>>,
    weak: Option<WeakRef<Node>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Persistent)]
#[persistent(name = "test.Sum", merge = add)]
struct Sum(i64);

fn add(base: &Sum, mine: &Sum, theirs: &Sum) -> Option<Sum> {
    Some(Sum(mine.0 + theirs.0 - base.0))
}

#[derive(Clone, Debug, Serialize, Deserialize, Persistent)]
struct Outer(Optional);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Optional {
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<u8>,
    second: u8,
}

#[derive(Clone, Debug, Serialize, Deserialize, Persistent)]
struct Holder {
    within: Option<Option<u8>>,
    deep: Option<Box<Chain>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Chain {
    End,
    Next(Box<Chain>),
}

fn node(value: i64) -> Node {
    Node {
        value,
        next: None,
        weak: None,
    }
}

fn database() -> Database {
    Database::create("memory:").unwrap()
}

/// A database with a node at the root, and a transaction that sees it.
fn with_root() -> (Database, Ref<Node>) {
    let db = database();
    let root = db.transact(|tx| {
        let root = tx.new(node(1))?;
        tx.set_root("root", root)?;
        Ok(root)
    });
    (db.clone(), root.unwrap())
}

#[test]
fn what_was_committed_is_seen_by_later_transactions_only() {
    let (db, root) = with_root();
    let before = db.begin().unwrap();
    let mut tx = db.begin().unwrap();
    tx.get_mut(root).unwrap().value = 2;
    assert_eq!(tx.get(root).unwrap().value, 2);
    assert_eq!(db.begin().unwrap().get(root).unwrap().value, 1);
    assert!(tx.commit().unwrap().is_some());
    assert_eq!(before.get(root).unwrap().value, 1);
    assert_eq!(db.begin().unwrap().get(root).unwrap().value, 2);
    assert_eq!(tx.get(root).unwrap().value, 2, "the transaction goes on");
}

#[test]
fn a_conflict_names_the_object_and_changes_nothing() {
    let (db, root) = with_root();
    let mut one = db.begin().unwrap();
    let mut two = db.begin().unwrap();
    one.get_mut(root).unwrap().value = 2;
    two.get_mut(root).unwrap().value = 3;
    one.commit().unwrap();
    let error = two.commit().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(error.oids(), [root.oid()]);
    assert!(error.to_string().contains("test.Node"), "{error}");
    assert_eq!(db.begin().unwrap().get(root).unwrap().value, 2);
    two.abort();
    two.get_mut(root).unwrap().value += 10;
    two.commit().unwrap();
    assert_eq!(db.begin().unwrap().get(root).unwrap().value, 12);
}

#[test]
fn what_was_read_must_not_have_changed() {
    let (db, root) = with_root();
    let other = db.transact(|tx| {
        let other = tx.new(node(5))?;
        tx.set_root("other", other)?;
        Ok(other)
    });
    let other = other.unwrap();
    let mut one = db.begin().unwrap();
    let value = one.get(root).unwrap().value;
    one.get_mut(other).unwrap().value += value;
    db.transact(|tx| {
        tx.get_mut(root)?.value = 9;
        Ok(())
    })
    .unwrap();
    let error = one.commit().unwrap_err();
    assert_eq!(
        (error.kind(), error.oids()),
        (ErrorKind::Conflict, &[root.oid()][..])
    );
}

#[test]
fn only_read_commits_nothing_and_conflicts_with_nobody() {
    let (db, root) = with_root();
    let mut reader = db.begin().unwrap();
    reader.get(root).unwrap();
    assert_eq!(reader.get_mut(root).unwrap().value, 1);
    db.transact(|tx| tx.set(root, node(2))).unwrap();
    assert_eq!(reader.commit().unwrap(), None);
    assert_eq!(reader.get(root).unwrap().value, 2);
}

#[test]
fn conflicts_that_can_be_merged_are() {
    let db = database();
    let sum = db.transact(|tx| {
        let sum = tx.new(Sum(100))?;
        tx.set_root("sum", sum)?;
        Ok(sum)
    });
    let sum = sum.unwrap();
    let mut transactions: Vec<_> = (0..5).map(|_| db.begin().unwrap()).collect();
    for (number, tx) in transactions.iter_mut().enumerate() {
        tx.get_mut(sum).unwrap().0 += 10_i64.pow(number as u32);
    }
    for mut tx in transactions {
        tx.commit().unwrap();
    }
    assert_eq!(db.begin().unwrap().get(sum).unwrap().0, 100 + 11_111);
}

#[test]
fn savepoints_nest_and_give_back_what_was_there() {
    let (db, root) = with_root();
    let mut tx = db.begin().unwrap();
    tx.get_mut(root).unwrap().value = 2;
    let outer = tx.savepoint();
    tx.get_mut(root).unwrap().value = 3;
    let inner = tx.savepoint();
    let made = tx.new(node(7)).unwrap();
    tx.get_mut(root).unwrap().next = Some(made);
    tx.roll_back(&inner).unwrap();
    assert_eq!(*tx.get(root).unwrap(), node(3));
    assert_eq!(tx.get(made).unwrap_err().kind(), ErrorKind::Gone);
    tx.get_mut(root).unwrap().value = 4;
    tx.roll_back(&outer).unwrap();
    assert_eq!(*tx.get(root).unwrap(), node(2));
    assert_eq!(tx.roll_back(&inner).unwrap_err().kind(), ErrorKind::Usage);
    let failed: Result<()> = tx.nested(|tx| {
        tx.get_mut(root)?.value = 5;
        Err(durum_objects::Error::new(ErrorKind::Other, "fail"))
    });
    failed.unwrap_err();
    assert_eq!(tx.get(root).unwrap().value, 2);
    let done: Result<()> = tx.nested(|tx| tx.set(root, node(6)));
    done.unwrap();
    tx.commit().unwrap();
    assert_eq!(db.begin().unwrap().get(root).unwrap().value, 6);
}

#[test]
fn objects_of_an_aborted_transaction_can_be_linked_by_the_next() {
    let (db, root) = with_root();
    let mut tx = db.begin().unwrap();
    let made = tx.new(node(8)).unwrap();
    tx.get_mut(root).unwrap().next = Some(made);
    tx.abort();
    assert_eq!(tx.get(root).unwrap().next, None);
    assert_eq!(tx.get(made).unwrap().value, 8);
    tx.get_mut(root).unwrap().next = Some(made);
    tx.commit().unwrap();
    let later = db.begin().unwrap();
    assert_eq!(
        later
            .get(later.get(root).unwrap().next.unwrap())
            .unwrap()
            .value,
        8
    );
}

#[test]
fn what_nothing_refers_to_is_not_stored() {
    let (db, root) = with_root();
    let objects = db.store().stats().unwrap().objects;
    let mut tx = db.begin().unwrap();
    let alone = tx.new(node(1)).unwrap();
    tx.get_mut(root).unwrap().weak = Some(alone.downgrade());
    tx.commit().unwrap();
    assert_eq!(db.store().stats().unwrap().objects, objects);
}

#[test]
fn a_weak_reference_does_not_keep_its_target() {
    let (db, root) = with_root();
    let target = db.transact(|tx| {
        let target = tx.new(node(3))?;
        let mut root = tx.get_mut(root)?;
        root.next = Some(target);
        root.weak = Some(target.downgrade());
        Ok(target.downgrade())
    });
    let target = target.unwrap();
    assert!(db.begin().unwrap().upgrade(target).unwrap().is_some());
    db.transact(|tx| {
        tx.get_mut(root)?.next = None;
        Ok(())
    })
    .unwrap();
    db.store().collect().unwrap();
    let tx = db.begin().unwrap();
    assert_eq!(tx.get(root).unwrap().weak, Some(target));
    assert_eq!(tx.upgrade(target).unwrap(), None);
}

#[test]
fn a_reference_of_another_database_is_refused() {
    let (one, root) = with_root();
    let (two, of_two) = with_root();
    let mut tx = two.begin().unwrap();
    assert_eq!(tx.get(root).unwrap_err().kind(), ErrorKind::Usage);
    tx.get_mut(of_two).unwrap().next = Some(root);
    let error = tx.commit().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.to_string().contains("another database"), "{error}");
    drop(one);
    assert_eq!(
        two.begin().unwrap().get(root).unwrap_err().kind(),
        ErrorKind::Usage
    );
}

#[test]
fn a_reference_to_another_type_is_refused() {
    let (db, root) = with_root();
    for _ in 0..2 {
        let error = db.begin().unwrap().get(root.cast::<Sum>()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Mismatch);
        assert!(
            error.to_string().contains("test.Node, not test.Sum"),
            "{error}"
        );
    }
}

#[test]
fn fields_that_are_left_out_now_and_then_are_refused() {
    let db = database();
    let store = |first| {
        db.transact(|tx| {
            let object = tx.new(Outer(Optional { first, second: 2 }))?;
            tx.set_root("object", object)
        })
    };
    store(Some(1)).unwrap();
    let error = store(None).unwrap_err();
    assert!(error.to_string().contains("skip_serializing_if"), "{error}");
}

#[test]
fn an_object_that_is_being_changed_is_not_used_otherwise() {
    let (db, root) = with_root();
    let tx = db.begin().unwrap();
    let first = tx.get_mut(root).unwrap();
    assert_eq!(tx.get_mut(root).unwrap_err().kind(), ErrorKind::Usage);
    assert_eq!(tx.get(root).unwrap_err().kind(), ErrorKind::Usage);
    drop(first);
    tx.get(root).unwrap();
}

#[test]
fn no_transfer_among_threads_is_lost_whatever_the_cache() {
    for cache in [0, 2000, 1 << 20] {
        let store: Arc<dyn Store> = Arc::new(
            durum_backends::registry()
                .create(&durum_backends::registry().parse_store("memory:").unwrap())
                .unwrap(),
        );
        let options = Options {
            cache,
            ..Options::default()
        };
        let db = Database::with_options(store, options).unwrap();
        let nodes: Result<Vec<_>> = db.transact(|tx| {
            let nodes: Result<Vec<_>> = (0..6).map(|_| tx.new(node(100))).collect();
            for (number, node) in nodes.iter().flatten().enumerate() {
                tx.set_root(&number.to_string(), *node)?;
            }
            nodes
        });
        let nodes = nodes.unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4_usize {
                let (db, nodes) = (&db, &nodes);
                scope.spawn(move || {
                    for round in 0..100 {
                        let (from, to) = (
                            nodes[(thread + round) % 6],
                            nodes[(thread * 2 + round * 5 + 1) % 6],
                        );
                        if from == to {
                            continue;
                        }
                        db.transact(|tx| {
                            tx.get_mut(from)?.value -= 1;
                            tx.get_mut(to)?.value += 1;
                            Ok(())
                        })
                        .unwrap();
                    }
                });
            }
        });
        let tx = db.begin().unwrap();
        let sum: i64 = nodes.iter().map(|node| tx.get(*node).unwrap().value).sum();
        assert_eq!(sum, 600);
    }
}

#[test]
fn what_would_not_come_back_is_not_stored() {
    let db = database();
    let store = |within, depth: usize| {
        let mut deep = Chain::End;
        for _ in 0..depth {
            deep = Chain::Next(Box::new(deep));
        }
        let deep = Some(Box::new(deep));
        db.transact(|tx| {
            let deep = deep.clone();
            tx.set_root("holder", tx.new(Holder { within, deep })?)
        })
    };
    store(Some(Some(1)), 200).unwrap();
    store(None, 0).unwrap();
    let error = store(Some(None), 0).unwrap_err();
    assert!(error.to_string().contains("an option holds"), "{error}");
    let error = store(None, 2000).unwrap_err();
    assert!(error.to_string().contains("nested"), "{error}");
}

#[test]
fn a_state_that_is_nested_too_deep_is_refused_and_not_followed() {
    let db = database();
    let holder = db.transact(|tx| {
        let deep = None;
        let holder = tx.new(Holder { within: None, deep })?;
        tx.set_root("holder", holder)?;
        Ok(holder)
    });
    let holder = holder.unwrap();
    let snapshot = db.store().snapshot().unwrap();
    let mut state = durum_core::store::SnapshotExt::load(&*snapshot, holder.oid())
        .unwrap()
        .unwrap()
        .data;
    assert_eq!(state.split_off(state.len() - 2), [0xc0, 0xc0]);
    state.push(0xc0);
    state.extend(b"\x81\xa4Next".repeat(200_000));
    state.extend(b"\xa3End");
    let mut batch = durum_core::store::Batch::new();
    batch.update(holder.oid(), state, []);
    db.store().commit(batch, db.store().durability()).unwrap();
    let error = db.begin().unwrap().get(holder).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
}

#[test]
fn who_has_looked_for_a_name_depends_on_it() {
    let (db, root) = with_root();
    let mut one = db.begin().unwrap();
    let mut two = db.begin().unwrap();
    let mut three = db.begin().unwrap();
    assert!(one.root::<Node>("b").unwrap().is_none());
    one.set_root("a", root).unwrap();
    assert!(two.root::<Node>("a").unwrap().is_none());
    two.set_root("b", root).unwrap();
    three.set_root("c", root).unwrap();
    one.commit().unwrap();
    assert_eq!(two.commit().unwrap_err().kind(), ErrorKind::Conflict);
    three.commit().unwrap();
    let names = db.begin().unwrap().root_names().unwrap();
    assert_eq!(names.len(), 3);
}

#[test]
fn a_savepoint_that_is_made_while_an_object_is_borrowed_has_its_value() {
    let (db, root) = with_root();
    let tx = db.begin().unwrap();
    let mut borrowed = tx.get_mut(root).unwrap();
    borrowed.value = 2;
    let point = tx.savepoint();
    borrowed.value = 3;
    borrowed.value = 4;
    assert_eq!(tx.roll_back(&point).unwrap_err().kind(), ErrorKind::Usage);
    let failed = || durum_objects::Error::new(ErrorKind::Other, "fail");
    let nested: Result<()> = tx.nested(|_| Err(failed()));
    assert_eq!(nested.unwrap_err().kind(), ErrorKind::Other);
    drop(borrowed);
    tx.roll_back(&point).unwrap();
    assert_eq!(tx.get(root).unwrap().value, 2);
    let other = db.begin().unwrap();
    other.savepoint();
    assert_eq!(
        other.roll_back(&point).unwrap_err().kind(),
        ErrorKind::Usage
    );
}

#[test]
fn a_part_that_cannot_be_undone_is_not_committed() {
    let (db, root) = with_root();
    let mut tx = db.begin().unwrap();
    let mut borrowed = tx.get_mut(root).unwrap();
    let nested: Result<()> = tx.nested(|_| {
        borrowed.value = 9;
        Err(durum_objects::Error::new(ErrorKind::Other, "fail"))
    });
    assert_eq!(nested.unwrap_err().kind(), ErrorKind::Usage);
    drop(borrowed);
    assert_eq!(tx.commit().unwrap_err().kind(), ErrorKind::Usage);
    tx.abort();
    assert_eq!(tx.commit().unwrap(), None);
    assert_eq!(tx.get(root).unwrap().value, 1);
}

#[test]
fn a_commit_that_fails_leaves_the_transaction_as_it_was() {
    let (db, root) = with_root();
    let sum = db.transact(|tx| {
        let sum = tx.new(Sum(0))?;
        tx.set_root("sum", sum)?;
        Ok(sum)
    });
    let sum = sum.unwrap();
    let mut tx = db.begin().unwrap();
    tx.get_mut(sum).unwrap().0 += 1;
    tx.get(root).unwrap();
    db.transact(|tx| {
        tx.get_mut(sum)?.0 += 10;
        tx.get_mut(root)?.value = 5;
        Ok(())
    })
    .unwrap();
    for _ in 0..2 {
        let error = tx.commit().unwrap_err();
        assert_eq!(error.oids(), [root.oid()], "{error}");
        assert_eq!(tx.get(sum).unwrap().0, 1);
    }
}

mod changed {
    use super::*;

    /// As the other one, but for the order of its fields.
    #[derive(Clone, Debug, Serialize, Deserialize, Persistent)]
    #[persistent(name = "test.Node")]
    pub(super) struct Node {
        pub(super) next: Option<Ref<Node>>,
        pub(super) value: i64,
        pub(super) weak: Option<WeakRef<Node>>,
    }
}

#[test]
fn a_type_whose_fields_were_changed_without_a_new_version_is_refused() {
    let (db, root) = with_root();
    let error = db
        .begin()
        .unwrap()
        .get(root.cast::<changed::Node>())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    assert!(error.to_string().contains("other fields"), "{error}");
    let (next, weak) = (None, None);
    let node = changed::Node {
        next,
        value: 1,
        weak,
    };
    let stored = db.transact(|tx| tx.set_root("changed", tx.new(node.clone())?));
    assert_eq!(stored.unwrap_err().kind(), ErrorKind::Mismatch);
}

//! Trees, in one transaction after the other.

use durum_objects::{BTree, ErrorKind, Result};
use fastrand::Rng;

use crate::kit::{CACHES, Place, memory};
use crate::operations::{Map, Op, Tree, assert_same};

/// Runs random transactions on a tree: commits, aborts, savepoints, reopenings.
fn run(place: &Place, cache: u64, rng: &mut Rng, transactions: usize) {
    let mut opened = place.open(cache);
    let size = rng.u32(4..10);
    let mut tree: Tree = opened
        .db
        .transact(|tx| {
            let tree = BTree::with_node_size(tx, size)?;
            tree.set_root(tx, "tree")?;
            Ok(tree)
        })
        .unwrap();
    let mut map = Map::new();
    for _ in 0..transactions {
        let mut tx = opened.db.begin().unwrap();
        let mut inside = map.clone();
        let mut points = Vec::new();
        for _ in 0..rng.usize(1..60) {
            match rng.u32(0..20) {
                0 => points.push((tx.savepoint(), inside.clone())),
                1 if !points.is_empty() => {
                    let (point, then) = points.swap_remove(rng.usize(..points.len()));
                    tx.roll_back(&point).unwrap();
                    inside = then;
                    points.clear();
                    assert_same(&tx, tree, &inside);
                }
                _ => {
                    let op = Op::random(rng, 120);
                    let expected = op.on_map(&mut inside);
                    assert_eq!(op.on_tree(&tx, tree).unwrap(), expected, "{op:?}");
                    assert_eq!(tree.check(&tx).unwrap(), inside.len() as u64, "{op:?}");
                }
            }
        }
        assert_same(&tx, tree, &inside);
        match rng.u32(0..5) {
            0 => tx.abort(),
            _ => {
                tx.commit().unwrap();
                map = inside;
            }
        }
        assert_same(&tx, tree, &map);
        drop(tx);
        assert_same(&opened.db.view().unwrap(), tree, &map);
        if place.persistent && rng.u32(0..8) == 0 {
            drop(opened);
            opened = place.open(cache);
            tree = BTree::root(&opened.db.begin().unwrap(), "tree")
                .unwrap()
                .unwrap();
            assert_same(&opened.db.begin().unwrap(), tree, &map);
        }
    }
    opened.db.store().collect().unwrap();
    assert_same(&opened.db.view().unwrap(), tree, &map);
}

#[test]
fn a_tree_does_as_a_map_of_std() {
    let mut rng = Rng::with_seed(durum_testkit::seed());
    for round in 0..60 {
        run(&Place::memory(), CACHES[round % 3], &mut rng, 12);
    }
}

#[test]
fn a_tree_does_so_on_all_engines_and_through_a_server() {
    let mut rng = Rng::with_seed(durum_testkit::seed());
    for place in Place::all() {
        println!("{}", place.name);
        let cache = CACHES[rng.usize(..3)];
        run(&place, cache, &mut rng, 12);
    }
}

#[test]
fn only_nodes_that_are_touched_are_loaded() {
    let db = memory(1 << 20);
    let tree = db
        .transact(|tx| {
            let tree: BTree<u64, u64> = BTree::from_sorted(tx, (0..100_000).map(|n| (n, n)))?;
            tree.set_root(tx, "tree")?;
            Ok(tree)
        })
        .unwrap();
    let tx = db.begin().unwrap();
    assert!(tree.node_count(&tx).unwrap() > 1500);
    assert_eq!(tree.depth(&tx).unwrap(), 3);
    assert_eq!(tree.len(&tx).unwrap(), 100_000);
    tree.get(&tx, &5000).unwrap();
    let debug = format!("{tx:?}");
    assert!(
        debug.contains("read: 3"),
        "head, count, and one leaf: {debug}"
    );
}

#[test]
fn ascending_keys_leave_full_nodes_and_none_is_tiny_after_removals() {
    let db = memory(1 << 20);
    let tx = db.begin().unwrap();
    let tree: BTree<u32, ()> = BTree::new(&tx).unwrap();
    tree.extend(&tx, (0..6400).map(|key| (key, ()))).unwrap();
    assert!(
        tree.node_count(&tx).unwrap() < 145,
        "{:?}",
        tree.node_count(&tx)
    );
    for key in (0..6400).filter(|key| key % 64 != 0) {
        tree.remove(&tx, &key).unwrap();
    }
    assert_eq!(tree.check(&tx).unwrap(), 100);
    assert!(tree.node_count(&tx).unwrap() < 9);
    for key in (0..6400).step_by(64) {
        tree.remove(&tx, &key).unwrap();
    }
    assert_eq!(
        (tree.depth(&tx).unwrap(), tree.node_count(&tx).unwrap()),
        (1, 1)
    );
}

#[test]
fn keys_can_be_borrowed_and_values_refer_to_objects() {
    let db = memory(0);
    let (outer, inner) = db
        .transact(|tx| {
            let outer: BTree<String, BTree<u8, String>> = BTree::new(tx)?;
            let inner = BTree::new(tx)?;
            inner.insert(tx, 1, "one".into())?;
            outer.insert(tx, "numbers".into(), inner)?;
            outer.set_root(tx, "outer")?;
            Ok((outer, inner))
        })
        .unwrap();
    db.store().collect().unwrap();
    let tx = db.begin().unwrap();
    assert_eq!(outer.get(&tx, "numbers").unwrap(), Some(inner));
    assert_eq!(inner.get(&tx, &1).unwrap().as_deref(), Some("one"));
    let taken = db.transact(|tx| outer.remove(tx, "numbers")).unwrap();
    assert_eq!(taken, Some(inner));
    db.store().collect().unwrap();
    let error = inner.get(&db.begin().unwrap(), &1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Gone);
}

#[test]
fn a_node_size_that_is_too_small_is_refused() {
    let db = memory(0);
    let tx = db.begin().unwrap();
    let error = Tree::with_node_size(&tx, 3).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.to_string().contains("4 to 65536"), "{error}");
}

#[test]
fn a_scan_backward_is_that_forward_reversed() {
    let db = memory(1 << 16);
    let tree: BTree<u32, u32> = BTree::build(&db, (0..20_000).map(|n| (n, n * 2))).unwrap();
    let tx = db.view().unwrap();
    let up: Vec<_> = tree.iter(&tx).unwrap().collect::<Result<_>>().unwrap();
    let mut down: Vec<_> = tree
        .iter(&tx)
        .unwrap()
        .rev()
        .collect::<Result<_>>()
        .unwrap();
    down.reverse();
    assert_eq!(up, down);
    assert_eq!(up.len(), 20_000);
}

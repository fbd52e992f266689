//! Trees of entries that are in order already.

use durum_objects::{BTree, ErrorKind};
use fastrand::Rng;

use crate::kit::{Place, memory};
use crate::operations::{Map, Op, Tree, assert_same};

#[test]
fn trees_of_all_sizes_are_whole_and_full() {
    let mut rng = Rng::with_seed(durum_testkit::seed());
    let db = memory(1 << 20);
    for size in [4, 5, 7, 16] {
        let lengths = (0..80).chain([300, 1000, 5000]);
        for length in lengths {
            let mut map: Map = (0..length).map(|key| (key * 2, key.to_string())).collect();
            let tx = db.begin().unwrap();
            let tree = Tree::from_sorted_with(&tx, size, map.clone()).unwrap();
            assert_same(&tx, tree, &map);
            let leaves = u64::from(length.div_ceil(size).max(1));
            let nodes = tree.node_count(&tx).unwrap();
            let branches = leaves / (u64::from(size) - 1) + u64::from(tree.depth(&tx).unwrap());
            assert!(
                (leaves..leaves + branches + 1).contains(&nodes),
                "{nodes} nodes, {leaves} leaves"
            );
            for _ in 0..30 {
                let op = Op::random(&mut rng, length * 2 + 8);
                assert_eq!(
                    op.on_tree(&tx, tree).unwrap(),
                    op.on_map(&mut map),
                    "{op:?}"
                );
            }
            assert_same(&tx, tree, &map);
        }
    }
}

#[test]
fn keys_that_do_not_ascend_are_refused() {
    let db = memory(0);
    for keys in [[1, 3, 2], [1, 2, 2]] {
        let error = BTree::build(&db, keys.map(|key| (key, ()))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().contains("entry 2"), "{error}");
    }
}

#[test]
fn a_tree_that_was_built_is_kept_once_it_is_linked_and_not_otherwise() {
    for place in Place::all() {
        println!("{}", place.name);
        let opened = place.open(20_000);
        let map: Map = (0..30_000).map(|key| (key, key.to_string())).collect();
        let tree = Tree::build_with(&opened.db, 16, map.clone()).unwrap();
        // What is not linked is kept while the database is open.
        opened.db.store().collect().unwrap();
        opened.db.transact(|tx| tree.set_root(tx, "tree")).unwrap();
        let other = Tree::build(&opened.db, map.clone()).unwrap();
        assert_same(&opened.db.view().unwrap(), tree, &map);
        assert_same(&opened.db.view().unwrap(), other, &map);
        if !place.persistent {
            continue;
        }
        let objects = opened.db.store().stats().unwrap().objects;
        drop(opened);
        let opened = place.open(20_000);
        opened.db.store().collect().unwrap();
        let tree = Tree::root(&opened.db.view().unwrap(), "tree")
            .unwrap()
            .unwrap();
        assert_same(&opened.db.view().unwrap(), tree, &map);
        let left = opened.db.store().stats().unwrap().objects;
        assert!(left + 400 < objects, "{left} of {objects} objects are left");
    }
}

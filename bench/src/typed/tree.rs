//! A tree of numbers by numbers. Keys are even, so that there is room between them.

use durum_core::engine::Registry;
use durum_core::{Error, ErrorKind, Result};
use durum_objects::{BTree, Database};
use fastrand::Rng;

use super::objects::chunks;
use super::part::{Part, PartReport};
use super::workload::TypedWorkload;
use super::{DOING, store};

type Tree = BTree<u64, u64>;

const TREE: &str = "tree";
/// Entries that are visited from a key on.
pub(super) const RANGE: u64 = 100;

pub(super) fn run(registry: &Registry, part: &Part) -> Result<PartReport> {
    let mut report = PartReport::new();
    let draw = &mut Rng::with_seed(part.seed);
    let db = store::create(registry, part)?;
    report.measure(TypedWorkload::TreeBuild, || {
        let tree = Tree::build(
            &db,
            (0..part.entries).map(|number| (number * 2, number * 2)),
        )?;
        db.transact(|tx| tree.set_root(tx, TREE))?;
        Ok(part.entries)
    })?;
    let db = store::reopen(registry, part, db)?;
    let tree = Tree::root(&db.view()?, TREE)?.ok_or_else(|| missing("the tree"))?;
    report.measure(TypedWorkload::TreeLookup, || look_up(&db, tree, part, draw))?;
    report.measure(TypedWorkload::TreeRange, || ranges(&db, tree, part, draw))?;
    report.measure(TypedWorkload::TreeScan, || {
        let tx = db.view()?;
        let mut found = 0;
        for entry in tree.iter(&tx)? {
            entry?;
            found += 1;
        }
        expect(found, part.entries)
    })?;
    report.measure(TypedWorkload::TreeInsert, || insert(&db, tree, part, draw))?;
    Ok(report)
}

fn missing(what: &str) -> Error {
    Error::new(ErrorKind::Mismatch, DOING).because(format!("{what} is missing"))
}

/// How many were found, if they are as many as there are.
pub(super) fn expect(found: u64, expected: u64) -> Result<u64> {
    match found == expected {
        true => Ok(found),
        false => Err(Error::new(ErrorKind::Mismatch, DOING)
            .because(format!("{found} entries were found, not {expected}"))),
    }
}

fn look_up(db: &Database, tree: Tree, part: &Part, draw: &mut Rng) -> Result<u64> {
    for some in chunks(part.lookups, part.at_once) {
        let tx = db.view()?;
        for _ in some {
            let key = draw.u64(..part.entries) * 2;
            if tree.get(&tx, &key)? != Some(key) {
                return Err(missing("an entry"));
            }
        }
    }
    Ok(part.lookups)
}

/// Where a range begins, and how many entries it has.
pub(super) fn range(part: &Part, draw: &mut Rng) -> (std::ops::Range<u64>, u64) {
    let low = draw.u64(..part.entries.saturating_sub(RANGE).max(1)) * 2;
    (low..low + RANGE * 2, RANGE.min(part.entries))
}

fn ranges(db: &Database, tree: Tree, part: &Part, draw: &mut Rng) -> Result<u64> {
    let mut visited = 0;
    for _ in 0..part.lookups / RANGE {
        let tx = db.view()?;
        let (keys, expected) = range(part, draw);
        let mut found = 0;
        for entry in tree.range(&tx, keys)? {
            entry?;
            found += 1;
        }
        visited += expect(found, expected)?;
    }
    Ok(visited)
}

fn insert(db: &Database, tree: Tree, part: &Part, draw: &mut Rng) -> Result<u64> {
    for some in chunks(part.inserts, part.at_once) {
        let keys: Vec<u64> = some.map(|_| draw.u64(..part.entries) * 2 + 1).collect();
        db.transact(|tx| tree.extend(tx, keys.iter().map(|key| (*key, *key))))?;
    }
    Ok(part.inserts)
}

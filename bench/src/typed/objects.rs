//! Objects with a text each, below a tree that has them by their numbers.

use durum_core::engine::Registry;
use durum_core::{Error, ErrorKind, Oid, Result};
use durum_objects::{BTree, Database, Persistent, Ref, Transaction};
use fastrand::Rng;
use serde::{Deserialize, Serialize};

use super::part::{Part, PartReport};
use super::workload::TypedWorkload;
use super::{DOING, store};

const TREE: &str = "tree";
/// Objects that a commit changes.
const CHANGED: usize = 10;

#[derive(Clone, Debug, Serialize, Deserialize, Persistent)]
#[persistent(name = "bench.Record")]
struct Record {
    number: u64,
    name: String,
    text: String,
}

type Tree = BTree<u64, Ref<Record>>;

pub(super) fn run(registry: &Registry, part: &Part) -> Result<PartReport> {
    let mut report = PartReport::new();
    let draw = &mut Rng::with_seed(part.seed);
    let db = store::create(registry, part)?;
    db.transact(|tx| Tree::new(tx)?.set_root(tx, TREE))?;
    report.measure(TypedWorkload::Store, || add(&db, part))?;
    let db = store::reopen(registry, part, db)?;
    report.measure(TypedWorkload::ReadCold, || read(&db, part))?;
    report.measure(TypedWorkload::Change, || change(&db, part, draw))?;
    report.measure(TypedWorkload::Records, || records(&db))?;
    report.measure(TypedWorkload::DeleteHalf, || delete(&db, part))?;
    Ok(report)
}

fn tree(tx: &Transaction) -> Result<Tree> {
    let absent = || Error::new(ErrorKind::Mismatch, DOING).because("the tree is missing");
    Tree::root(tx, TREE)?.ok_or_else(absent)
}

/// Numbers below `count`, so many at once.
pub(super) fn chunks(count: u64, at_once: u64) -> impl Iterator<Item = std::ops::Range<u64>> {
    let at_once = at_once.max(1);
    (0..count.div_ceil(at_once)).map(move |chunk| chunk * at_once..count.min((chunk + 1) * at_once))
}

fn add(db: &Database, part: &Part) -> Result<u64> {
    let text = "t".repeat(part.text);
    for some in chunks(part.objects, part.at_once) {
        db.transact(|tx| {
            let tree = tree(tx)?;
            for number in some.clone() {
                let record = tx.new(Record {
                    number,
                    name: format!("record {number}"),
                    text: text.clone(),
                })?;
                tree.insert(tx, number, record)?;
            }
            Ok(())
        })?;
    }
    Ok(part.objects)
}

fn read(db: &Database, part: &Part) -> Result<u64> {
    let tx = db.view()?;
    let (mut found, mut sum) = (0, 0);
    let mut visit = |some: &[Ref<Record>]| {
        tx.prefetch(some)?;
        for record in some {
            sum += tx.get(*record)?.number;
            found += 1;
        }
        Ok::<_, Error>(())
    };
    let mut some = Vec::new();
    for record in tree(&tx)?.values(&tx)? {
        some.push(record?);
        if some.len() as u64 >= part.at_once {
            visit(&some)?;
            some.clear();
        }
    }
    visit(&some)?;
    match sum == part.objects * part.objects.saturating_sub(1) / 2 {
        true => Ok(found),
        false => Err(Error::new(ErrorKind::Mismatch, DOING).because("other objects were found")),
    }
}

fn change(db: &Database, part: &Part, draw: &mut Rng) -> Result<u64> {
    for _ in 0..part.changes {
        let numbers = [0; CHANGED].map(|_| draw.u64(..part.objects));
        let name = format!("changed {}", draw.u32(..));
        db.transact(|tx| {
            let tree = tree(tx)?;
            for number in &numbers {
                if let Some(record) = tree.get(tx, number)? {
                    tx.get_mut(record)?.name.clone_from(&name);
                }
            }
            Ok(())
        })?;
    }
    Ok(part.changes)
}

fn records(db: &Database) -> Result<u64> {
    let mut count = 0;
    db.store().snapshot()?.scan_with(Oid(0), &mut |_| {
        count += 1;
        Ok(true)
    })?;
    Ok(count)
}

fn delete(db: &Database, part: &Part) -> Result<u64> {
    let half = part.objects.div_ceil(2);
    for some in chunks(half, part.at_once) {
        db.transact(|tx| {
            let tree = tree(tx)?;
            some.clone()
                .try_for_each(|number| tree.remove(tx, &(number * 2)).map(drop))
        })?;
    }
    db.store().collect()?;
    Ok(half)
}

//! A tree of many entries with a small cache: how fast it is built, read and changed, and how much memory that takes.
//!
//! ```text
//! cargo run --release -p durum-objects --example big_tree -- lmdb:/var/tmp/big 10000000 64
//! ```
//! with the URL of a store that is not there yet, the number of entries, and the size of the cache in MiB.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::sync::Arc;
use std::time::Instant;

use durum_core::engine::Durability;
use durum_objects::{BTree, Database, Options, Result};
use fastrand::Rng;

/// Entries that are changed by a transaction.
const AT_ONCE: u64 = 1000;

/// Shows how long each of `operations` has taken, and what memory is in use.
fn measure<R>(name: &str, operations: u64, work: impl FnOnce() -> Result<R>) -> Result<R> {
    let begin = Instant::now();
    let result = work()?;
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "{name:32} {:10.0} /s   {:8.2} us each   {:6.1} s   {:5} MiB own memory, {:5} MiB with files",
        operations as f64 / seconds,
        seconds * 1e6 / operations as f64,
        seconds,
        memory("RssAnon"),
        memory("VmRSS"),
    );
    Ok(result)
}

/// Memory of this process in MiB.
fn memory(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(what));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number
        .and_then(|number| number.parse::<u64>().ok())
        .unwrap_or(0)
        >> 10
}

/// Keys are even, so that there is room between them.
fn look_up(
    db: &Database,
    tree: BTree<u64, u64>,
    rng: &mut Rng,
    among: u64,
    count: u64,
) -> Result<()> {
    let tx = db.view()?;
    for _ in 0..count {
        let key = rng.u64(..among) * 2;
        assert_eq!(tree.get(&tx, &key)?, Some(key));
    }
    Ok(())
}

fn read(db: &Database, tree: BTree<u64, u64>, rng: &mut Rng, entries: u64) -> Result<()> {
    let count = entries.min(500_000);
    measure("lookups, anywhere", count, || {
        look_up(db, tree, rng, entries, count)
    })?;
    measure("lookups, among 10000", count, || {
        look_up(db, tree, rng, 10_000, count)
    })?;
    measure("lookups, tracked, 100 at once", count, || {
        for _ in 0..count / 100 {
            let tx = db.begin()?;
            for _ in 0..100 {
                tree.get(&tx, &(rng.u64(..entries) * 2))?;
            }
        }
        Ok(())
    })?;
    measure("ranges of 100, per entry", count, || {
        let tx = db.view()?;
        for _ in 0..count / 100 {
            let low = rng.u64(..entries - 100) * 2;
            assert_eq!(tree.range(&tx, low..low + 200)?.count(), 100);
        }
        Ok(())
    })?;
    measure("scan of all, per entry", entries, || {
        let tx = db.view()?;
        assert_eq!(tree.iter(&tx)?.count() as u64, entries);
        Ok(())
    })?;
    measure("lookups after the scan", count, || {
        look_up(db, tree, rng, 10_000, count)
    })?;
    Ok(())
}

fn insert(db: &Database, tree: BTree<u64, u64>, rng: &mut Rng, entries: u64) -> Result<()> {
    let count = entries.min(200_000);
    measure("inserts anywhere, 1000 at once", count, || {
        for _ in 0..count / AT_ONCE {
            let keys: Vec<_> = (0..AT_ONCE).map(|_| rng.u64(..entries) * 2 + 1).collect();
            db.transact(|tx| tree.extend(tx, keys.iter().map(|key| (*key, *key))))?;
        }
        Ok(())
    })?;
    measure("inserts at the end, 1000 at once", count, || {
        for some in 0..count / AT_ONCE {
            let keys = (0..AT_ONCE).map(|n| (entries + some * AT_ONCE + n) * 2);
            db.transact(|tx| tree.extend(tx, keys.clone().map(|key| (key, key))))?;
        }
        Ok(())
    })?;
    let count = 5000.min(entries);
    measure("inserts anywhere, one at once", count, || {
        for _ in 0..count {
            let key = rng.u64(..entries) * 2 + 1;
            db.transact(|tx| tree.insert(tx, key, key))?;
        }
        Ok(())
    })?;
    Ok(())
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "memory:".to_owned());
    let entries: u64 = arguments.next().map_or(1_000_000, |it| it.parse().unwrap());
    let cache: u64 = arguments.next().map_or(64, |it| it.parse().unwrap());
    let node_size: u32 = arguments.next().map_or(64, |it| it.parse().unwrap());
    let registry = durum_backends::registry();
    let store = registry.create(&registry.parse_store(&url)?)?;
    let options = Options {
        cache: cache << 20,
        durability: Some(Durability::Relaxed),
        ..Options::default()
    };
    let db = Database::with_options(Arc::new(store), options)?;
    println!("{url}, {entries} entries, {cache} MiB of cache, nodes of {node_size}");
    let rng = &mut Rng::with_seed(1);
    let tree = measure("bulk build", entries, || {
        let tree = BTree::build_with(&db, node_size, (0..entries).map(|n| (n * 2, n * 2)))?;
        db.transact(|tx| tree.set_root(tx, "tree"))?;
        Ok(tree)
    })?;
    read(&db, tree, rng, entries)?;
    insert(&db, tree, rng, entries)?;
    let tx = db.view()?;
    println!(
        "{} entries in {} nodes, {} levels; the cache takes {} MiB",
        tree.len(&tx)?,
        tree.node_count(&tx)?,
        tree.depth(&tx)?,
        db.cached() >> 20,
    );
    Ok(())
}

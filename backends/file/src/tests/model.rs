//! The model that the engine is compared with, and random batches.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use durum_core::Result;
use durum_core::engine::{Durability, Engine, EngineSnapshot, Key, Op, Table};
use fastrand::Rng;

use crate::config::Config;
use crate::engine::FileEngine;
use crate::seam::FileSystem;

/// What the engine should hold.
pub(crate) type Model = BTreeMap<(Table, Key), Vec<u8>>;

/// A batch, owned: sorted, at most one change of a row, `None` to delete.
pub(crate) type Batch = BTreeMap<(Table, Key), Option<Vec<u8>>>;

/// Small enough that a short history has many segments and checkpoints.
pub(crate) const TINY: Config = Config {
    segment_bytes: 4 << 10,
    checkpoint_bytes: 2 << 10,
};

/// The seed of a test: `DURUM_TEST_SEED` repeats a failure.
pub(crate) fn seeded(default: u64) -> Rng {
    let seed = std::env::var("DURUM_TEST_SEED").ok();
    let seed = seed.and_then(|seed| seed.parse().ok()).unwrap_or(default);
    println!("repeat with DURUM_TEST_SEED={seed}");
    Rng::with_seed(seed)
}

pub(crate) fn open(fs: &(impl FileSystem + Clone + 'static), config: Config) -> Result<FileEngine> {
    let fs: Arc<dyn FileSystem> = Arc::new(fs.clone());
    FileEngine::open(&fs, Path::new("/db"), config)
}

fn random_key(random: &mut Rng, table: Table, span: u64) -> Key {
    let first = match random.u32(..20) {
        0 => (1 << 63) - 1 - random.u64(..3),
        1 => random.u64(..) >> 1 & !0xffff_ffff_ffff,
        _ => random.u64(..span),
    };
    if table.is_pair() {
        return Key::pair(first, random.u64(..4));
    }
    Key::from(first)
}

/// A batch of up to `rows` changes; keys are below `span` mostly.
pub(crate) fn random_batch(random: &mut Rng, rows: usize, span: u64, bytes_max: usize) -> Batch {
    let mut batch = Batch::new();
    for _ in 0..random.usize(1..=rows) {
        let table = match random.u32(..4) {
            0 => Table::ALL[random.usize(..Table::ALL.len())],
            1 => Table::Changes,
            _ => Table::Objects,
        };
        let key = random_key(random, table, span);
        let value = (random.u32(..3) > 0).then(|| {
            let length = random.usize(..=bytes_max);
            (0..length).map(|_| random.u8(..)).collect()
        });
        batch.insert((table, key), value);
    }
    batch
}

pub(crate) fn ops(batch: &Batch) -> Vec<Op<'_>> {
    batch
        .iter()
        .map(|(&(table, key), value)| match value {
            Some(value) => Op::Put { table, key, value },
            None => Op::Delete { table, key },
        })
        .collect()
}

pub(crate) fn apply(engine: &dyn Engine, batch: &Batch, durability: Durability) -> Result<()> {
    let achieved = engine.apply(&ops(batch), durability)?;
    assert!(achieved >= durability);
    Ok(())
}

pub(crate) fn apply_to_model(model: &mut Model, batch: &Batch) {
    for (row, value) in batch {
        match value {
            Some(value) => model.insert(*row, value.clone()),
            None => model.remove(row),
        };
    }
}

/// All rows of all tables, read with cursors.
pub(crate) fn dump(snapshot: &dyn EngineSnapshot) -> Result<Model> {
    let mut found = Model::new();
    for table in Table::ALL {
        let mut cursor = snapshot.cursor(table, Key::MIN)?;
        let mut last = None;
        while let Some((key, value)) = cursor.next()? {
            assert!(last < Some(key), "keys ascend");
            last = Some(key);
            found.insert((table, key), value.to_vec());
        }
    }
    Ok(found)
}

/// Compares everything, by cursors and by points.
pub(crate) fn check(engine: &dyn Engine, model: &Model, random: &mut Rng) {
    let snapshot = engine.snapshot().unwrap();
    assert_eq!(dump(&*snapshot).unwrap(), *model);
    for (&(table, key), value) in model {
        let mut found = None;
        let there = snapshot.get(table, key, &mut |bytes| found = Some(bytes.to_vec()));
        assert!(there.unwrap());
        assert_eq!(found.as_ref(), Some(value));
    }
    for _ in 0..20 {
        let table = Table::ALL[random.usize(..Table::ALL.len())];
        let key = random_key(random, table, 400);
        let there = snapshot.get(table, key, &mut |_| {}).unwrap();
        assert_eq!(there, model.contains_key(&(table, key)));
        let mut cursor = snapshot.cursor(table, key).unwrap();
        let next = model.range((table, key)..).next();
        let next = next.filter(|row| row.0.0 == table).map(|row| row.0.1);
        assert_eq!(cursor.next().unwrap().map(|row| row.0), next);
    }
}

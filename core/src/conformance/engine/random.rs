//! Random histories against a model.

use super::fixture::assert_rows;
use super::{Batch, Fixture, Subject, compact};
use crate::engine::{Key, Table};

/// Steps of one history.
const STEPS: usize = 250;

/// The environment variable that repeats a history.
const SEED_VARIABLE: &str = "DURUM_TEST_SEED";

/// Batches of all sizes and levels, scans, reopening, reclaiming and compaction in random order.
///
/// Prints its seed, which the environment variable `DURUM_TEST_SEED` takes, when it fails.
pub fn a_random_history_equals_the_model(fixture: &Fixture) {
    let seed = match std::env::var(SEED_VARIABLE) {
        Ok(seed) => seed.parse().expect("DURUM_TEST_SEED is a number"),
        Err(_) => fastrand::u64(..),
    };
    // Test output is shown only for tests that fail.
    println!("to repeat: {SEED_VARIABLE}={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut subject = fixture.open();
    for _ in 0..STEPS {
        step(fixture, &mut subject, &mut random);
    }
    subject.finish();
}

fn step(fixture: &Fixture, subject: &mut Subject<'_>, random: &mut fastrand::Rng) {
    match random.u32(..100) {
        0..70 => {
            let levels = fixture.capabilities().durability;
            let level = levels[random.usize(..levels.len())];
            let batch = random_batch(random, &subject.model);
            subject.apply_at(batch, level);
        }
        70..90 => {
            let table = random_table(random);
            let from = random_key(random, table);
            assert_rows(subject.snapshot().as_ref(), table, from, &subject.model);
        }
        90..93 => subject.check(),
        93..96 => subject.reopen(),
        96..98 => {
            subject.engine().reclaim(random.u64(..1 << 20)).unwrap();
        }
        98 => {
            subject.engine().sync().unwrap();
        }
        _ => {
            compact(subject.engine()).transpose().unwrap();
        }
    }
}

fn random_batch(random: &mut fastrand::Rng, model: &super::Model) -> Batch {
    let mut batch = Batch::new();
    let rows: Vec<(Table, Key)> = model.keys().copied().collect();
    for _ in 0..1 << random.u32(..8) {
        let existing = !rows.is_empty() && random.u32(..3) == 0;
        let (table, key) = if existing {
            rows[random.usize(..rows.len())]
        } else {
            let table = random_table(random);
            (table, random_key(random, table))
        };
        batch = if random.u32(..4) == 0 {
            batch.delete(table, key)
        } else {
            batch.put(table, key, random_value(random))
        };
    }
    batch
}

/// Two tables are used more than the others, so that they grow.
fn random_table(random: &mut fastrand::Rng) -> Table {
    match random.u32(..4) {
        0 => Table::Objects,
        1 => Table::ReferrersMore,
        _ => Table::ALL[random.usize(..Table::ALL.len())],
    }
}

fn random_key(random: &mut fastrand::Rng, table: Table) -> Key {
    let first = random_number(random);
    if table.is_pair() {
        Key::pair(first, random_number(random))
    } else {
        Key::from(first)
    }
}

/// Mostly small numbers, so that rows meet; some at every power of two up to the largest.
fn random_number(random: &mut fastrand::Rng) -> u64 {
    if random.u32(..5) == 0 {
        let power = 1_u64 << random.u32(..64);
        return (power - 1 + random.u64(..2)).min((1 << 63) - 1);
    }
    random.u64(..300)
}

fn random_value(random: &mut fastrand::Rng) -> Vec<u8> {
    let length = match random.u32(..40) {
        0 => random.usize(..200_000),
        1..4 => random.usize(..10_000),
        _ => random.usize(..200),
    };
    let mut bytes = vec![0; length];
    random.fill(&mut bytes);
    bytes
}

//! What is done with a tree of numbers, done by the engine alone with rows.

use durum_core::{Error, ErrorKind, Result};
use durum_raw::{Database, Rows};
use fastrand::Rng;

use super::DOING;
use super::objects::chunks;
use super::part::{Part, PartReport};
use super::tree::{RANGE, expect, range};
use super::workload::TypedWorkload;
use crate::files::forget;

/// Rows that are loaded at once.
const LOADED_AT_ONCE: u64 = 100_000;

pub(super) fn run(part: &Part) -> Result<PartReport> {
    let mut report = PartReport::new();
    let draw = &mut Rng::with_seed(part.seed);
    report.measure(TypedWorkload::TreeBuild, || build(part))?;
    forget(&part.path)?;
    let database = durum_raw::open(&part.engine, &part.path)?;
    let database = database.as_ref();
    report.measure(TypedWorkload::TreeLookup, || look_up(database, part, draw))?;
    report.measure(TypedWorkload::TreeRange, || ranges(database, part, draw))?;
    report.measure(TypedWorkload::TreeScan, || {
        let (mut found, mut sum) = (0, 0);
        database.reader()?.scan(&mut |key, value| {
            found += 1;
            sum ^= key ^ number(value);
        })?;
        expect(sum, 0)?;
        expect(found, part.entries)
    })?;
    report.measure(TypedWorkload::TreeInsert, || insert(database, part, draw))?;
    Ok(report)
}

fn number(value: &[u8]) -> u64 {
    value.try_into().map_or(u64::MAX, u64::from_be_bytes)
}

fn push(rows: &mut Rows, key: u64) {
    rows.push(key, |out| out.extend_from_slice(&key.to_be_bytes()));
}

fn build(part: &Part) -> Result<u64> {
    let mut load = durum_raw::create(&part.engine, &part.path)?;
    for some in chunks(part.entries, LOADED_AT_ONCE) {
        let mut rows = Rows::default();
        some.for_each(|number| push(&mut rows, number * 2));
        load.write(&rows)?;
    }
    load.finish()?;
    Ok(part.entries)
}

fn look_up(database: &dyn Database, part: &Part, draw: &mut Rng) -> Result<u64> {
    for some in chunks(part.lookups, part.at_once) {
        let mut reader = database.reader()?;
        for _ in some {
            let (key, mut found) = (draw.u64(..part.entries) * 2, None);
            reader.get(key, &mut |value| found = Some(number(value)))?;
            if found != Some(key) {
                return Err(Error::new(ErrorKind::Mismatch, DOING).because("an entry is missing"));
            }
        }
    }
    Ok(part.lookups)
}

fn ranges(database: &dyn Database, part: &Part, draw: &mut Rng) -> Result<u64> {
    let mut visited = 0;
    for _ in 0..part.lookups / RANGE {
        let mut reader = database.reader()?;
        let (keys, expected) = range(part, draw);
        let mut found = 0;
        reader.range(keys, &mut |_, _| found += 1)?;
        visited += expect(found, expected)?;
    }
    Ok(visited)
}

fn insert(database: &dyn Database, part: &Part, draw: &mut Rng) -> Result<u64> {
    for some in chunks(part.inserts, part.at_once) {
        let mut keys: Vec<u64> = some.map(|_| draw.u64(..part.entries) * 2 + 1).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut rows = Rows::default();
        keys.into_iter().for_each(|key| push(&mut rows, key));
        database.write(&rows, &[], true)?;
    }
    Ok(part.inserts)
}

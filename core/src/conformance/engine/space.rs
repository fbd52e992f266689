//! Sizes, and space that is given back.

use super::fixture::assert_rows;
use super::{Batch, Fixture, Subject};
use crate::engine::{EngineStats, Key, Table};

pub(super) const ROWS: u64 = 2000;
const ROW_BYTES: usize = 4000;
/// As often rows are stored and deleted: more often than the default of `space_factor_max`.
const CYCLES: usize = 8;
const BYTES: u64 = ROWS * ROW_BYTES as u64;

pub(super) fn fill(subject: &mut Subject<'_>) {
    for start in (0..ROWS).step_by(500) {
        let batch = (start..start + 500).fold(Batch::new(), |batch, number| {
            batch.put(Table::Objects, number, noise(number))
        });
        subject.apply(batch);
    }
}

/// Bytes that no engine can compress.
fn noise(seed: u64) -> Vec<u8> {
    let mut source = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![0; ROW_BYTES];
    source.fill(&mut bytes);
    bytes
}

fn empty(subject: &mut Subject<'_>) {
    let batch = (0..ROWS).fold(Batch::new(), |batch, number| {
        batch.delete(Table::Objects, number)
    });
    subject.apply(batch.put(Table::Meta, 0, "kept"));
}

pub(super) fn stats(subject: &Subject<'_>) -> EngineStats {
    subject.engine().sync().unwrap();
    let stats = subject.engine().stats().unwrap();
    assert!(stats.reclaimable_bytes <= stats.disk_bytes, "{stats:?}");
    stats
}

/// A persistent engine occupies at least what was stored and not absurdly more; another nothing.
pub fn stats_are_plausible(fixture: &Fixture) {
    let mut subject = fixture.open();
    let at_first = stats(&subject).disk_bytes;
    fill(&mut subject);
    let filled = stats(&subject).disk_bytes;
    if fixture.capabilities().persistent {
        assert!(at_first < 32 << 20, "{at_first} bytes for nothing");
        assert!(filled >= BYTES, "{filled} bytes for {BYTES}");
        assert!(filled < at_first + BYTES * 8, "{filled} bytes for {BYTES}");
    } else {
        assert_eq!(filled, 0);
    }
    subject.finish();
}

/// Filling and emptying again and again: the space of deleted rows is used again, or counted as
/// reclaimable.
pub fn deleted_space_is_counted_or_used_again(fixture: &Fixture) {
    let mut subject = fixture.open();
    for _ in 0..CYCLES {
        fill(&mut subject);
        empty(&mut subject);
    }
    let stats = stats(&subject);
    let lost = stats.disk_bytes - stats.reclaimable_bytes;
    let bound = BYTES * fixture.space_factor_max();
    assert!(lost < bound, "{stats:?}, more than {bound} of them lost");
    subject.finish();
}

/// `reclaim` makes the files smaller where it is declared, in bounded steps, and does nothing
/// elsewhere.
pub fn reclaim_is_as_declared(fixture: &Fixture) {
    let mut subject = fixture.open();
    fill(&mut subject);
    empty(&mut subject);
    let before = stats(&subject).disk_bytes;
    let mut given_back = 0;
    let mut steps = 0;
    loop {
        let step = subject.engine().reclaim(1 << 20).unwrap();
        given_back += step.bytes;
        steps += 1;
        subject.check();
        if !step.more {
            break;
        }
        assert!(steps < 1000, "{given_back} bytes after {steps} steps");
    }
    let after = stats(&subject).disk_bytes;
    if fixture.capabilities().reclaim {
        assert!(after < before / 2, "{before} bytes became {after}");
        assert!(given_back > BYTES / 2, "{given_back} bytes");
        assert!(steps > 2, "1 MiB a step, not all at once");
    } else {
        assert_eq!(given_back, 0);
        assert_eq!(steps, 1);
    }
    fill(&mut subject);
    subject.finish();
}

/// Views that are open are as readable as before, and what they show where they are fixed stays.
pub fn readers_go_on_while_space_is_reclaimed(fixture: &Fixture) {
    let mut subject = fixture.open();
    fill(&mut subject);
    let (snapshot, model) = (subject.snapshot(), subject.model.clone());
    empty(&mut subject);
    for _ in 0..3 {
        subject.engine().reclaim(1 << 20).unwrap();
        if fixture.capabilities().snapshots {
            assert_rows(snapshot.as_ref(), Table::Objects, Key::MIN, &model);
        }
        subject.check();
    }
    drop(snapshot);
    while subject.engine().reclaim(1 << 20).unwrap().more {}
    subject.finish();
}

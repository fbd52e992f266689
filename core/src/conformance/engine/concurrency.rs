//! Reads from several threads while batches are applied.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use super::{Batch, Fixture, value};
use crate::engine::{Engine, Key, Table};
use crate::error::ErrorKind;

/// Rows that every batch rewrites to the same round.
const ROWS: u64 = 50;
const ROUNDS: u64 = 150;
const READERS: usize = 3;

/// A row: its key and the round, often enough that a torn value shows.
fn row(number: u64, round: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..20 + round % 7 {
        bytes.extend_from_slice(&number.to_be_bytes());
        bytes.extend_from_slice(&round.to_be_bytes());
    }
    bytes
}

/// The round of a row, after making sure that its bytes are one value and no mixture.
fn round_of(number: u64, bytes: &[u8]) -> u64 {
    let round = u64::from_be_bytes(bytes[8..16].try_into().unwrap());
    assert_eq!(bytes, row(number, round), "row {number}");
    round
}

fn rewrite(round: u64) -> Batch {
    (0..ROWS).fold(Batch::new(), |batch, number| {
        batch.put(Table::Objects, number, row(number, round)).put(
            Table::Pins,
            Key::pair(number, 1),
            row(number, round),
        )
    })
}

/// Every value read is whole and no older than the last batch acknowledged before the view was taken.
/// Where snapshots are declared, all rows of a view come from one batch.
pub fn readers_on_threads_see_whole_values(fixture: &Fixture) {
    let mut subject = fixture.open();
    subject.apply(rewrite(0));
    let applied = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    let snapshots = RwLock::new(());
    let one_batch = fixture.capabilities().snapshots;
    std::thread::scope(|scope| {
        let engine = subject.engine();
        for reader in 0..READERS {
            let (applied, done, snapshots) = (&applied, &done, &snapshots);
            scope.spawn(move || {
                while !done.load(Ordering::Acquire) {
                    let _snapshot = snapshots.read().unwrap_or_else(PoisonError::into_inner);
                    let oldest = applied.load(Ordering::Acquire);
                    let rounds = read_all(engine, reader);
                    assert!(rounds.iter().all(|round| *round >= oldest));
                    assert!(!one_batch || rounds.iter().all(|round| *round == rounds[0]));
                }
            });
        }
        // Readers end when this thread does, however it ends.
        struct Done<'a>(&'a AtomicBool);
        impl Drop for Done<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Release);
            }
        }
        let _done = Done(&done);
        for round in 1..=ROUNDS {
            let batch = rewrite(round);
            while let Err(error) = engine.apply(&batch.ops(), fixture.weakest()) {
                assert_eq!(error.kind(), ErrorKind::NeedsRoom, "{error}");
                // As the store does: it lets its snapshots end, and takes no new ones meanwhile.
                let _no_snapshot = snapshots.write().unwrap_or_else(PoisonError::into_inner);
                engine.make_room(1 << 20).unwrap();
            }
            applied.store(round, Ordering::Release);
        }
    });
    rewrite(ROUNDS).apply_to(&mut subject.model);
    subject.finish();
}

fn read_all(engine: &dyn Engine, reader: usize) -> Vec<u64> {
    let snapshot = engine.snapshot().unwrap();
    let mut rounds = Vec::new();
    if reader == 0 {
        for number in 0..ROWS {
            let bytes = value(snapshot.as_ref(), Table::Objects, number).expect("a row");
            rounds.push(round_of(number, &bytes));
        }
        return rounds;
    }
    let table = [Table::Objects, Table::Pins][reader % 2];
    let mut cursor = snapshot.cursor(table, Key::MIN).unwrap();
    while let Some((key, bytes)) = cursor.next().unwrap() {
        rounds.push(round_of(key.first, bytes));
    }
    assert_eq!(rounds.len() as u64, ROWS);
    rounds
}

/// A snapshot is taken by one thread, read by a second and closed by a third.
pub fn a_snapshot_moves_between_threads(fixture: &Fixture) {
    let mut subject = fixture.open();
    subject.apply(rewrite(1));
    for _ in 0..20 {
        let snapshot = subject.snapshot();
        let snapshot = std::thread::spawn(move || {
            assert!(value(snapshot.as_ref(), Table::Objects, 7).is_some());
            snapshot
        })
        .join()
        .unwrap();
        std::thread::spawn(move || {
            let mut cursor = snapshot.cursor(Table::Objects, Key::from(9)).unwrap();
            assert_eq!(cursor.next().unwrap().unwrap().0, Key::from(9));
        })
        .join()
        .unwrap();
        subject.apply(rewrite(2));
    }
    subject.finish();
}

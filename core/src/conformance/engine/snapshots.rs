//! Snapshots that stay fixed where that is declared, and elsewhere show each row as it was since.

use std::collections::{BTreeMap, BTreeSet};

use super::fixture::assert_rows;
use super::{Batch, Fixture, Model, value};
use crate::engine::{EngineSnapshot, Key, Table};

/// Asserts that a cursor shows each row of the table as one of the models has it, or lacks it.
fn assert_rows_since(snapshot: &dyn EngineSnapshot, table: Table, models: &[Model]) {
    let mut shown = Model::new();
    let mut cursor = snapshot.cursor(table, Key::MIN).unwrap();
    while let Some((key, value)) = cursor.next().unwrap() {
        assert!(shown.last_key_value().is_none_or(|(last, _)| last.1 < key));
        shown.insert((table, key), value.to_vec());
    }
    let rows = models.iter().flat_map(BTreeMap::keys).chain(shown.keys());
    for row in rows.filter(|row| row.0 == table).collect::<BTreeSet<_>>() {
        let found = shown.get(row);
        let known = models.iter().any(|model| model.get(row) == found);
        assert!(known, "{row:?}: {found:?} since then");
    }
}

/// Point reads through a snapshot that was taken before a batch.
pub fn a_snapshot_is_as_fixed_as_declared(fixture: &Fixture) {
    let mut subject = fixture.open();
    subject.apply(
        Batch::new()
            .put(Table::Objects, 1, "old")
            .put(Table::Objects, 2, "kept")
            .put(Table::Objects, 3, "deleted")
            .put(Table::Pins, Key::pair(1, 1), "old"),
    );
    let before = subject.model.clone();
    let snapshot = subject.snapshot();
    subject.apply(
        Batch::new()
            .put(Table::Objects, 1, "new")
            .delete(Table::Objects, 3)
            .put(Table::Objects, 4, "added")
            .put(Table::Pins, Key::pair(1, 1), "new"),
    );
    let expected = if fixture.capabilities().snapshots {
        &before
    } else {
        &subject.model
    };
    for number in 0..6 {
        let key = Key::from(number);
        let found = value(snapshot.as_ref(), Table::Objects, key);
        assert_eq!(found.as_ref(), expected.get(&(Table::Objects, key)));
    }
    for table in Table::ALL {
        assert_rows(snapshot.as_ref(), table, Key::MIN, expected);
    }
    drop(snapshot);
    subject.finish();
}

/// A cursor that is under way while rows before, at and behind it change: it yields what its snapshot
/// holds where snapshots are declared; elsewhere it still ascends and misses no row that was there
/// all the time.
pub fn a_cursor_stands_still_while_others_write(fixture: &Fixture) {
    let mut subject = fixture.open();
    let mut batch = Batch::new();
    for number in 0..600 {
        batch = batch.put(Table::Objects, number * 10, "old");
    }
    subject.apply(batch);
    let before = subject.model.clone();
    let snapshot = subject.snapshot();
    let mut cursor = snapshot.cursor(Table::Objects, Key::MIN).unwrap();
    let mut seen = Vec::new();
    while let Some((key, bytes)) = cursor.next().unwrap() {
        seen.push((key, bytes.to_vec()));
        if seen.len() % 100 == 0 {
            let here = key.first;
            subject.apply(
                Batch::new()
                    .put(Table::Objects, here - 50, "new")
                    .put(Table::Objects, here - 5, "added before")
                    .put(Table::Objects, here, "new")
                    .put(Table::Objects, here + 500, "new")
                    .delete(Table::Objects, here + 510)
                    .put(Table::Objects, here + 525, "added behind"),
            );
        }
    }
    drop(cursor);
    if fixture.capabilities().snapshots {
        let expected: Vec<_> = before
            .iter()
            .map(|(&(_, key), bytes)| (key, bytes.clone()))
            .collect();
        assert_eq!(seen, expected);
    } else {
        assert!(seen.is_sorted_by(|left, right| left.0 < right.0));
        for row in before.keys().filter(|row| subject.model.contains_key(row)) {
            assert!(seen.iter().any(|(key, _)| *key == row.1), "{row:?}");
        }
    }
    drop(snapshot);
    subject.finish();
}

/// A snapshot stays readable, and fixed where declared, over many batches that rewrite everything.
pub fn a_snapshot_outlives_many_batches(fixture: &Fixture) {
    let mut subject = fixture.open();
    let rewrite = |round: u64| {
        (0..40).fold(Batch::new(), |batch, number| {
            batch.put(Table::Objects, number, vec![round as u8; 300])
        })
    };
    subject.apply(rewrite(0));
    let before = subject.model.clone();
    let snapshot = subject.snapshot();
    for round in 1..40 {
        subject.apply(rewrite(round));
    }
    let expected = if fixture.capabilities().snapshots {
        &before
    } else {
        &subject.model
    };
    assert_rows(snapshot.as_ref(), Table::Objects, Key::MIN, expected);
    drop(snapshot);
    subject.apply(rewrite(99));
    subject.finish();
}

/// A snapshot that is taken after a batch shows it, beside older snapshots.
pub fn a_new_snapshot_shows_the_newest(fixture: &Fixture) {
    let mut subject = fixture.open();
    let (mut older, mut models) = (Vec::new(), Vec::new());
    for round in 0..12_u64 {
        subject.apply(
            Batch::new()
                .put(Table::Objects, round % 5, round.to_be_bytes())
                .put(Table::Meta, 0, round.to_be_bytes()),
        );
        let snapshot = subject.snapshot();
        assert_rows(snapshot.as_ref(), Table::Objects, Key::MIN, &subject.model);
        older.push(snapshot);
        models.push(subject.model.clone());
    }
    for (round, snapshot) in older.iter().enumerate() {
        for table in [Table::Objects, Table::Meta] {
            match fixture.capabilities().snapshots {
                true => assert_rows(snapshot.as_ref(), table, Key::MIN, &models[round]),
                false => assert_rows_since(snapshot.as_ref(), table, &models[round..]),
            }
        }
    }
    drop(older);
    subject.finish();
}

//! Reads and changes of single rows.

use super::fixture::Short;
use super::{Batch, Fixture, Model, value};
use crate::engine::{EngineSnapshot, Key, Table};

/// The largest number in a key.
const NUMBER_MAX: u64 = (1 << 63) - 1;

/// A row that is not there is reported by `false`, without a visit.
pub fn a_missing_row_is_not_visited(fixture: &Fixture) {
    let mut subject = fixture.open();
    for table in Table::ALL {
        assert_eq!(value(subject.snapshot().as_ref(), table, 0), None);
        assert_eq!(value(subject.snapshot().as_ref(), table, NUMBER_MAX), None);
    }
    subject.apply(Batch::new().put(Table::Objects, 5, "five").put(
        Table::Pins,
        Key::pair(5, 5),
        "pair",
    ));
    let snapshot = subject.snapshot();
    for (table, key) in [
        (Table::Objects, Key::from(4)),
        (Table::Objects, Key::from(6)),
        (Table::Pins, Key::pair(5, 4)),
        (Table::Pins, Key::pair(5, 6)),
        (Table::Pins, Key::pair(4, 5)),
        (Table::Pins, Key::pair(6, 5)),
    ] {
        assert_eq!(value(snapshot.as_ref(), table, key), None, "{key:?}");
    }
    drop(snapshot);
    subject.finish();
}

/// A row is stored, replaced by shorter and longer values, removed and stored anew.
pub fn put_overwrite_delete(fixture: &Fixture) {
    let mut subject = fixture.open();
    for table in [Table::Objects, Table::Superseded] {
        for length in [10, 3, 5000, 0, 1, 200_000, 7] {
            let bytes = vec![length as u8; length];
            subject.apply(Batch::new().put(table, 7, bytes));
            subject.check();
        }
        subject.apply(Batch::new().delete(table, 7));
        subject.check();
        subject.apply(Batch::new().put(table, 7, "again"));
    }
    subject.finish();
}

/// Numbers up to 2^63 - 1 are kept and sorted as unsigned numbers.
pub fn the_largest_keys_are_kept(fixture: &Fixture) {
    let mut subject = fixture.open();
    let numbers = [
        0,
        1,
        255,
        256,
        1 << 31,
        1 << 32,
        (1 << 32) + 1,
        1 << 62,
        NUMBER_MAX - 1,
        NUMBER_MAX,
    ];
    let mut batch = Batch::new();
    for first in numbers {
        batch = batch.put(Table::Objects, first, first.to_le_bytes());
        for second in numbers {
            batch = batch.put(
                Table::ReferrersMore,
                Key::pair(first, second),
                (first ^ second).to_le_bytes(),
            );
        }
    }
    subject.apply(batch);
    subject.check();
    subject.apply(
        Batch::new()
            .delete(Table::Objects, NUMBER_MAX)
            .delete(Table::ReferrersMore, Key::pair(NUMBER_MAX, NUMBER_MAX)),
    );
    subject.finish();
}

/// The same key in every table holds a value of its own.
pub fn tables_are_apart(fixture: &Fixture) {
    let mut subject = fixture.open();
    for table in Table::ALL {
        subject.apply(Batch::new().put(table, 3, table.name()));
    }
    subject.check();
    for table in Table::ALL {
        subject.apply(Batch::new().delete(table, 3));
        subject.check();
    }
    subject.finish();
}

/// Deleting a row that does not exist is no error.
pub fn deleting_what_is_not_there_changes_nothing(fixture: &Fixture) {
    let mut subject = fixture.open();
    subject.apply(Batch::new().delete(Table::Objects, 1));
    subject.apply(Batch::new().put(Table::Objects, 2, "two"));
    subject.apply(
        Batch::new()
            .delete(Table::Objects, 1)
            .delete(Table::Objects, 3)
            .delete(Table::Pins, Key::pair(2, 0))
            .delete(Table::Meta, NUMBER_MAX),
    );
    subject.finish();
}

/// Rows that are read ahead are found as others are, whether they are there or not, small or large; later
/// views show what is written later.
pub fn what_is_read_ahead_is_there(fixture: &Fixture) {
    let mut subject = fixture.open();
    let mut batch = Batch::new();
    for number in (0..100_u64).step_by(2) {
        // More than is read at once.
        let value = vec![number as u8; number as usize * 10_000];
        batch = batch
            .put(Table::Objects, number, value)
            .put(Table::Referrers, number, number.to_be_bytes())
            .put(Table::Pins, Key::pair(number, 1), "pin");
    }
    subject.apply(batch);
    let numbers = || (0..100_u64).chain([1 << 62, u64::MAX]);
    let mut rows: Vec<(Table, Key)> = Vec::new();
    for table in [Table::Objects, Table::Referrers, Table::Orphans] {
        rows.extend(numbers().map(|number| (table, Key::from(number))));
    }
    rows.extend(numbers().map(|number| (Table::Pins, Key::pair(number, 1))));
    let check = |snapshot: &dyn EngineSnapshot, model: &Model| {
        for (table, key) in &rows {
            let expected = model.get(&(*table, *key));
            let found = value(snapshot, *table, *key);
            assert_eq!(
                found.as_deref().map(Short),
                expected.map(|value| Short(value)),
                "{table:?} {key:?}"
            );
        }
    };
    let snapshot = subject.snapshot();
    snapshot.read_ahead(&rows).unwrap();
    check(&*snapshot, &subject.model);
    snapshot.read_ahead(&[]).unwrap();
    check(&*snapshot, &subject.model);
    drop(snapshot);
    let changed = Batch::new()
        .put(Table::Objects, 3, "new")
        .put(Table::Objects, 4, "changed")
        .delete(Table::Referrers, 4);
    subject.apply(changed);
    let snapshot = subject.snapshot();
    snapshot.read_ahead(&rows).unwrap();
    check(&*snapshot, &subject.model);
    drop(snapshot);
    subject.finish();
}

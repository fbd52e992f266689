//! Cursors: order, beginning and end.

use super::fixture::assert_rows;
use super::{Batch, Fixture, Subject};
use crate::engine::{Key, Table};

fn filled<'a>(fixture: &'a Fixture, table: Table, keys: impl Iterator<Item = Key>) -> Subject<'a> {
    let mut subject = fixture.open();
    let mut batch = Batch::new();
    for key in keys {
        let value = format!("{}/{}", key.first, key.second);
        batch = batch.put(table, key, value);
    }
    subject.apply(batch);
    subject
}

/// Rows come in ascending order, however they were stored.
pub fn a_cursor_ascends(fixture: &Fixture) {
    let mut subject = fixture.open();
    for number in [500, 3, 70_000, 256, 255, 1 << 40, 0, 257] {
        subject.apply(Batch::new().put(Table::Objects, number, number.to_string()));
    }
    let snapshot = subject.snapshot();
    let mut cursor = snapshot.cursor(Table::Objects, Key::MIN).unwrap();
    let mut last = None;
    let mut rows = 0;
    while let Some((key, value)) = cursor.next().unwrap() {
        assert!(last.is_none_or(|last| last < key), "{last:?} {key:?}");
        assert_eq!(value, key.first.to_string().as_bytes());
        last = Some(key);
        rows += 1;
    }
    assert_eq!(rows, 8);
    drop(cursor);
    drop(snapshot);
    subject.finish();
}

/// A cursor begins at the key that is asked for, or at the next one above it.
pub fn a_cursor_starts_in_the_middle(fixture: &Fixture) {
    let keys = (0..300).map(|number| Key::from(number * 10));
    let subject = filled(fixture, Table::Referrers, keys);
    let snapshot = subject.snapshot();
    for from in [0, 1, 9, 10, 11, 1495, 1500, 2989, 2990] {
        let from = Key::from(from);
        assert_rows(snapshot.as_ref(), Table::Referrers, from, &subject.model);
    }
    drop(snapshot);
    subject.finish();
}

/// A cursor past the last row, and on an empty table, has no rows; rows of other tables do not show.
pub fn a_cursor_past_the_end_is_empty(fixture: &Fixture) {
    let tables = [Table::Referrers, Table::Irregular, Table::Pins];
    let subject = filled(fixture, Table::Orphans, (0..10).map(Key::from));
    let snapshot = subject.snapshot();
    for from in [10, 11, (1 << 63) - 1] {
        let from = Key::from(from);
        assert_rows(snapshot.as_ref(), Table::Orphans, from, &subject.model);
    }
    for table in tables {
        assert_rows(snapshot.as_ref(), table, Key::MIN, &subject.model);
        let last = Key::pair((1 << 63) - 1, 0);
        assert_rows(snapshot.as_ref(), table, last, &subject.model);
    }
    drop(snapshot);
    subject.finish();
}

/// Pairs are ordered by the first number, then by the second.
pub fn a_pair_table_is_ordered_by_both_numbers(fixture: &Fixture) {
    let mut subject = fixture.open();
    for (first, second) in [(2, 1), (1, 9), (1, 1 << 40), (0, 3), (2, 0), (1 << 33, 0)] {
        let value = format!("{first} {second}");
        subject.apply(Batch::new().put(Table::Changes, Key::pair(first, second), value));
    }
    let snapshot = subject.snapshot();
    let mut cursor = snapshot.cursor(Table::Changes, Key::MIN).unwrap();
    for (first, second) in [(0, 3), (1, 9), (1, 1 << 40), (2, 0), (2, 1), (1 << 33, 0)] {
        let (key, value) = cursor.next().unwrap().unwrap();
        assert_eq!(key, Key::pair(first, second));
        assert_eq!(value, format!("{first} {second}").as_bytes());
    }
    assert!(cursor.next().unwrap().is_none());
    drop(cursor);
    drop(snapshot);
    subject.finish();
}

/// A cursor over pairs begins anywhere between them, at either number.
pub fn a_pair_table_is_read_from_the_middle(fixture: &Fixture) {
    for table in Table::ALL.into_iter().filter(|table| table.is_pair()) {
        let fixture_keys = (0..20).flat_map(|first| {
            (0..20).map(move |second| Key::pair(first * 2, second * second * 1000))
        });
        let mut subject = fixture.open();
        let mut batch = Batch::new();
        for key in fixture_keys {
            batch = batch.put(table, key, key.second.to_string());
        }
        subject.apply(batch);
        let snapshot = subject.snapshot();
        for (first, second) in [
            (0, 1),
            (1, 0),
            (4, 0),
            (4, 999),
            (4, 1000),
            (4, 361_000),
            (4, 361_001),
            (5, u64::MAX >> 1),
            (38, 361_000),
            (38, 361_001),
        ] {
            let from = Key::pair(first, second);
            assert_rows(snapshot.as_ref(), table, from, &subject.model);
        }
        drop(snapshot);
        subject.close();
    }
}

/// Far more rows than any engine fetches at once.
pub fn a_long_table_is_read_whole(fixture: &Fixture) {
    let keys = (0..20_000).map(|number| Key::from(number * 3));
    let subject = filled(fixture, Table::Objects, keys);
    let snapshot = subject.snapshot();
    assert_rows(
        snapshot.as_ref(),
        Table::Objects,
        Key::from(31_111),
        &subject.model,
    );
    drop(snapshot);
    subject.finish();
}

/// Rows of very different lengths, larger than any engine's page or chunk, in one scan.
pub fn large_rows_are_read_in_a_scan(fixture: &Fixture) {
    let mut subject = fixture.open();
    let mut batch = Batch::new();
    for number in 0..60_u64 {
        let length = [0, 1, 4096, 70_000, 1_300_000][number as usize % 5];
        batch = batch.put(Table::Objects, number, vec![number as u8; length]);
        batch = batch.put(
            Table::Superseded,
            Key::pair(number / 7, number),
            vec![number as u8; length / 10],
        );
    }
    subject.apply(batch);
    subject.finish();
}

/// Cursors of one snapshot move independently.
pub fn several_cursors_at_once(fixture: &Fixture) {
    let keys = (0..1000).map(Key::from);
    let subject = filled(fixture, Table::Objects, keys);
    let snapshot = subject.snapshot();
    let mut first = snapshot.cursor(Table::Objects, Key::MIN).unwrap();
    let mut second = snapshot.cursor(Table::Objects, Key::from(500)).unwrap();
    for number in 0..500 {
        let row = first.next().unwrap().map(|(key, _)| key);
        assert_eq!(row, Some(Key::from(number)));
        let row = second.next().unwrap().map(|(key, _)| key);
        assert_eq!(row, Some(Key::from(number + 500)));
        let found = super::value(snapshot.as_ref(), Table::Objects, number);
        assert_eq!(found, Some(format!("{number}/0").into_bytes()));
    }
    assert!(second.next().unwrap().is_none());
    drop((first, second));
    drop(snapshot);
    subject.finish();
}

//! Values from nothing to the largest, and batches of many rows.

use super::{Batch, Fixture};
use crate::engine::{Key, Op, Table};
use crate::error::ErrorKind;

/// Above this the test would need the memory, not only the address space.
const UNTOUCHED_BYTES_MAX: u64 = 8 << 30;

/// An empty value is a row, in every table.
pub fn empty_values(fixture: &Fixture) {
    let mut subject = fixture.open();
    let mut batch = Batch::new();
    for table in Table::ALL {
        batch = batch
            .put(table, 1, "")
            .put(table, 2, "two")
            .put(table, 3, "");
    }
    subject.apply(batch);
    subject.check();
    subject.apply(
        Batch::new()
            .put(Table::Objects, 2, "")
            .put(Table::Objects, 3, "three")
            .delete(Table::Objects, 1),
    );
    subject.finish();
}

/// All lengths around the boundaries of pages and of headers.
pub fn values_of_every_small_size(fixture: &Fixture) {
    let mut subject = fixture.open();
    let lengths = (0..300)
        .chain(2000..2080)
        .chain(4000..4200)
        .chain([8191, 8192, 8193, 65_535, 65_536, 65_537]);
    let mut batch = Batch::new();
    for length in lengths {
        let bytes: Vec<u8> = (0..length)
            .map(|index| (index * 7 + length) as u8)
            .collect();
        batch = batch.put(Table::Objects, length as u64, bytes);
    }
    subject.apply(batch);
    subject.finish();
}

/// 64 MiB, the largest object that every engine has to take, stored and replaced.
pub fn a_value_of_64_mib(fixture: &Fixture) {
    let mut subject = fixture.open();
    let mut bytes = vec![0; 64 << 20];
    for (index, part) in bytes.chunks_mut(8).enumerate() {
        part.copy_from_slice(
            &(index as u64)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .to_le_bytes(),
        );
    }
    subject.apply(
        Batch::new()
            .put(Table::Objects, 1, "before")
            .put(Table::Objects, 2, bytes)
            .put(Table::Objects, 3, "after"),
    );
    subject.check();
    subject.apply(Batch::new().put(Table::Objects, 2, vec![7; 64 << 20]));
    subject.finish();
}

/// Many rows in one batch.
pub fn a_batch_of_many_rows(fixture: &Fixture) {
    let mut subject = fixture.open();
    let mut batch = Batch::new();
    for number in 0..10_000_u64 {
        batch = batch
            .put(Table::Objects, number, vec![number as u8; 100])
            .put(Table::ReferrersMore, Key::pair(number % 10, number), "");
    }
    subject.apply(batch);
    let mut batch = Batch::new();
    for number in (0..10_000_u64).step_by(2) {
        batch = batch.delete(Table::Objects, number).put(
            Table::ReferrersMore,
            Key::pair(number % 10, number),
            "more",
        );
    }
    subject.apply(batch);
    subject.finish();
}

/// A value above the declared limit is `TooLarge`, and the batch that holds it changes nothing.
pub fn a_value_above_the_limit_is_refused(fixture: &Fixture) {
    let mut subject = fixture.open();
    subject.apply(Batch::new().put(Table::Objects, 1, "old"));
    let limit = fixture.capabilities().value_bytes_max;
    if limit < UNTOUCHED_BYTES_MAX {
        // Zeros from the system take no memory until they are read, which the engine need not do.
        let large = vec![0; limit as usize + 1];
        let ops = [
            Op::Put {
                table: Table::Objects,
                key: Key::from(1),
                value: b"new",
            },
            Op::Put {
                table: Table::Objects,
                key: Key::from(2),
                value: &large,
            },
        ];
        let error = subject.engine().apply(&ops, fixture.weakest()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    }
    subject.check();
    subject.apply(Batch::new().put(Table::Objects, 3, "later"));
    subject.finish();
}

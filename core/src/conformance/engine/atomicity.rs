//! Batches take effect whole or not at all.

use super::{Batch, Fixture};
use crate::engine::{Durability, Key, Table};
use crate::error::ErrorKind;

/// One batch changes every table, and all of it is there.
pub fn a_batch_spans_all_tables(fixture: &Fixture) {
    let mut subject = fixture.open();
    let mut first = Batch::new();
    let mut second = Batch::new();
    for table in Table::ALL {
        let second_part = u64::from(table.is_pair()) * 9;
        for number in 0..5 {
            let key = Key::pair(number, second_part);
            first = first.put(table, key, format!("{} {number}", table.name()));
        }
        second = second
            .delete(table, Key::pair(1, second_part))
            .put(table, Key::pair(2, second_part), "changed")
            .put(table, Key::pair(9, second_part), "added");
    }
    subject.apply(first);
    subject.check();
    subject.apply(second);
    subject.finish();
}

/// A batch that the engine refuses leaves every table as it was, and the engine usable.
pub fn a_refused_batch_changes_nothing(fixture: &Fixture) {
    let mut subject = fixture.open();
    subject.apply(
        Batch::new()
            .put(Table::Objects, 1, "old")
            .put(Table::Meta, 1, "old"),
    );
    let offered = fixture.capabilities().durability;
    for level in Durability::ALL {
        if offered.contains(&level) {
            continue;
        }
        let batch = Batch::new()
            .put(Table::Objects, 1, "new")
            .delete(Table::Meta, 1);
        let error = subject.engine().apply(&batch.ops(), level).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        subject.check();
    }
    subject.apply(Batch::new().put(Table::Objects, 2, "later"));
    subject.finish();
}

/// Later batches win, whatever the order of tables in them.
pub fn batches_follow_one_another(fixture: &Fixture) {
    let mut subject = fixture.open();
    for round in 0..20_u64 {
        subject.apply(
            Batch::new()
                .put(Table::Objects, round % 3, round.to_be_bytes())
                .put(
                    Table::Changes,
                    Key::pair(round, round % 2),
                    round.to_be_bytes(),
                )
                .delete(Table::Objects, (round + 1) % 3)
                .put(Table::Meta, 0, round.to_be_bytes()),
        );
        subject.check();
    }
    subject.finish();
}

/// A batch without operations is no error.
pub fn an_empty_batch_is_applied(fixture: &Fixture) {
    let mut subject = fixture.open();
    for level in fixture.capabilities().durability {
        subject.apply_at(Batch::new(), level);
    }
    subject.apply(Batch::new().put(Table::Objects, 0, "root"));
    for level in fixture.capabilities().durability {
        subject.apply_at(Batch::new(), level);
    }
    subject.finish();
}

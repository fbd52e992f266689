//! Declared levels of durability are given, and others are refused: never silently weakened.
//!
//! That a level also survives what it promises to survive is shown by the crash tests, with real
//! kills and images of what was synced.

use super::{Batch, Fixture};
use crate::engine::{Durability, Table};
use crate::error::ErrorKind;

/// `apply` with a declared level returns that level.
pub fn declared_levels_are_given(fixture: &Fixture) {
    let mut subject = fixture.open();
    for (number, level) in fixture.capabilities().durability.into_iter().enumerate() {
        subject.apply_at(
            Batch::new().put(Table::Objects, number as u64, level.name()),
            level,
        );
        subject.check();
    }
    subject.finish();
}

/// `apply` with a level that is not declared is an error and changes nothing.
pub fn undeclared_levels_are_refused(fixture: &Fixture) {
    let subject = fixture.open();
    let offered = fixture.capabilities().durability;
    let refused = Durability::ALL
        .into_iter()
        .filter(|level| !offered.contains(level));
    for level in refused {
        let batch = Batch::new().put(Table::Objects, 1, level.name());
        let error = subject.engine().apply(&batch.ops(), level).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
    subject.finish();
}

/// `sync` returns the best level that is declared.
pub fn sync_gives_the_best_level(fixture: &Fixture) {
    let mut subject = fixture.open();
    let best = fixture.capabilities().durability.last().copied();
    assert_eq!(subject.engine().sync().ok(), best);
    subject.apply(Batch::new().put(Table::Objects, 1, "written at the weakest level"));
    assert_eq!(subject.engine().sync().ok(), best);
    assert_eq!(subject.engine().sync().ok(), best);
    subject.finish();
}

/// Batches of all levels in all orders; nothing of one level is lost by the next.
pub fn levels_mix(fixture: &Fixture) {
    let mut subject = fixture.open();
    let levels = fixture.capabilities().durability;
    let mut number = 0;
    for first in &levels {
        for second in &levels {
            for level in [first, second] {
                number += 1;
                let batch = Batch::new().put(Table::Objects, number, level.name()).put(
                    Table::Meta,
                    0,
                    number.to_be_bytes(),
                );
                subject.apply_at(batch, *level);
            }
        }
        subject.check();
        subject.reopen();
    }
    subject.finish();
}

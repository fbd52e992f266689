//! The full rewrite. Engines without one have nothing to show here but that they go on as before.

use std::sync::atomic::{AtomicBool, Ordering};

use super::fixture::assert_rows;
use super::space::{ROWS, fill, stats};
use super::{Batch, Fixture, Subject, compact};
use crate::engine::{Compact, Key, Table};
use crate::error::ErrorKind;

/// Stores rows in several tables, and deletes nine of ten of the largest.
fn fill_and_thin(subject: &mut Subject<'_>) {
    fill(subject);
    let mut batch = Batch::new().put(Table::Meta, 1, "kept");
    for number in 0..300 {
        batch = batch.put(Table::Changes, Key::pair(number / 7, number), "change");
    }
    subject.apply(batch);
    for start in (0..ROWS).step_by(500) {
        let batch = (start..start + 450).fold(Batch::new(), |batch, number| {
            batch.delete(Table::Objects, number)
        });
        subject.apply(batch);
    }
}

/// Rewrites, and asserts that the progress is as promised.
fn rewrite(engine: &dyn Compact) {
    let mut last = (0, 0);
    let told = engine.rewrite(&mut |done, total| {
        assert!(done >= last.0 && done <= total, "{last:?} {done} {total}");
        last = (done, total);
    });
    told.unwrap();
    assert!(last.0 > 0 && last.0 == last.1, "{last:?}");
}

/// Compaction keeps all rows, returns what it says, and leaves the engine usable.
pub fn compaction_keeps_the_rows(fixture: &Fixture) {
    let mut subject = fixture.open();
    fill_and_thin(&mut subject);
    let before = stats(&subject).disk_bytes;
    if let Some(engine) = subject.engine().compact() {
        rewrite(engine);
        let given_back = engine.swap().unwrap();
        let after = stats(&subject).disk_bytes;
        assert!(after < before / 2, "{before} bytes became {after}");
        assert!(given_back > 0 && given_back <= before, "{given_back}");
    }
    subject.check();
    for level in fixture.capabilities().durability {
        let batch = Batch::new().put(Table::Objects, 1, level.name());
        subject.apply_at(batch, level);
    }
    subject.reopen();
    fill(&mut subject);
    subject.finish();
}

/// While the copy is made, snapshots from before are read, others are taken, and threads read.
pub fn readers_go_on_during_a_rewrite(fixture: &Fixture) {
    let mut subject = fixture.open();
    fill_and_thin(&mut subject);
    let Some(engine) = subject.engine().compact() else {
        return subject.finish();
    };
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let before = subject.snapshot();
        let mut standing = before.cursor(Table::Objects, Key::MIN).unwrap();
        standing.next().unwrap().expect("a first row");
        let (opened, model, ended) = (subject.engine(), &subject.model, &ended);
        let reader = scope.spawn(move || {
            let mut rounds = 0;
            while !ended.load(Ordering::Acquire) || rounds == 0 {
                let snapshot = opened.snapshot().unwrap();
                assert_rows(snapshot.as_ref(), Table::Changes, Key::MIN, model);
                assert_rows(
                    snapshot.as_ref(),
                    Table::Objects,
                    Key::from(ROWS / 2),
                    model,
                );
                rounds += 1;
            }
        });
        let mut told = 0;
        let rewritten = engine.rewrite(&mut |_, _| {
            told += 1;
            if told < 5 {
                assert_rows(before.as_ref(), Table::Objects, Key::MIN, model);
            }
        });
        ended.store(true, Ordering::Release);
        rewritten.unwrap();
        reader.join().expect("a reader that found nothing wrong");
        let mut rows = 1;
        while standing.next().unwrap().is_some() {
            rows += 1;
        }
        assert_eq!(rows, ROWS / 10, "the cursor from before");
        drop(standing);
        assert_rows(before.as_ref(), Table::Objects, Key::MIN, model);
    });
    engine.swap().unwrap();
    subject.finish();
}

/// Again and again, with writes in between, and at once after one another.
pub fn compaction_follows_compaction(fixture: &Fixture) {
    let mut subject = fixture.open();
    for round in 0..4_u64 {
        let batch = (0..50).fold(Batch::new(), |batch, number| {
            let batch = batch.put(Table::Objects, number * (round + 1), vec![round as u8; 900]);
            batch.put(Table::ReferrersMore, Key::pair(round, number), "more")
        });
        subject.apply(batch);
        subject.apply(Batch::new().put(Table::Objects, 7, vec![round as u8; 200_000]));
        for _ in 0..1 + round % 2 {
            compact(subject.engine()).transpose().unwrap();
        }
        subject.check();
        if round == 2 {
            subject.reopen();
        }
    }
    subject.finish();
}

/// A copy that is not wanted any more goes without a trace, and without one there is no swap.
pub fn a_copy_that_is_discarded_changes_nothing(fixture: &Fixture) {
    let mut subject = fixture.open();
    fill_and_thin(&mut subject);
    if let Some(engine) = subject.engine().compact() {
        let refused = engine.swap().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Usage, "{refused}");
        engine.discard().unwrap();
        let files = fixture.files().len();
        rewrite(engine);
        assert!(fixture.files().len() > files, "a copy beside");
        engine.discard().unwrap();
        assert_eq!(fixture.files().len(), files);
        let refused = engine.swap().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Usage, "{refused}");
    }
    subject.apply(Batch::new().put(Table::Objects, 3, "later"));
    subject.finish();
}

/// A copy from before the last batch never takes the place of the files.
pub fn a_copy_that_is_out_of_date_is_refused(fixture: &Fixture) {
    let mut subject = fixture.open();
    fill_and_thin(&mut subject);
    if let Some(engine) = subject.engine().compact() {
        rewrite(engine);
    }
    subject.apply(Batch::new().put(Table::Objects, 3, "later"));
    if let Some(engine) = subject.engine().compact() {
        let refused = engine.swap().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Usage, "{refused}");
        subject.check();
        rewrite(engine);
        engine.swap().unwrap();
    }
    subject.finish();
}

/// A copy that was never put in place is gone after the next opening, and the old state is there.
pub fn an_interrupted_compaction_leaves_nothing(fixture: &Fixture) {
    let mut subject = fixture.open();
    fill_and_thin(&mut subject);
    subject.reopen();
    let files = fixture.files().len();
    if let Some(engine) = subject.engine().compact() {
        rewrite(engine);
        assert!(fixture.files().len() > files, "a copy beside");
    }
    subject.reopen();
    subject.check();
    assert_eq!(fixture.files().len(), files);
    subject.finish();
}

//! Damaged files are reported, by an error of a telling kind: never by a panic.
//!
//! An engine that is not persistent has no files to damage, and those of a server are not within reach; there
//! each case is one of ordinary use.

use super::fixture::Short;
use super::{Batch, Fixture, Model};
use crate::engine::{Engine, Key, Table};
use crate::error::{Error, ErrorKind, Result};

/// Writes rows of 0 to 5000 bytes, closes the engine and returns what was written.
fn written(fixture: &Fixture) -> Model {
    let mut subject = fixture.open();
    for start in (0..400_u64).step_by(100) {
        let batch = (start..start + 100).fold(Batch::new(), |batch, number| {
            let value = vec![number as u8; (number * 997 % 5000) as usize];
            batch.put(Table::Objects, number, value).put(
                Table::Pins,
                Key::pair(number, number),
                "pin",
            )
        });
        subject.apply(batch);
    }
    subject.check();
    subject.close()
}

fn assert_telling(error: &Error) {
    assert!(
        matches!(error.kind(), ErrorKind::Damaged | ErrorKind::Unreadable),
        "{:?}: {error}",
        error.kind()
    );
}

/// Every file overwritten with noise: the engine does not open, or says so at the first reads.
pub fn garbage_in_place_of_the_files_is_an_error(fixture: &Fixture) {
    let model = written(fixture);
    let mut random = fastrand::Rng::with_seed(5);
    for path in fixture.files() {
        let mut noise = vec![0; 100_000];
        random.fill(&mut noise);
        std::fs::write(path, noise).unwrap();
    }
    if fixture.has_files() {
        assert_telling(&read(fixture, &model).expect_err("noise is not a database"));
    } else if !fixture.capabilities().persistent {
        fixture.open().finish();
    }
}

/// The largest file is gone, the others are there: no empty database in its place.
pub fn a_missing_main_file_is_an_error(fixture: &Fixture) {
    let model = written(fixture);
    let Some(main) = fixture.files().into_iter().next() else {
        assert!(!fixture.has_files());
        return;
    };
    std::fs::remove_file(main).unwrap();
    // A directory that has become empty is a new one.
    std::fs::write(fixture.dir().join("other"), "x").unwrap();
    assert_telling(&read(fixture, &model).expect_err("the data is missing"));
}

/// The largest file has no bytes left.
pub fn an_emptied_main_file_is_an_error(fixture: &Fixture) {
    let model = written(fixture);
    let Some(main) = fixture.files().into_iter().next() else {
        assert!(!fixture.has_files());
        return;
    };
    std::fs::write(main, "").unwrap();
    assert_telling(&read(fixture, &model).expect_err("the data is missing"));
}

/// The largest file was cut: an error when it is opened or read.
pub fn a_truncated_main_file_is_an_error(fixture: &Fixture) {
    let model = written(fixture);
    let Some(main) = fixture.files().into_iter().next() else {
        assert!(!fixture.has_files());
        return;
    };
    let mut whole = std::fs::read(&main).unwrap();
    // An engine may have made it longer than it is yet.
    let end = whole.iter().rposition(|byte| *byte != 0);
    whole.truncate(end.map_or(0, |end| end + 1));
    // The rows take up the larger part of it, whatever lies behind them.
    for part in [8, 4, 2] {
        std::fs::write(&main, &whole[..whole.len() / part]).unwrap();
        let result = read(fixture, &model);
        assert_telling(&result.expect_err("a part of the data is missing"));
    }
}

/// Bytes changed within stored values: the row may be wrong, which the store finds by its checksums,
/// but nothing panics and every error is a telling one.
///
/// Bytes of LMDB's own pages are left alone: LMDB reads them from mapped memory without any check, so
/// that it may end the process; no code above it can prevent that.
pub fn flipped_bytes_in_a_value_never_panic(fixture: &Fixture) {
    let mut subject = fixture.open();
    let batch = (0..100).fold(Batch::new(), |batch, number| {
        batch.put(Table::Objects, number, MARK.repeat(3000 / MARK.len()))
    });
    subject.apply(batch);
    subject.close();
    let mut flipped = 0;
    for path in fixture.files() {
        let mut bytes = std::fs::read(&path).unwrap();
        let mut at = 0;
        while at + MARK.len() <= bytes.len() {
            if bytes[at..].starts_with(MARK) {
                bytes[at] ^= 0x55;
                flipped += 1;
                // One byte in each value or so.
                at += 2999;
            }
            at += 1;
        }
        std::fs::write(path, bytes).unwrap();
    }
    assert!(!fixture.has_files() || flipped >= 50);
    if let Err(error) = fixture.try_open().and_then(|engine| scan(engine.as_ref())) {
        assert_telling(&error);
    }
}

/// Bytes that are found again in the files.
const MARK: &[u8] = b"durum-conformance-mark--";

/// Opens the engine and reads all rows. Rows that differ from the model are an error as well.
fn read(fixture: &Fixture, model: &Model) -> Result<()> {
    let engine = fixture.try_open()?;
    let snapshot = engine.snapshot()?;
    let mut missing = 0;
    for (&(table, key), expected) in model {
        let mut found = false;
        snapshot.get(table, key, &mut |bytes| {
            found = true;
            assert_eq!(Short(bytes), Short(expected), "{table:?} {key:?}");
        })?;
        missing += usize::from(!found);
    }
    drop(snapshot);
    scan(engine.as_ref())?;
    assert_eq!(missing, 0, "rows were lost without an error");
    Ok(())
}

fn scan(engine: &dyn Engine) -> Result<()> {
    let snapshot = engine.snapshot()?;
    for table in Table::ALL {
        let mut cursor = snapshot.cursor(table, Key::MIN)?;
        while cursor.next()?.is_some() {}
    }
    Ok(())
}

//! Large batches of new rows, as in an import: they are written as tables, which RocksDB then takes over, without
//! the log and without memtables that its threads would write and merge later.
//!
//! What it takes over at once is there as a whole or not at all, and durable. [`Parts`] tells how a batch stays
//! atomic.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLockWriteGuard};

use durum_core::engine::{Key, Op, Parts, Run, decode_runs};
use durum_core::{Error, Result};
use rocksdb::{DB, DBRawIterator, IngestExternalFileOptions, ReadOptions, SstFileWriter};

use crate::NAME;
use crate::config::Config;
use crate::database::Db;
use crate::engine::RocksdbEngine;
use crate::error::damaged;
use crate::note::Note;

/// The row that says what is being filled; its first byte is no table's number.
pub(crate) const ROW: &[u8] = &[u8::MAX - 1];

const INGEST: &str = "write a large batch";
const TAKE_BACK: &str = "take back a batch that is not complete";

/// Tables before RocksDB has taken them over, in its directory. To it they are none of its files.
const PREFIX: &str = "ingest-";

/// Rows that are taken back at once.
const ROWS_TAKEN_BACK: usize = 4096;

/// What a batch in the log says of ranges of keys.
pub(crate) enum Filling {
    /// These are going to be filled.
    Begun(Vec<Run>),
    /// All are.
    Ended,
}

/// Removes tables that were being written when the process ended.
pub(crate) fn remove_leftovers(dir: &Path) -> Result<()> {
    let removed = leftovers(dir).and_then(|paths| paths.into_iter().try_for_each(fs::remove_file));
    removed.map_err(|error| {
        Error::io(error, "remove tables that are not complete")
            .with_engine(NAME)
            .with_path(dir)
    })
}

fn leftovers(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            paths.push(entry.path());
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

/// Puts tables back that RocksDB has removed and still counts on.
///
/// Where it cannot sync its note that it has taken tables over, it removes its links to them; but the note can be on
/// the device all the same, and then it does not open the database without them. The files are here still, by
/// the names that they were written under. Which is which it tells itself: it refuses one in another's place.
pub(crate) fn put_back(dir: &Path, config: &Config) -> Result<()> {
    let failed = |error| {
        Error::io(error, "put tables back that were taken over")
            .with_engine(NAME)
            .with_path(dir)
    };
    let tables = leftovers(dir).map_err(failed)?;
    if tables.is_empty() {
        return Ok(());
    }
    while let Some(missing) = missing_table(dir, config) {
        let mut is_back = false;
        for table in &tables {
            fs::hard_link(table, &missing).map_err(failed)?;
            is_back = !is_refused(dir, config);
            if is_back {
                break;
            }
            fs::remove_file(&missing).map_err(failed)?;
        }
        if !is_back {
            // Opening it says what is missing.
            return Ok(());
        }
        tracing::info!(path = %missing.display(), "a table is put back that was taken over");
    }
    Ok(())
}

/// What it says where it cannot be opened.
fn refusal(dir: &Path, config: &Config) -> Option<String> {
    let opened = config.settings(false);
    let opened = opened.and_then(|settings| DB::open_for_read_only(&settings, dir, false));
    opened.err().map(|error| error.to_string())
}

/// A table without which it cannot be opened.
fn missing_table(dir: &Path, config: &Config) -> Option<PathBuf> {
    let refusal = refusal(dir, config)?;
    let names = refusal.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '.');
    let is_table = |name: &str| {
        let number = name.strip_suffix(".sst");
        number.is_some_and(|number| number.bytes().all(|digit| digit.is_ascii_digit()))
    };
    let mut paths = names
        .filter(|name| is_table(name))
        .map(|name| dir.join(name));
    paths.find(|path| !path.exists())
}

/// Whether it cannot be opened for what the table that was just put back holds. It looks at tables in their order, so that
/// it has come past this one where it misses another.
fn is_refused(dir: &Path, config: &Config) -> bool {
    refusal(dir, config).is_some() && missing_table(dir, config).is_none()
}

impl RocksdbEngine {
    /// What of a batch is to be ingested; `None` for a batch of which nothing is.
    pub(crate) fn split<'a>(&self, ops: &'a [Op<'a>]) -> Result<Option<Parts<'a>>> {
        Parts::split(ops, self.config.ingested_bytes_min(), |run| {
            Ok(keys_of(&self.db, run, 1)?.is_empty())
        })
    }

    /// Writes what is to be ingested. With the next batch, which is [`Filling::Ended`], it is there; until then
    /// no snapshot is taken.
    pub(crate) fn ingest(
        &self,
        note: &mut Note,
        parts: &Parts<'_>,
    ) -> Result<RwLockWriteGuard<'_, ()>> {
        let next = note.next();
        self.commit(&[], Some(&Filling::Begun(parts.ranges())), next, true)?;
        *note = Note {
            durable: next.count,
            ..next
        };
        self.db.write(INGEST, |rocks| {
            let mut paths = Vec::with_capacity(parts.runs.len());
            for (number, (_, ops)) in parts.runs.iter().enumerate() {
                let path = self.db.dir.join(format!("{PREFIX}{number}.sst"));
                self.write_table(&path, ops)?;
                paths.push(path);
            }
            let closed = self.gate.write().unwrap_or_else(PoisonError::into_inner);
            take_over(rocks, paths).map(|()| closed)
        })
    }

    fn write_table(&self, path: &Path, ops: &[Op<'_>]) -> Result<(), rocksdb::Error> {
        let settings = self.config.settings(false)?;
        let mut table = SstFileWriter::create(&settings);
        table.open(path)?;
        for op in ops {
            if let Op::Put {
                table: of,
                key,
                value,
            } = op
            {
                table.put(key.to_row_bytes(*of), value)?;
            }
        }
        // Synced.
        table.finish()
    }

    /// Empties what was being filled when the process ended.
    pub(crate) fn take_back(&self, note: &mut Note) -> Result<()> {
        let db = &self.db;
        let Some(begun) = db.read(TAKE_BACK, db.rocks().get(ROW))? else {
            return Ok(());
        };
        let runs = decode_runs(&begun).ok_or_else(|| {
            damaged(TAKE_BACK, "what it says of it is not intact").with_path(&db.dir)
        })?;
        tracing::info!(path = %db.dir.display(), "a large batch was not complete: it is taken back");
        for run in &runs {
            loop {
                let keys = keys_of(db, run, ROWS_TAKEN_BACK)?;
                if keys.is_empty() {
                    break;
                }
                let table = run.table;
                let deletes: Vec<_> = keys
                    .into_iter()
                    .map(|key| Op::Delete { table, key })
                    .collect();
                *note = note.next();
                self.commit(&deletes, None, *note, false)?;
            }
        }
        *note = note.next();
        self.commit(&[], Some(&Filling::Ended), *note, true)?;
        note.durable = note.count;
        Ok(())
    }
}

/// All or none of them are there then.
fn take_over(rocks: &DB, paths: Vec<PathBuf>) -> Result<(), rocksdb::Error> {
    let mut options = IngestExternalFileOptions::default();
    options.set_move_files(true);
    rocks.ingest_external_file_opts(&options, paths)
}

/// The first keys of a range, at most so many.
fn keys_of(db: &Db, run: &Run, count: usize) -> Result<Vec<Key>> {
    let (first, last) = run.row_keys().into_inner();
    let mut options = ReadOptions::default();
    options.set_verify_checksums(true);
    options.fill_cache(false);
    let mut rows: DBRawIterator<'_> = db.rocks().raw_iterator_opt(options);
    rows.seek(first);
    let mut keys = Vec::new();
    while keys.len() < count
        && let Some(row) = rows.key().filter(|row| *row <= last.as_slice())
    {
        let key = Key::from_row_bytes(run.table, row);
        keys.push(
            key.ok_or_else(|| damaged(TAKE_BACK, "a key has a wrong length").with_path(&db.dir))?,
        );
        rows.next();
    }
    db.read(TAKE_BACK, rows.status())?;
    Ok(keys)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use durum_core::engine::{Durability, Engine as _, Options, Table};

    use super::*;
    use crate::config::OPTIONS;

    fn open(dir: &Path) -> RocksdbEngine {
        let options = Options::check(NAME, OPTIONS, [("bulk_size", "4KiB")]).unwrap();
        RocksdbEngine::open(dir, Config::new(&options)).unwrap()
    }

    /// Keys from `first` on, with values of this byte.
    fn batch<'a>(first: u64, value: &'a [u8], note: &'a [u8]) -> Vec<Op<'a>> {
        let put = |table, key, value| {
            let key = Key::from(key);
            Op::Put { table, key, value }
        };
        let mut ops = Vec::new();
        for table in [Table::Objects, Table::Referrers] {
            ops.extend((first..first + 100).map(|key| put(table, key, value)));
        }
        ops.push(put(Table::Irregular, first, b""));
        ops.push(put(Table::Meta, 0, note));
        ops
    }

    fn all_rows(engine: &RocksdbEngine) -> Vec<Vec<(u64, Vec<u8>)>> {
        let snapshot = engine.snapshot().unwrap();
        let rows = Table::ALL.map(|table| {
            let mut cursor = snapshot.cursor(table, Key::MIN).unwrap();
            let mut rows = Vec::new();
            while let Some((key, value)) = cursor.next().unwrap() {
                rows.push((key.first, value.to_vec()));
            }
            rows
        });
        rows.to_vec()
    }

    #[test]
    fn a_batch_that_was_not_complete_is_taken_back() {
        let home = tempfile::tempdir().unwrap();
        let engine = open(home.path());
        for (first, level) in [(0, Durability::Power), (200, Durability::Process)] {
            let ops = batch(first, &[1; 30], b"before");
            assert_eq!(engine.split(&ops).unwrap().unwrap().runs.len(), 2);
            engine.apply(&ops, level).unwrap();
            assert!(
                engine.split(&ops).unwrap().is_none(),
                "the ranges are filled"
            );
        }
        let expected = all_rows(&engine);
        let third = batch(100, &[3; 30], b"third");
        let parts = engine.split(&third).unwrap().unwrap();
        let closed = engine.ingest(&mut engine.lock_note(), &parts).unwrap();
        drop(closed);
        assert_ne!(all_rows(&engine), expected);
        drop(engine);
        fs::write(home.path().join("ingest-7.sst"), "half of a table").unwrap();
        let engine = open(home.path());
        assert_eq!(all_rows(&engine), expected);
        assert!(!home.path().join("ingest-7.sst").exists());
        // The same again, whole.
        engine.apply(&third, Durability::Process).unwrap();
        let complete = all_rows(&engine);
        drop(engine);
        assert_eq!(all_rows(&open(home.path())), complete);
    }

    #[test]
    fn tables_that_were_taken_over_and_removed_are_put_back() {
        let home = tempfile::tempdir().unwrap();
        let engine = open(home.path());
        engine
            .apply(&batch(0, &[1; 30], b"before"), Durability::Power)
            .unwrap();
        let expected = all_rows(&engine);
        let second = batch(200, &[2; 30], b"second");
        let parts = engine.split(&second).unwrap().unwrap();
        let before = tables(home.path());
        drop(engine.ingest(&mut engine.lock_note(), &parts).unwrap());
        let taken_over: Vec<_> = tables(home.path())
            .into_iter()
            .filter(|table| !before.contains(table))
            .collect();
        assert_eq!(taken_over.len(), 2);
        drop(engine);
        // In the wrong order.
        for (number, table) in taken_over.iter().rev().enumerate() {
            fs::rename(table, home.path().join(format!("{PREFIX}{number}.sst"))).unwrap();
        }
        assert_eq!(all_rows(&open(home.path())), expected);
        assert!(leftovers(home.path()).unwrap().is_empty());
    }

    fn tables(dir: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(dir).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let is_table =
            |path: &PathBuf| path.extension().is_some_and(|extension| extension == "sst");
        let mut tables: Vec<_> = paths.filter(is_table).collect();
        tables.sort_unstable();
        tables
    }
}

//! Large batches of new rows, as in an import: fjall writes them as finished tables, without the journal and
//! without memtables that its threads would write and merge later.
//!
//! What is ingested at once is there as a whole or not at all, and durable. [`Parts`] tells how a batch stays
//! atomic.

use durum_core::Result;
use durum_core::engine::{Key, Op, Parts, Run, decode_runs};
use fjall::{AbstractTree as _, PersistMode, Readable as _, Snapshot};

use crate::database::{Db, Opened};
use crate::engine::{FjallEngine, Writer};
use crate::error::damaged;

/// The row that says what is being filled; its first byte is no table's number.
pub(crate) const ROW: &[u8] = &[u8::MAX - 1];

const INGEST: &str = "write a large batch";
const TAKE_BACK: &str = "take back a batch that is not complete";

/// Ingesting writes out what is in memory, which fjall's threads know nothing of; where it is more than this
/// they do it, since they also begin a new journal where the old one is full.
const MEMTABLE_BYTES_MAX: u64 = 64 << 10;

/// Rows that are taken back at once.
const ROWS_TAKEN_BACK: usize = 4096;

/// What a batch in the journal says of ranges of keys.
pub(crate) enum Filling {
    /// These are going to be filled.
    Begun(Vec<Run>),
    /// All are.
    Ended,
}

impl FjallEngine {
    /// What of a batch is to be ingested: much of one table, where nothing is yet. `None` for a batch of which
    /// nothing is.
    pub(crate) fn split<'a>(&self, ops: &'a [Op<'a>]) -> Result<Option<Parts<'a>>> {
        let db = self.db();
        Parts::split(ops, self.config.ingested_bytes_min(), |run| {
            db.run(INGEST, |opened| is_empty(run, &db.snapshot(), opened))
        })
    }

    /// Writes what is to be ingested. With the next batch, which is [`Filling::Ended`], it is there.
    pub(crate) fn ingest(&self, writer: &mut Writer, parts: &Parts<'_>) -> Result<()> {
        let mut note = writer.note.next();
        let begun = Filling::Begun(parts.ranges());
        self.commit(&[], Some(&begun), note, Some(PersistMode::SyncData))?;
        note.durable = note.count;
        writer.note = note;
        let db = self.db();
        for (_, ops) in &parts.runs {
            db.run(INGEST, |opened| write(opened, ops))?;
        }
        Ok(())
    }

    /// Empties what was being filled when the process ended.
    pub(crate) fn take_back(&self) -> Result<()> {
        let db = self.db();
        let Some(begun) = db.run(TAKE_BACK, |opened| opened.notes.get(ROW))? else {
            return Ok(());
        };
        let runs = decode_runs(&begun).ok_or_else(|| {
            damaged(TAKE_BACK, "what it says of it is not intact").with_path(&db.dir)
        })?;
        tracing::info!(path = %db.dir.display(), "a large batch was not complete: it is taken back");
        let mut writer = self.write();
        for run in &runs {
            while let Some(rows) = rows_of(&db, run)? {
                writer.note = writer.note.next();
                self.commit(&rows, None, writer.note, None)?;
            }
        }
        writer.note = writer.note.next();
        let mode = Some(PersistMode::SyncData);
        self.commit(&[], Some(&Filling::Ended), writer.note, mode)?;
        writer.note.durable = writer.note.count;
        Ok(())
    }
}

fn is_empty(run: &Run, snapshot: &Snapshot, opened: &Opened) -> fjall::Result<bool> {
    let mut rows = snapshot.range(opened.keyspace(run.table), run.row_keys());
    let first = rows.next().map(fjall::Guard::key).transpose()?;
    Ok(first.is_none())
}

fn write(opened: &Opened, ops: &[Op<'_>]) -> fjall::Result<()> {
    let rows = &opened.rows;
    if rows.tree.active_memtable().size() > MEMTABLE_BYTES_MAX {
        rows.rotate_memtable()?;
    }
    let mut tables = rows.start_ingestion()?;
    for op in ops {
        if let Op::Put { table, key, value } = op {
            tables.write(key.to_row_bytes(*table).as_ref(), *value)?;
        }
    }
    tables.finish()
}

/// Deletes for the first rows of a range; `None` where it is empty.
fn rows_of(db: &Db, run: &Run) -> Result<Option<Vec<Op<'static>>>> {
    let snapshot = db.snapshot();
    let keys = db.run(TAKE_BACK, |opened| {
        let rows = snapshot.range(opened.keyspace(run.table), run.row_keys());
        let keys = rows.take(ROWS_TAKEN_BACK).map(fjall::Guard::key);
        keys.collect::<fjall::Result<Vec<_>>>()
    })?;
    let delete = |key: &fjall::UserKey| {
        let key = Key::from_row_bytes(run.table, key);
        key.map(|key| Op::Delete {
            table: run.table,
            key,
        })
    };
    let ops: Option<Vec<_>> = keys.iter().map(delete).collect();
    let ops =
        ops.ok_or_else(|| damaged(TAKE_BACK, "a key has a wrong length").with_path(&db.dir))?;
    Ok((!ops.is_empty()).then_some(ops))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::path::Path;

    use durum_core::engine::{Durability, Engine as _, Options, Table};

    use super::*;
    use crate::config::{Config, OPTIONS};

    fn open(dir: &Path) -> FjallEngine {
        let given = [("bulk_size", "4KiB")];
        let options = Options::check(crate::NAME, OPTIONS, given).unwrap();
        FjallEngine::open(dir, Config::new(&options)).unwrap()
    }

    fn put(table: Table, key: u64, value: &[u8]) -> Op<'_> {
        let key = Key::from(key);
        Op::Put { table, key, value }
    }

    /// Keys from `first` on, with values of this byte.
    fn batch<'a>(first: u64, value: &'a [u8], note: &'a [u8]) -> Vec<Op<'a>> {
        let mut ops = Vec::new();
        for table in [Table::Objects, Table::Referrers] {
            ops.extend((first..first + 100).map(|key| put(table, key, value)));
        }
        ops.push(put(Table::Irregular, first, b""));
        ops.push(put(Table::Meta, 0, note));
        ops
    }

    fn rows(engine: &FjallEngine, table: Table) -> Vec<(u64, Vec<u8>)> {
        let snapshot = engine.snapshot().unwrap();
        let mut cursor = snapshot.cursor(table, Key::MIN).unwrap();
        let mut rows = Vec::new();
        while let Some((key, value)) = cursor.next().unwrap() {
            rows.push((key.first, value.to_vec()));
        }
        rows
    }

    fn all_rows(engine: &FjallEngine) -> Vec<Vec<(u64, Vec<u8>)>> {
        Table::ALL.map(|table| rows(engine, table)).to_vec()
    }

    fn ingested(engine: &FjallEngine, ops: &[Op<'_>]) -> usize {
        let parts = engine.split(ops).unwrap();
        parts.map_or(0, |parts| parts.runs.len())
    }

    #[test]
    fn what_is_new_and_much_is_ingested() {
        let home = tempfile::tempdir().unwrap();
        let engine = open(home.path());
        let value = [7; 30];
        let first = batch(1000, &value, b"first");
        assert_eq!(ingested(&engine, &first), 2);
        engine.apply(&first, Durability::Process).unwrap();
        assert!(
            engine
                .db()
                .run(INGEST, |it| Ok(it.rows.table_count()))
                .unwrap()
                >= 2
        );
        // The ranges are filled, or there is something in between, or one is to be deleted.
        assert_eq!(ingested(&engine, &first), 0);
        assert_eq!(ingested(&engine, &batch(1099, &value, b"")), 0);
        assert_eq!(ingested(&engine, &batch(901, &value, b"")), 0);
        assert_eq!(ingested(&engine, &batch(900, &value, b"")), 2);
        let mut deletes = batch(1100, &value, b"");
        let (table, key) = deletes[50].row();
        deletes[50] = Op::Delete { table, key };
        assert_eq!(ingested(&engine, &deletes), 1);
        // A batch that is little is not.
        assert_eq!(ingested(&engine, &batch(2000, b"", b"")[100..110]), 0);
        let expected = all_rows(&engine);
        drop(engine);
        assert_eq!(all_rows(&open(home.path())), expected);
    }

    #[test]
    fn a_batch_that_was_not_complete_is_taken_back() {
        let home = tempfile::tempdir().unwrap();
        let engine = open(home.path());
        engine
            .apply(&batch(0, &[1; 30], b"first"), Durability::Power)
            .unwrap();
        engine
            .apply(&batch(200, &[2; 30], b"second"), Durability::Process)
            .unwrap();
        let expected = all_rows(&engine);
        let values = vec![3; 30];
        let third = batch(100, &values, b"third");
        let parts = engine.split(&third).unwrap().unwrap();
        engine.ingest(&mut engine.write(), &parts).unwrap();
        assert_eq!(all_rows(&engine), expected, "it is not seen");
        drop(engine);
        let engine = open(home.path());
        assert_eq!(all_rows(&engine), expected);
        // The same again, whole.
        engine.apply(&third, Durability::Process).unwrap();
        let complete = all_rows(&engine);
        assert_ne!(complete, expected);
        drop(engine);
        assert_eq!(all_rows(&open(home.path())), complete);
    }
}

//! Snapshots: read transactions.

use std::cell::OnceCell;
use std::sync::Arc;

use durum_core::engine::{Cursor, EngineSnapshot, Key, Table};
use durum_core::{Error, ErrorKind, Result};
use redb::{ReadOnlyTable, ReadTransaction, ReadableDatabase as _};

use crate::NAME;
use crate::base::{Base, pair, single};
use crate::cursor::RedbCursor;
use crate::write::array;

const OPEN_CURSOR: &str = "open a cursor";

/// A table of a snapshot.
enum OpenTable {
    Single(ReadOnlyTable<&'static [u8; 8], &'static [u8]>),
    Pair(ReadOnlyTable<&'static [u8; 16], &'static [u8]>),
}

/// A read transaction.
pub(crate) struct RedbSnapshot {
    transaction: ReadTransaction,
    /// Tables that were read from; to find one costs about as much as to read a row.
    tables: [OnceCell<OpenTable>; Table::ALL.len()],
    // Behind what was got from it, so that it is dropped last.
    base: Arc<Base>,
}

impl RedbSnapshot {
    pub(crate) fn open(base: Arc<Base>) -> Result<RedbSnapshot> {
        Ok(RedbSnapshot {
            transaction: base.run("take a snapshot", |db| Ok(db.begin_read()?))?,
            tables: Default::default(),
            base,
        })
    }

    fn table(&self, table: Table, operation: &'static str) -> Result<&OpenTable> {
        let Some(cell) = self.tables.get(table.index()) else {
            return Err(Error::new(ErrorKind::Other, operation)
                .with_engine(NAME)
                .because("there is no such table"));
        };
        if let Some(open) = cell.get() {
            return Ok(open);
        }
        let open = self.base.guard(operation, || {
            Ok(match table.is_pair() {
                false => OpenTable::Single(self.transaction.open_table(single(table.name()))?),
                true => OpenTable::Pair(self.transaction.open_table(pair(table.name()))?),
            })
        })?;
        Ok(cell.get_or_init(|| open))
    }

    fn rows_from<const N: usize>(
        &self,
        rows: &ReadOnlyTable<&'static [u8; N], &'static [u8]>,
        table: Table,
        from: Key,
    ) -> Result<RedbCursor<'_, N>> {
        let from: [u8; N] = array(table, from);
        let range = self
            .base
            .guard(OPEN_CURSOR, || Ok(rows.range::<&[u8; N]>(&from..)?))?;
        Ok(RedbCursor::new(&self.base, table, range))
    }
}

impl EngineSnapshot for RedbSnapshot {
    fn get(&self, table: Table, key: Key, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        const GET: &str = "read a row";
        let rows = self.table(table, GET)?;
        let found = self.base.guard(GET, || {
            let found = match rows {
                OpenTable::Single(rows) => rows.get(&array(table, key))?,
                OpenTable::Pair(rows) => rows.get(&array(table, key))?,
            };
            // Where the page is damaged the value cannot be taken from it: to be found out here, and not
            // where a panic would be that of `visit`.
            if let Some(found) = &found {
                let _bytes = found.value();
            }
            Ok(found)
        })?;
        if let Some(found) = &found {
            visit(found.value());
        }
        Ok(found.is_some())
    }

    fn walk(
        &self,
        table: Table,
        from: Key,
        visit: &mut dyn FnMut(Key, &[u8]) -> bool,
    ) -> Result<bool> {
        match self.table(table, OPEN_CURSOR)? {
            OpenTable::Single(rows) => self.rows_from(rows, table, from)?.walk(visit),
            OpenTable::Pair(rows) => self.rows_from(rows, table, from)?.walk(visit),
        }
    }

    fn cursor<'a>(&'a self, table: Table, from: Key) -> Result<Box<dyn Cursor + 'a>> {
        Ok(match self.table(table, OPEN_CURSOR)? {
            OpenTable::Single(rows) => Box::new(self.rows_from(rows, table, from)?),
            OpenTable::Pair(rows) => Box::new(self.rows_from(rows, table, from)?),
        })
    }
}

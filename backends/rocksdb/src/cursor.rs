//! A cursor over the rows of a table.

use durum_core::Result;
use durum_core::engine::{Cursor, Key, Table};
use rocksdb::DBRawIterator;

use crate::database::Db;
use crate::error::damaged;

const NEXT: &str = "move a cursor";

/// Walks over the rows of a table.
pub(crate) struct RocksdbCursor<'a> {
    db: &'a Db,
    table: Table,
    rows: DBRawIterator<'a>,
    /// Whether it stands on the row that was returned last, and not on the one that comes next.
    moved: bool,
}

impl<'a> RocksdbCursor<'a> {
    /// A cursor whose first row is the one that `rows` stands on.
    pub(crate) fn new(db: &'a Db, table: Table, rows: DBRawIterator<'a>) -> RocksdbCursor<'a> {
        RocksdbCursor {
            db,
            table,
            rows,
            moved: false,
        }
    }
}

impl Cursor for RocksdbCursor<'_> {
    fn next(&mut self) -> Result<Option<(Key, &[u8])>> {
        if self.moved {
            self.rows.next();
        }
        self.moved = true;
        let Some((key, value)) = self.rows.item() else {
            self.db.read(NEXT, self.rows.status())?;
            return Ok(None);
        };
        let key = Key::from_row_bytes(self.table, key)
            .ok_or_else(|| damaged(NEXT, "a key has a wrong length").with_path(&self.db.dir))?;
        Ok(Some((key, value)))
    }
}

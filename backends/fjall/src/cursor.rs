//! A cursor over the rows of a table.

use durum_core::Result;
use durum_core::engine::{Cursor, Key, Table};
use fjall::{Iter, UserValue};

use crate::database::Db;
use crate::error::damaged;

const NEXT: &str = "move a cursor";

/// Walks over the rows of a table.
pub(crate) struct FjallCursor<'a> {
    db: &'a Db,
    table: Table,
    rows: Iter,
    /// The value that was returned last.
    value: Option<UserValue>,
}

impl<'a> FjallCursor<'a> {
    pub(crate) fn new(db: &'a Db, table: Table, rows: Iter) -> FjallCursor<'a> {
        FjallCursor {
            db,
            table,
            rows,
            value: None,
        }
    }
}

impl Cursor for FjallCursor<'_> {
    fn next(&mut self) -> Result<Option<(Key, &[u8])>> {
        let rows = &mut self.rows;
        let mut next = || rows.next().map(fjall::Guard::into_inner).transpose();
        let Some((key, value)) = self.db.run(NEXT, |_| next())? else {
            return Ok(None);
        };
        let key = Key::from_row_bytes(self.table, &key)
            .ok_or_else(|| damaged(NEXT, "a key has a wrong length").with_path(&self.db.dir))?;
        Ok(Some((key, self.value.insert(value))))
    }
}

//! A cursor that lends keys and values from the map.

use std::ops::Bound;

use durum_core::engine::{Cursor, Key, Table};
use durum_core::{Error, Result};
use heed::types::Bytes;
use heed::{RoRange, RoTxn, WithoutTls};

use crate::environment::Rows;
use crate::error::convert;

/// Walks over the rows of a table.
pub(crate) struct LmdbCursor<'a> {
    table: Table,
    /// `None` once the end was reached.
    rows: Option<RoRange<'a, Bytes, Bytes>>,
}

impl<'a> LmdbCursor<'a> {
    pub(crate) fn open(
        transaction: &'a RoTxn<'static, WithoutTls>,
        table: Table,
        rows: Rows,
        from: Key,
    ) -> Result<LmdbCursor<'a>> {
        let from = from.to_bytes(table);
        let range = (Bound::Included(from.as_ref()), Bound::Unbounded);
        let rows = rows
            .range(transaction, &range)
            .map_err(|error| convert(error, "open a cursor"))?;
        Ok(LmdbCursor {
            table,
            rows: Some(rows),
        })
    }

    /// Shows the rows that are left, for as long as `visit` says that it goes on; whether it went on to the
    /// end.
    pub(crate) fn walk(self, visit: &mut dyn FnMut(Key, &[u8]) -> bool) -> Result<bool> {
        for row in self.rows.into_iter().flatten() {
            let (key, value) = row_of(self.table, row)?;
            if !visit(key, value) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// A row that LMDB has read.
#[inline]
fn row_of<'a>(table: Table, row: heed::Result<(&[u8], &'a [u8])>) -> Result<(Key, &'a [u8])> {
    const NEXT: &str = "move a cursor";
    let (key, value) = row.map_err(|error| convert(error, NEXT))?;
    let key = Key::from_bytes(table, key)
        .ok_or_else(|| Error::damaged(NEXT, "a key has a wrong length"))?;
    Ok((key, value))
}

impl Cursor for LmdbCursor<'_> {
    fn next(&mut self) -> Result<Option<(Key, &[u8])>> {
        let Some(row) = self.rows.as_mut().and_then(Iterator::next) else {
            self.rows = None;
            return Ok(None);
        };
        row_of(self.table, row).map(Some)
    }
}

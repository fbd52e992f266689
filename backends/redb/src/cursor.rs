//! A cursor over the rows of a table.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use durum_core::engine::{Cursor, Key, Table};
use durum_core::{Error, Result};
use redb::{AccessGuard, Range};

use crate::NAME;
use crate::base::Base;

const NEXT: &str = "move a cursor";

/// Walks over the rows of a table whose keys have `N` bytes.
pub(crate) struct RedbCursor<'a, const N: usize> {
    base: &'a Base,
    table: Table,
    rows: Range<'static, &'static [u8; N], &'static [u8]>,
    /// The value that was returned last.
    value: Option<AccessGuard<'static, &'static [u8]>>,
}

impl<'a, const N: usize> RedbCursor<'a, N> {
    pub(crate) fn new(
        base: &'a Base,
        table: Table,
        rows: Range<'static, &'static [u8; N], &'static [u8]>,
    ) -> RedbCursor<'a, N> {
        RedbCursor {
            base,
            table,
            rows,
            value: None,
        }
    }

    /// Shows the rows that are left, for as long as `visit` says that it goes on; whether it went on to the
    /// end.
    pub(crate) fn walk(&mut self, visit: &mut dyn FnMut(Key, &[u8]) -> bool) -> Result<bool> {
        let (rows, table) = (&mut self.rows, self.table);
        let (mut more, mut bad_key, mut panic) = (true, false, None);
        self.base.guard(NEXT, || {
            for row in rows {
                let (key, value) = row?;
                let (key, value) = (Key::from_bytes(table, key.value()), value.value());
                let Some(key) = key else {
                    bad_key = true;
                    break;
                };
                // A panic of the caller's says nothing about the database.
                match catch_unwind(AssertUnwindSafe(|| visit(key, value))) {
                    Ok(true) => continue,
                    Ok(false) => {}
                    Err(caught) => panic = Some(caught),
                }
                more = false;
                break;
            }
            Ok(())
        })?;
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
        match bad_key {
            true => Err(damaged_key()),
            false => Ok(more),
        }
    }
}

fn damaged_key() -> Error {
    Error::damaged(NEXT, "a key has a wrong length").with_engine(NAME)
}

impl<const N: usize> Cursor for RedbCursor<'_, N> {
    fn next(&mut self) -> Result<Option<(Key, &[u8])>> {
        let (rows, table) = (&mut self.rows, self.table);
        let row = self.base.guard(NEXT, || {
            let Some((key, value)) = rows.next().transpose()? else {
                return Ok(None);
            };
            // A damaged page makes it panic here, and not below.
            let _bytes = value.value();
            Ok(Some((Key::from_bytes(table, key.value()), value)))
        })?;
        let Some((key, value)) = row else {
            return Ok(None);
        };
        let key = key.ok_or_else(damaged_key)?;
        let value = self.value.insert(value);
        Ok(Some((key, value.value())))
    }
}

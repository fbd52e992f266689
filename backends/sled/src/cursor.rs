//! A cursor over the newest rows.

use durum_core::engine::{Cursor, Key, Table};
use durum_core::{Error, Result};

use crate::NAME;
use crate::tree::{Tree, key_in, tree_key};

const NEXT: &str = "move a cursor";

/// Walks over the rows of a table.
pub(crate) struct SledCursor<'a> {
    tree: &'a Tree,
    table: Table,
    rows: sled::Iter,
    /// The value that was returned last.
    value: sled::IVec,
}

impl<'a> SledCursor<'a> {
    pub(crate) fn open(tree: &'a Tree, table: Table, from: Key) -> Result<SledCursor<'a>> {
        let from = tree_key(table, from);
        let end = vec![table.index() as u8 + 1];
        let rows = tree.run("open a cursor", |tree| Ok(tree.range(from..end)))?;
        Ok(SledCursor {
            tree,
            table,
            rows,
            value: sled::IVec::default(),
        })
    }
}

impl Cursor for SledCursor<'_> {
    fn next(&mut self) -> Result<Option<(Key, &[u8])>> {
        let rows = &mut self.rows;
        let Some((key, value)) = self.tree.run(NEXT, |_| rows.next().transpose())? else {
            return Ok(None);
        };
        let key = key_in(self.table, &key)
            .ok_or_else(|| Error::damaged(NEXT, "a key has a wrong length").with_engine(NAME))?;
        self.value = value;
        Ok(Some((key, &self.value)))
    }
}

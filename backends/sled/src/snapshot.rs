//! A view of the newest rows.

use std::sync::Arc;

use durum_core::Result;
use durum_core::engine::{Cursor, EngineSnapshot, Key, Table};

use crate::cursor::SledCursor;
use crate::tree::{Tree, tree_key};

/// Reads the newest state, row by row.
pub(crate) struct SledSnapshot {
    tree: Arc<Tree>,
}

impl SledSnapshot {
    pub(crate) fn new(tree: Arc<Tree>) -> SledSnapshot {
        SledSnapshot { tree }
    }
}

impl EngineSnapshot for SledSnapshot {
    fn get(&self, table: Table, key: Key, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let key = tree_key(table, key);
        let value = self.tree.run("read a row", |tree| tree.get(key))?;
        if let Some(value) = &value {
            visit(value);
        }
        Ok(value.is_some())
    }

    fn cursor<'a>(&'a self, table: Table, from: Key) -> Result<Box<dyn Cursor + 'a>> {
        Ok(Box::new(SledCursor::open(&self.tree, table, from)?))
    }
}

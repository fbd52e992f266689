//! A view of the newest rows.

use std::sync::Arc;

use durum_core::Result;
use durum_core::engine::{Cursor, EngineSnapshot, Key, Table};

use crate::cursor::MemoryCursor;
use crate::engine::Shared;

/// Reads the newest state, row by row.
pub(crate) struct MemorySnapshot {
    tables: Shared,
}

impl MemorySnapshot {
    pub(crate) fn new(tables: Shared) -> MemorySnapshot {
        MemorySnapshot { tables }
    }
}

impl EngineSnapshot for MemorySnapshot {
    fn get(&self, table: Table, key: Key, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self
            .tables
            .read()
            .table(table)
            .and_then(|rows| rows.get(&key))
            .map(Arc::clone);
        if let Some(value) = &value {
            visit(value);
        }
        Ok(value.is_some())
    }

    fn cursor<'a>(&'a self, table: Table, from: Key) -> Result<Box<dyn Cursor + 'a>> {
        Ok(Box::new(MemoryCursor::new(&self.tables, table, from)))
    }
}

//! A cursor that takes rows in chunks, so that no lock is held between calls.

use std::collections::VecDeque;
use std::sync::Arc;

use durum_core::Result;
use durum_core::engine::{Cursor, Key, Table};

use crate::engine::Shared;

/// Rows taken under one lock. Values are shared, not copied.
const CHUNK_ROWS: usize = 256;

/// Walks over the newest rows.
pub(crate) struct MemoryCursor<'a> {
    tables: &'a Shared,
    table: Table,
    /// The smallest key that is still to be fetched; `None` at the end.
    from: Option<Key>,
    fetched: VecDeque<(Key, Arc<[u8]>)>,
    /// The row that was returned last.
    current: Option<Arc<[u8]>>,
}

impl<'a> MemoryCursor<'a> {
    pub(crate) fn new(tables: &'a Shared, table: Table, from: Key) -> MemoryCursor<'a> {
        MemoryCursor {
            tables,
            table,
            from: Some(from),
            fetched: VecDeque::new(),
            current: None,
        }
    }

    fn fetch(&mut self, from: Key) {
        let tables = self.tables.read();
        let rows = tables.table(self.table).into_iter();
        self.fetched.extend(
            rows.flat_map(|rows| rows.range(from..))
                .take(CHUNK_ROWS)
                .map(|(key, value)| (*key, Arc::clone(value))),
        );
        self.from = match self.fetched.back() {
            Some((last, _)) if self.fetched.len() == CHUNK_ROWS => last.successor(self.table),
            _ => None,
        };
    }
}

impl Cursor for MemoryCursor<'_> {
    fn next(&mut self) -> Result<Option<(Key, &[u8])>> {
        if self.fetched.is_empty()
            && let Some(from) = self.from
        {
            self.fetch(from);
        }
        let Some((key, value)) = self.fetched.pop_front() else {
            return Ok(None);
        };
        Ok(Some((key, self.current.insert(value))))
    }
}

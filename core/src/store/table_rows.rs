//! Reading whole tables below the commits, for maintenance.

use std::fmt;

use super::local::{LocalStore, Shared};
use super::views::View;
use crate::collect::rows::Links;
use crate::engine::{Key, Table};
use crate::error::Result;
use crate::id::Oid;
use crate::record::Record;

/// Rows of a chunk of a walk at most, and bytes of their values.
const CHUNK_ROWS: usize = 2048;
const CHUNK_BYTES: usize = 256 << 10;

/// Walks over the rows of a table as they are now. Chunks are copied, so that no view of the engine
/// stays open while the caller writes.
#[derive(Debug)]
pub(crate) struct TableWalk {
    table: Table,
    from: Option<Key>,
    chunk: std::vec::IntoIter<(Key, Vec<u8>)>,
}

impl TableWalk {
    pub(super) fn new(table: Table) -> TableWalk {
        TableWalk::starting(table, Key::MIN)
    }

    pub(super) fn starting(table: Table, from: Key) -> TableWalk {
        TableWalk {
            table,
            from: Some(from),
            chunk: Vec::new().into_iter(),
        }
    }

    pub(super) fn next(&mut self, shared: &Shared) -> Result<Option<(Key, Vec<u8>)>> {
        loop {
            if let Some(row) = self.chunk.next() {
                return Ok(Some(row));
            }
            let Some(from) = self.from.take() else {
                return Ok(None);
            };
            self.fill(shared, from)?;
        }
    }

    fn fill(&mut self, shared: &Shared, from: Key) -> Result<()> {
        let view = shared.view()?;
        let mut cursor = view.engine()?.cursor(self.table, from)?;
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while let Some((key, value)) = cursor.next()? {
            bytes += value.len();
            rows.push((key, value.to_vec()));
            if rows.len() == CHUNK_ROWS || bytes >= CHUNK_BYTES {
                self.from = key.successor(self.table);
                break;
            }
        }
        self.chunk = rows.into_iter();
        Ok(())
    }
}

/// The rows of a table in the order of their keys, with a view of the next one.
#[derive(Debug)]
pub(crate) struct TableRows<'a> {
    store: &'a LocalStore,
    walk: TableWalk,
    head: Option<(Key, Vec<u8>)>,
}

impl<'a> TableRows<'a> {
    pub(crate) fn new(store: &'a LocalStore, table: Table) -> Result<TableRows<'a>> {
        let mut walk = TableWalk::new(table);
        let head = walk.next(&store.shared)?;
        Ok(TableRows { store, walk, head })
    }

    /// The key of the next row.
    pub(crate) fn peek(&self) -> Option<Key> {
        self.head.as_ref().map(|(key, _)| *key)
    }

    /// The next row, if the first number of its key is below `first`.
    pub(crate) fn below(&mut self, first: u64) -> Result<Option<(Key, Vec<u8>)>> {
        self.take_if(|key| key.first < first)
    }

    /// The next row, if the first number of its key is `first`.
    pub(crate) fn of(&mut self, first: u64) -> Result<Option<(Key, Vec<u8>)>> {
        self.take_if(|key| key.first == first)
    }

    fn take_if(&mut self, wanted: impl FnOnce(Key) -> bool) -> Result<Option<(Key, Vec<u8>)>> {
        if !self.peek().is_some_and(wanted) {
            return Ok(None);
        }
        let next = self.walk.next(&self.store.shared)?;
        Ok(std::mem::replace(&mut self.head, next))
    }
}

/// Reads an anchor after the other, as climbing needs it.
pub(crate) struct AnchorReader<'a> {
    store: &'a LocalStore,
    view: Option<View>,
    reads: u32,
}

impl fmt::Debug for AnchorReader<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("AnchorReader").finish_non_exhaustive()
    }
}

/// Reads through one view of the engine: commits that need all of them closed wait so long at most.
const VIEW_READS_MAX: u32 = 4096;

impl<'a> AnchorReader<'a> {
    pub(crate) fn new(store: &'a LocalStore) -> AnchorReader<'a> {
        AnchorReader {
            store,
            view: None,
            reads: 0,
        }
    }

    /// The anchor of an object: that of its row of referrers, or that of its record. What cannot be
    /// read has none.
    pub(crate) fn anchor(&mut self, oid: Oid) -> Result<Option<Oid>> {
        self.reads += 1;
        if self.reads > VIEW_READS_MAX {
            self.close();
        }
        let view = match &self.view {
            Some(view) => view,
            None => self.view.insert(self.store.shared.view()?),
        };
        let key = Key::from(oid.0);
        let mut anchor = None;
        let row = view.engine()?.get(Table::Referrers, key, &mut |bytes| {
            anchor = Links::decode(oid, bytes)
                .ok()
                .and_then(|links| links.anchor);
        })?;
        if !row {
            view.engine()?.get(Table::Objects, key, &mut |bytes| {
                anchor = Record::parse(oid, bytes)
                    .ok()
                    .and_then(|record| record.anchor);
            })?;
        }
        Ok(anchor)
    }

    /// Gives the view of the engine back, before a longer pause.
    pub(crate) fn close(&mut self) {
        self.view = None;
        self.reads = 0;
    }
}

//! Snapshots.

use std::sync::Arc;

use durum_core::Result;
use durum_core::engine::{Cursor, EngineSnapshot, Key, Table};
use fjall::{Readable as _, Snapshot};

use crate::cursor::FjallCursor;
use crate::database::Db;

/// A view of one moment.
pub(crate) struct FjallSnapshot {
    snapshot: Snapshot,
    db: Arc<Db>,
}

impl FjallSnapshot {
    pub(crate) fn open(db: Arc<Db>) -> FjallSnapshot {
        let snapshot = db.snapshot();
        FjallSnapshot { snapshot, db }
    }
}

impl EngineSnapshot for FjallSnapshot {
    fn get(&self, table: Table, key: Key, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let key = key.to_row_bytes(table);
        let value = self.db.run("read a row", |opened| {
            self.snapshot.get(opened.keyspace(table), key)
        })?;
        if let Some(value) = &value {
            visit(value);
        }
        Ok(value.is_some())
    }

    fn cursor<'a>(&'a self, table: Table, from: Key) -> Result<Box<dyn Cursor + 'a>> {
        let from = from.to_row_bytes(table).as_ref().to_vec();
        let end = vec![table.index() as u8 + 1];
        let rows = self.db.run("open a cursor", |opened| {
            Ok(self.snapshot.range(opened.keyspace(table), from..end))
        })?;
        Ok(Box::new(FjallCursor::new(&self.db, table, rows)))
    }
}

//! Snapshots.

use std::sync::Arc;

use durum_core::Result;
use durum_core::engine::{Cursor, EngineSnapshot, Key, Table};
use rocksdb::{ReadOptions, Snapshot};
use self_cell::self_cell;

use crate::cursor::RocksdbCursor;
use crate::database::Db;

/// A snapshot of RocksDB, which borrows the database.
struct View<'a> {
    snapshot: Snapshot<'a>,
    /// How to read a row of it; to make them costs about as much as to read a row that is cached.
    options: ReadOptions,
}

fn view(db: &Arc<Db>) -> View<'_> {
    let snapshot = db.rocks().snapshot();
    let mut options = ReadOptions::default();
    options.set_snapshot(&snapshot);
    View { snapshot, options }
}

self_cell!(
    /// A snapshot with the database that it borrows.
    struct OwnedView {
        owner: Arc<Db>,
        #[covariant]
        dependent: View,
    }
);

/// A view of one moment.
pub(crate) struct RocksdbSnapshot {
    view: OwnedView,
}

impl RocksdbSnapshot {
    pub(crate) fn open(db: Arc<Db>) -> RocksdbSnapshot {
        RocksdbSnapshot {
            view: OwnedView::new(db, view),
        }
    }
}

impl EngineSnapshot for RocksdbSnapshot {
    fn get(&self, table: Table, key: Key, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let (db, view) = (self.view.borrow_owner(), self.view.borrow_dependent());
        let key = key.to_row_bytes(table);
        let value = db.rocks().get_pinned_opt(key, &view.options);
        let value = db.read("read a row", value)?;
        if let Some(value) = &value {
            visit(value);
        }
        Ok(value.is_some())
    }

    fn cursor<'a>(&'a self, table: Table, from: Key) -> Result<Box<dyn Cursor + 'a>> {
        let (db, view) = (self.view.borrow_owner(), self.view.borrow_dependent());
        let mut options = ReadOptions::default();
        options.set_snapshot(&view.snapshot);
        options.set_iterate_upper_bound(vec![table.index() as u8 + 1]);
        let mut rows = db.rocks().raw_iterator_opt(options);
        rows.seek(from.to_row_bytes(table));
        Ok(Box::new(RocksdbCursor::new(db, table, rows)))
    }
}

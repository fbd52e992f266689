//! redb: rows appended through a cursor in large transactions.

use std::ops::Bound;
use std::path::Path;

use durum_core::Result;
use redb::{Database, Durability, TableDefinition};

use crate::{Load, Rows, failed};

const OBJECTS: TableDefinition<'_, &[u8; 8], &[u8]> = TableDefinition::new("objects");

/// As Durum's backend sets it.
const CACHE_BYTES: usize = 64 << 20;

/// One table of a database whose commits are synced at the end.
pub(crate) struct RedbLoad {
    db: Database,
}

impl RedbLoad {
    pub(crate) fn create(dir: &Path) -> Result<RedbLoad> {
        let db = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(dir.join("objects.redb"))
            .map_err(failed)?;
        Ok(RedbLoad { db })
    }
}

impl Load for RedbLoad {
    fn write(&mut self, rows: &Rows) -> Result<()> {
        let mut transaction = self.db.begin_write().map_err(failed)?;
        // What does not fit in half of the cache is written all the same, only not synced.
        transaction
            .set_durability(Durability::None)
            .map_err(failed)?;
        {
            let mut table = transaction.open_table(OBJECTS).map_err(failed)?;
            let mut end = table
                .upper_bound_mut(Bound::<&[u8; 8]>::Unbounded)
                .map_err(failed)?;
            for (key, value) in rows.iter() {
                end.insert_before(&key.to_be_bytes(), value)
                    .map_err(failed)?;
            }
            end.close().map_err(failed)?;
        }
        transaction.commit().map_err(failed)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        // Closing makes all of it durable, and cuts off what was not needed.
        self.db.close().map_err(failed)
    }
}

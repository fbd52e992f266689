//! redb: rows appended through a cursor in large transactions, then read in read transactions.

use std::ops::Bound;
use std::ops::Range;
use std::path::Path;

use durum_core::Result;
use redb::{Durability, ReadOnlyTable, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use crate::{Database, Load, Reader, Rows, failed};

const OBJECTS: TableDefinition<'static, &[u8; 8], &[u8]> = TableDefinition::new("objects");
const FILE: &str = "objects.redb";

/// As Durum's backend sets it.
const CACHE_BYTES: usize = 64 << 20;

/// One table of a database whose commits are synced at the end.
pub(crate) struct RedbLoad {
    db: redb::Database,
}

impl RedbLoad {
    pub(crate) fn create(dir: &Path) -> Result<RedbLoad> {
        let db = redb::Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(dir.join(FILE))
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

/// The same, opened again.
pub(crate) struct RedbDatabase {
    db: redb::Database,
}

impl RedbDatabase {
    pub(crate) fn open(dir: &Path) -> Result<RedbDatabase> {
        let db = redb::Database::builder()
            .set_cache_size(CACHE_BYTES)
            .open(dir.join(FILE))
            .map_err(failed)?;
        Ok(RedbDatabase { db })
    }

    fn table(&self) -> Result<RedbReader> {
        let transaction = self.db.begin_read().map_err(failed)?;
        // The table keeps the transaction open.
        let rows = transaction.open_table(OBJECTS).map_err(failed)?;
        Ok(RedbReader { rows })
    }
}

impl Database for RedbDatabase {
    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        Ok(Box::new(self.table()?))
    }

    fn get(&self, key: u64, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        self.table()?.get(key, visit)
    }

    fn write(&self, rows: &Rows, deletes: &[u64], durable: bool) -> Result<()> {
        let mut transaction = self.db.begin_write().map_err(failed)?;
        let durability = match durable {
            true => Durability::Immediate,
            false => Durability::None,
        };
        transaction.set_durability(durability).map_err(failed)?;
        {
            let mut table = transaction.open_table(OBJECTS).map_err(failed)?;
            for (key, value) in rows.iter() {
                table.insert(&key.to_be_bytes(), value).map_err(failed)?;
            }
            for key in deletes {
                table.remove(&key.to_be_bytes()).map_err(failed)?;
            }
        }
        transaction.commit().map_err(failed)
    }
}

struct RedbReader {
    rows: ReadOnlyTable<&'static [u8; 8], &'static [u8]>,
}

impl Reader for RedbReader {
    fn get(&mut self, key: u64, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.rows.get(&key.to_be_bytes()).map_err(failed)?;
        Ok(value.map(|value| visit(value.value())).is_some())
    }

    fn scan(&mut self, visit: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        for row in self.rows.iter().map_err(failed)? {
            let (key, value) = row.map_err(failed)?;
            visit(u64::from_be_bytes(*key.value()), value.value());
        }
        Ok(())
    }

    fn range(&mut self, keys: Range<u64>, visit: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        let (from, to) = (keys.start.to_be_bytes(), keys.end.to_be_bytes());
        for row in self.rows.range::<&[u8; 8]>(&from..&to).map_err(failed)? {
            let (key, value) = row.map_err(failed)?;
            visit(u64::from_be_bytes(*key.value()), value.value());
        }
        Ok(())
    }
}

//! fjall: rows ingested as finished tables, then read in snapshots.

use std::ops::Range;
use std::path::Path;

use durum_core::Result;
use fjall::{Keyspace, KeyspaceCreateOptions, PersistMode, Readable as _, Snapshot};

use crate::{Database, Load, Reader, Rows, failed, key_of};

/// As Durum's backend sets them.
const CACHE_BYTES: u64 = 32 << 20;
const MEMTABLE_BYTES: u64 = 16 << 20;
const THREADS: usize = 2;

fn open(dir: &Path) -> Result<FjallDatabase> {
    let database = fjall::Database::builder(dir)
        .cache_size(CACHE_BYTES)
        .worker_threads(THREADS)
        .open()
        .map_err(failed)?;
    let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
    let rows = database.keyspace("objects", options).map_err(failed)?;
    Ok(FjallDatabase { rows, database })
}

/// One keyspace of a new database.
pub(crate) struct FjallLoad {
    database: FjallDatabase,
}

impl FjallLoad {
    pub(crate) fn create(dir: &Path) -> Result<FjallLoad> {
        Ok(FjallLoad {
            database: open(dir)?,
        })
    }
}

impl Load for FjallLoad {
    fn write(&mut self, rows: &Rows) -> Result<()> {
        // Each ingestion ends with a table, which is synced.
        let mut tables = self.database.rows.start_ingestion().map_err(failed)?;
        for (key, value) in rows.iter() {
            tables.write(key.to_be_bytes(), value).map_err(failed)?;
        }
        tables.finish().map_err(failed)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let synced = self.database.database.persist(PersistMode::SyncAll);
        synced.map_err(failed)
    }
}

/// The same, opened again.
pub(crate) struct FjallDatabase {
    rows: Keyspace,
    database: fjall::Database,
}

impl FjallDatabase {
    pub(crate) fn open(dir: &Path) -> Result<FjallDatabase> {
        open(dir)
    }
}

impl Database for FjallDatabase {
    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        Ok(Box::new(FjallReader {
            snapshot: self.database.snapshot(),
            rows: &self.rows,
        }))
    }

    fn get(&self, key: u64, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.rows.get(key.to_be_bytes()).map_err(failed)?;
        Ok(value.map(|value| visit(&value)).is_some())
    }

    fn write(&self, rows: &Rows, deletes: &[u64], durable: bool) -> Result<()> {
        let mode = durable.then_some(PersistMode::SyncData);
        let mut batch = self.database.batch().durability(mode);
        for (key, value) in rows.iter() {
            batch.insert(&self.rows, key.to_be_bytes(), value);
        }
        for key in deletes {
            batch.remove(&self.rows, key.to_be_bytes());
        }
        batch.commit().map_err(failed)
    }
}

struct FjallReader<'a> {
    snapshot: Snapshot,
    rows: &'a Keyspace,
}

impl Reader for FjallReader<'_> {
    fn get(&mut self, key: u64, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.snapshot.get(self.rows, key.to_be_bytes());
        Ok(value.map_err(failed)?.map(|value| visit(&value)).is_some())
    }

    fn scan(&mut self, visit: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        for row in self.snapshot.iter(self.rows) {
            let (key, value) = row.into_inner().map_err(failed)?;
            visit(key_of(&key)?, &value);
        }
        Ok(())
    }

    fn range(&mut self, keys: Range<u64>, visit: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        let keys = keys.start.to_be_bytes()..keys.end.to_be_bytes();
        for row in self.snapshot.range(self.rows, keys) {
            let (key, value) = row.into_inner().map_err(failed)?;
            visit(key_of(&key)?, &value);
        }
        Ok(())
    }
}

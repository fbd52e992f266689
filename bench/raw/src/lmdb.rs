//! LMDB through heed: rows appended in large transactions, then read in place.

use std::ops::{Bound, Range};
use std::path::Path;
use std::sync::Mutex;

use durum_core::Result;
use heed::types::Bytes;
use heed::{
    CommitOrAbort, Env, EnvFlags, EnvOpenOptions, FlagSetMode, PutFlags, RoTxn, RwTxn, WithoutTls,
};

use crate::{Database, Load, Reader, Rows, failed, key_of, lock};

type Table = heed::Database<'static, Bytes, Bytes>;

/// Address space for the map, which takes nothing until it is used.
const MAP_BYTES: usize = 1 << 42;

const TABLE: &str = "objects";

#[allow(unsafe_code, reason = "heed asks for it to map a file, and for flags")]
fn environment(dir: &Path, flags: EnvFlags) -> Result<Env<WithoutTls>> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(MAP_BYTES).max_dbs(1);
    // SAFETY: only flags about syncing are given, of which nothing in this process depends.
    unsafe { options.flags(flags) };
    // SAFETY: the directory was made by a load and is its own, so that nobody else has the file open,
    // changes it or cuts it.
    unsafe { options.open(dir) }.map_err(failed)
}

/// One database of an environment that syncs when it is told to.
pub(crate) struct LmdbLoad {
    env: Env<WithoutTls>,
    rows: Table,
}

impl LmdbLoad {
    pub(crate) fn create(dir: &Path) -> Result<LmdbLoad> {
        // Nobody relies on what a loss of power would leave: there is one sync, at the end.
        let env = environment(dir, EnvFlags::NO_SYNC)?;
        let transaction = env.write_txn().map_err(failed)?;
        let rows = env
            .create_databases_and_commit(transaction, |opener, transaction| {
                let rows = opener.create_database(transaction, Some(TABLE));
                heed::Result::Ok(CommitOrAbort::<_, ()>::Commit(rows))
            })
            .map_err(failed)?
            .commit()
            .ok_or_else(|| failed("the table was not created"))?
            .map_err(failed)?;
        Ok(LmdbLoad { env, rows })
    }
}

impl Load for LmdbLoad {
    fn write(&mut self, rows: &Rows) -> Result<()> {
        let mut transaction = self.env.write_txn().map_err(failed)?;
        for (key, value) in rows.iter() {
            self.rows
                .put_with_flags(
                    &mut transaction,
                    PutFlags::APPEND,
                    &key.to_be_bytes(),
                    value,
                )
                .map_err(failed)?;
        }
        transaction.commit().map_err(failed)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.env.force_sync().map_err(failed)
    }
}

/// The same, opened again.
pub(crate) struct LmdbDatabase {
    env: Env<WithoutTls>,
    rows: Table,
    /// Whether a transaction is synced when it is committed.
    syncs: Mutex<bool>,
}

impl LmdbDatabase {
    pub(crate) fn open(dir: &Path) -> Result<LmdbDatabase> {
        let env = environment(dir, EnvFlags::empty())?;
        let transaction = env.read_txn().map_err(failed)?;
        let rows = env
            .open_databases_and_commit(transaction, |opener, transaction| {
                let rows = opener.open_database(transaction, Some(TABLE));
                heed::Result::Ok(CommitOrAbort::<_, ()>::Commit(rows))
            })
            .map_err(failed)?
            .commit()
            .ok_or_else(|| failed("the table was not opened"))?
            .map_err(failed)?
            .ok_or_else(|| failed("there is no table"))?;
        Ok(LmdbDatabase {
            env,
            rows,
            syncs: Mutex::new(true),
        })
    }

    #[allow(unsafe_code, reason = "heed asks for it to set a flag")]
    fn transact(
        &self,
        durable: bool,
        change: impl FnOnce(&mut RwTxn<'_>) -> heed::Result<()>,
    ) -> Result<()> {
        let mut syncs = lock(&self.syncs);
        if *syncs != durable {
            let mode = match durable {
                true => FlagSetMode::Disable,
                false => FlagSetMode::Enable,
            };
            // SAFETY: the lock is held, so that no other thread sets flags, or writes.
            unsafe { self.env.set_flags(EnvFlags::NO_SYNC, mode) }.map_err(failed)?;
            *syncs = durable;
        }
        let mut transaction = self.env.write_txn().map_err(failed)?;
        change(&mut transaction).map_err(failed)?;
        transaction.commit().map_err(failed)
    }
}

impl Database for LmdbDatabase {
    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        Ok(Box::new(LmdbReader {
            transaction: self.env.read_txn().map_err(failed)?,
            rows: self.rows,
        }))
    }

    fn get(&self, key: u64, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let transaction = self.env.read_txn().map_err(failed)?;
        let value = self.rows.get(&transaction, &key.to_be_bytes());
        Ok(value.map_err(failed)?.map(visit).is_some())
    }

    fn write(&self, rows: &Rows, deletes: &[u64], durable: bool) -> Result<()> {
        self.transact(durable, |transaction| {
            for (key, value) in rows.iter() {
                self.rows.put(transaction, &key.to_be_bytes(), value)?;
            }
            for key in deletes {
                self.rows.delete(transaction, &key.to_be_bytes())?;
            }
            Ok(())
        })
    }
}

struct LmdbReader<'a> {
    transaction: RoTxn<'a, WithoutTls>,
    rows: Table,
}

impl Reader for LmdbReader<'_> {
    fn get(&mut self, key: u64, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.rows.get(&self.transaction, &key.to_be_bytes());
        Ok(value.map_err(failed)?.map(visit).is_some())
    }

    fn scan(&mut self, visit: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        let rows = self.rows.iter(&self.transaction).map_err(failed)?;
        for row in rows.move_between_keys() {
            let (key, value) = row.map_err(failed)?;
            visit(key_of(key)?, value);
        }
        Ok(())
    }

    fn range(&mut self, keys: Range<u64>, visit: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        let (from, to) = (keys.start.to_be_bytes(), keys.end.to_be_bytes());
        let bounds: (Bound<&[u8]>, Bound<&[u8]>) = (Bound::Included(&from), Bound::Excluded(&to));
        let rows = self
            .rows
            .range(&self.transaction, &bounds)
            .map_err(failed)?;
        for row in rows.move_between_keys() {
            let (key, value) = row.map_err(failed)?;
            visit(key_of(key)?, value);
        }
        Ok(())
    }
}

//! LMDB through heed: rows appended in large transactions.

use std::path::Path;

use durum_core::Result;
use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions, PutFlags, WithoutTls};

use crate::{Load, Rows, failed};

/// Address space for the map, which takes nothing until it is used.
const MAP_BYTES: usize = 1 << 42;

/// One database of an environment that syncs when it is told to.
pub(crate) struct LmdbLoad {
    env: Env<WithoutTls>,
    rows: Database<'static, Bytes, Bytes>,
}

impl LmdbLoad {
    #[allow(unsafe_code, reason = "heed asks for it to map a file")]
    pub(crate) fn create(dir: &Path) -> Result<LmdbLoad> {
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(MAP_BYTES).max_dbs(1);
        // SAFETY: nobody relies on what a loss of power would leave: there is one sync, at the end.
        unsafe { options.flags(EnvFlags::NO_SYNC) };
        // SAFETY: the directory was just created and is this load's own, so that nobody else has the
        // file open, changes it or cuts it.
        let env = unsafe { options.open(dir) }.map_err(failed)?;
        let transaction = env.write_txn().map_err(failed)?;
        let rows = env
            .create_databases_and_commit(transaction, |opener, transaction| {
                let rows = opener.create_database(transaction, Some("objects"));
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

//! SQLite through rusqlite: prepared inserts in large transactions.

use std::fs::File;
use std::path::{Path, PathBuf};

use durum_core::{IoResultExt as _, Result};
use rusqlite::{Connection, params};

use crate::{DOING, Load, Rows, failed};

/// As Durum's backend sets it, but that it syncs only when the log is copied into the database.
const SETTINGS: &str = "
    PRAGMA page_size = 4096;
    PRAGMA auto_vacuum = INCREMENTAL;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA cache_size = -8192;
    PRAGMA wal_autocheckpoint = 4096;
    CREATE TABLE objects (oid INTEGER PRIMARY KEY, record BLOB NOT NULL);
";

/// One table of a database with a write-ahead log.
pub(crate) struct SqliteLoad {
    connection: Connection,
    path: PathBuf,
}

impl SqliteLoad {
    pub(crate) fn create(dir: &Path) -> Result<SqliteLoad> {
        let path = dir.join("objects.sqlite");
        let connection = Connection::open(&path).map_err(failed)?;
        connection.execute_batch(SETTINGS).map_err(failed)?;
        Ok(SqliteLoad { connection, path })
    }
}

impl Load for SqliteLoad {
    fn write(&mut self, rows: &Rows) -> Result<()> {
        let transaction = self.connection.transaction().map_err(failed)?;
        {
            let mut insert = transaction
                .prepare_cached("INSERT INTO objects (oid, record) VALUES (?1, ?2)")
                .map_err(failed)?;
            for (key, value) in rows.iter() {
                let key = i64::try_from(key).map_err(failed)?;
                insert.execute(params![key, value]).map_err(failed)?;
            }
        }
        transaction.commit().map_err(failed)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        // The last connection copies the log into the database when it is closed, and syncs that.
        self.connection
            .close()
            .map_err(|(_, error)| failed(error))?;
        File::open(&self.path)
            .and_then(|file| file.sync_all())
            .during(DOING, &self.path)
    }
}

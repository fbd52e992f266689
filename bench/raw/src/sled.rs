//! sled: batches on one tree.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use durum_core::{IoResultExt as _, Result};
use sled::{Batch, Config, Db, Mode};

use crate::{DOING, Database, Load, Reader, Rows, failed, key_of};

/// Until a batch ends sled keeps what it replaced: larger ones are no quicker, and take more memory.
const BATCH_BYTES: usize = 256 << 10;

const UNLOCK_MAX: Duration = Duration::from_secs(5);

/// A database with the settings of Durum's backend.
pub(crate) struct SledLoad {
    db: Db,
    dir: PathBuf,
}

impl SledLoad {
    pub(crate) fn create(dir: &Path) -> Result<SledLoad> {
        Ok(SledLoad {
            db: open(dir)?,
            dir: dir.to_owned(),
        })
    }
}

fn open(dir: &Path) -> Result<Db> {
    let config = Config::new()
        .path(dir)
        .cache_capacity(32 << 20)
        .mode(Mode::LowSpace)
        .flush_every_ms(None);
    // sled's threads hold the lock for a moment after a database was closed.
    let begin = Instant::now();
    loop {
        match config.open() {
            Err(error) if is_lock(&error) && begin.elapsed() < UNLOCK_MAX => {
                std::thread::sleep(Duration::from_millis(2));
            }
            opened => return opened.map_err(failed),
        }
    }
}

fn is_lock(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.to_string().contains("lock"))
}

/// sled itself syncs nothing to the device.
fn sync(dir: &Path) -> Result<()> {
    let path = dir.join("db");
    File::open(&path)
        .and_then(|file| file.sync_data())
        .during(DOING, &path)
}

impl Load for SledLoad {
    fn write(&mut self, rows: &Rows) -> Result<()> {
        let (mut batch, mut bytes) = (Batch::default(), 0);
        for (key, value) in rows.iter() {
            batch.insert(&key.to_be_bytes(), value);
            bytes += value.len();
            if bytes >= BATCH_BYTES {
                self.db
                    .apply_batch(std::mem::take(&mut batch))
                    .map_err(failed)?;
                bytes = 0;
            }
        }
        self.db.apply_batch(batch).map_err(failed)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.db.flush().map_err(failed)?;
        drop(self.db);
        sync(&self.dir)
    }
}

/// The same, opened again.
pub(crate) struct SledDatabase {
    db: Db,
    dir: PathBuf,
}

impl SledDatabase {
    pub(crate) fn open(dir: &Path) -> Result<SledDatabase> {
        Ok(SledDatabase {
            db: open(dir)?,
            dir: dir.to_owned(),
        })
    }
}

impl Database for SledDatabase {
    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        Ok(Box::new(SledReader { db: &self.db }))
    }

    fn get(&self, key: u64, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.db.get(key.to_be_bytes()).map_err(failed)?;
        Ok(value.map(|value| visit(&value)).is_some())
    }

    fn write(&self, rows: &Rows, deletes: &[u64], durable: bool) -> Result<()> {
        let mut batch = Batch::default();
        for (key, value) in rows.iter() {
            batch.insert(&key.to_be_bytes(), value);
        }
        for key in deletes {
            batch.remove(&key.to_be_bytes());
        }
        self.db.apply_batch(batch).map_err(failed)?;
        if durable {
            self.db.flush().map_err(failed)?;
            sync(&self.dir)?;
        }
        Ok(())
    }
}

/// Reads the newest rows: sled has no snapshots.
struct SledReader<'a> {
    db: &'a Db,
}

impl Reader for SledReader<'_> {
    fn get(&mut self, key: u64, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.db.get(key.to_be_bytes()).map_err(failed)?;
        Ok(value.map(|value| visit(&value)).is_some())
    }

    fn scan(&mut self, visit: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        for row in self.db.iter() {
            let (key, value) = row.map_err(failed)?;
            visit(key_of(&key)?, &value);
        }
        Ok(())
    }

    fn range(&mut self, keys: Range<u64>, visit: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        let keys = keys.start.to_be_bytes()..keys.end.to_be_bytes();
        for row in self.db.range(keys) {
            let (key, value) = row.map_err(failed)?;
            visit(key_of(&key)?, &value);
        }
        Ok(())
    }
}

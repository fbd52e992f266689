//! sled: batches on one tree.

use std::fs::File;
use std::path::{Path, PathBuf};

use durum_core::{IoResultExt as _, Result};
use sled::{Batch, Config, Db, Mode};

use crate::{DOING, Load, Rows, failed};

/// Until a batch ends sled keeps what it replaced: larger ones are no quicker, and take more memory.
const BATCH_BYTES: usize = 256 << 10;

/// A database with the settings of Durum's backend.
pub(crate) struct SledLoad {
    db: Db,
    dir: PathBuf,
}

impl SledLoad {
    pub(crate) fn create(dir: &Path) -> Result<SledLoad> {
        let db = Config::new()
            .path(dir)
            .cache_capacity(32 << 20)
            .mode(Mode::LowSpace)
            .flush_every_ms(None)
            .open()
            .map_err(failed)?;
        Ok(SledLoad {
            db,
            dir: dir.to_owned(),
        })
    }
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
        // sled itself syncs nothing to the device.
        let path = self.dir.join("db");
        File::open(&path)
            .and_then(|file| file.sync_all())
            .during(DOING, &path)
    }
}

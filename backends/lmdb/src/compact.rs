//! Compaction: the file is copied without its free pages, and the copy takes its place.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use durum_core::engine::Compact;
use durum_core::{Error, ErrorKind, IoResultExt as _, Result};
use heed::CompactionOption;

use crate::engine::{LmdbEngine, Writer};
use crate::environment::{Environment, FILE, sync_dir};
use crate::error::convert;
use crate::reclaim;

/// The copy, until it takes the data file's name.
const COPY: &str = "data.mdb.compact";

const COMPACT: &str = "compact the database";

impl Compact for LmdbEngine {
    fn compact(&self) -> Result<u64> {
        let before = reclaim::stats(self)?.disk_bytes;
        {
            let mut writer = self.write();
            let mut inside = self.gate.enter();
            inside.refuse_if_read(COMPACT)?;
            let environment = Arc::clone(inside.environment(COMPACT)?);
            let copy = self.dir.join(COPY);
            if let Err(error) = write_copy(&environment, &copy) {
                remove_leftover(&self.dir)?;
                return Err(error);
            }
            // With the last handle the environment is closed; from here on an error leaves it so.
            drop(environment);
            inside.environment = None;
            let path = self.dir.join(FILE);
            fs::rename(&copy, &path).during(COMPACT, &path)?;
            sync_dir(&self.dir)?;
            let environment = Environment::open(&self.dir, &self.config)?;
            inside.environment = Some(Arc::new(environment));
            // A new environment has no flags, and the copy was synced.
            *writer = Writer::default();
        }
        let after = reclaim::stats(self)?.disk_bytes;
        Ok(before.saturating_sub(after))
    }
}

fn write_copy(environment: &Environment, copy: &Path) -> Result<()> {
    let file = environment
        .env
        .copy_to_path(copy, CompactionOption::Enabled)
        .map_err(|error| convert(error, COMPACT).with_path(copy))?;
    file.sync_all().during(COMPACT, copy)
}

/// Removes the copy that an interrupted compaction left.
pub(crate) fn remove_leftover(dir: &Path) -> Result<()> {
    let copy = dir.join(COPY);
    match fs::remove_file(&copy) {
        Ok(()) => sync_dir(dir),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io(error, COMPACT).with_path(copy)),
    }
}

/// Whether nothing more fits on the disk. LMDB reports a write that was cut short as an I/O error,
/// and does not say that the disk is full.
pub(crate) fn disk_is_full(dir: &Path) -> bool {
    let probe = dir.join(COPY);
    let written = fs::write(&probe, vec![0; PROBE_BYTES]);
    let _left_for_the_next_opening = fs::remove_file(&probe);
    written.is_err_and(|error| Error::io(error, COMPACT).kind() == ErrorKind::Full)
}

/// More than a full disk has left where the write of a page did not fit.
const PROBE_BYTES: usize = 1 << 20;

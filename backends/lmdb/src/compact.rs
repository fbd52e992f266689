//! Compaction: the file is copied without its free pages, and the copy takes its place.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use durum_core::engine::{Compact, compare_rows, watch_file};
use durum_core::{Error, ErrorKind, IoResultExt as _, Result};
use heed::CompactionOption;

use crate::NAME;
use crate::engine::{Gate, LmdbEngine, Writer};
use crate::environment::{Environment, FILE, sync_dir};
use crate::error::convert;
use crate::reclaim;
use crate::snapshot::LmdbSnapshot;

/// The copy, until it takes the data file's name.
const COPY: &str = "data.mdb.compact";

const COMPACT: &str = "compact the database";

impl Compact for LmdbEngine {
    fn rewrite(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
        let mut writer = self.write();
        writer.copied = false;
        // The gate stays open: copying and comparing are reading, as that of snapshots.
        let environment = Arc::clone(self.gate.enter().environment(COMPACT)?);
        remove_leftover(&self.dir)?;
        let pages = environment.pages()?;
        let bytes = pages.used * pages.bytes_each;
        let copy = self.dir.join(COPY);
        progress(0, 2 * bytes);
        watch_file(
            &copy,
            &mut |done| progress(done.min(bytes), 2 * bytes),
            || write_copy(&environment, &copy),
        )?;
        let original = LmdbSnapshot::open(&self.gate)?;
        let opened = Environment::open_copy(&copy, &self.config)?;
        let copied = LmdbSnapshot::open(&Gate::new(opened))?;
        compare_rows(&original, &copied, &mut |done| {
            progress(bytes + done.min(bytes), 2 * bytes);
        })
        .map_err(|error| error.with_engine(NAME).with_path(&copy))?;
        progress(2 * bytes, 2 * bytes);
        writer.copied = true;
        Ok(())
    }

    fn swap(&self) -> Result<u64> {
        let before = reclaim::stats(self)?.disk_bytes;
        {
            let mut writer = self.write();
            if !writer.copied {
                return Err(Error::new(ErrorKind::Usage, COMPACT)
                    .with_engine(NAME)
                    .because("there is no copy that is up to date"));
            }
            let mut inside = self.gate.enter();
            inside.refuse_if_read(COMPACT)?;
            let path = self.dir.join(FILE);
            // What the environment has open and mapped is the old file, under whichever name.
            fs::rename(self.dir.join(COPY), &path).during(COMPACT, &path)?;
            writer.copied = false;
            // With the last handle the environment is closed; from here on an error leaves it so.
            inside.environment = None;
            sync_dir(&self.dir).map_err(|error| error.with_kind(ErrorKind::Io))?;
            let environment = Environment::open(&self.dir, &self.config)?;
            inside.environment = Some(Arc::new(environment));
            // A new environment has no flags, and the copy was synced.
            *writer = Writer::default();
        }
        let after = reclaim::stats(self)?.disk_bytes;
        Ok(before.saturating_sub(after))
    }

    fn discard(&self) -> Result<()> {
        self.write().copied = false;
        remove_leftover(&self.dir)
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

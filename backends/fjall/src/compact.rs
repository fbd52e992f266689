//! Compaction: all rows go into a new database beside, which then takes the old one's part.
//!
//! fjall can merge all tables within the database. That gives back what the journals hold no more than its
//! threads do, and cannot be compared with the original before it counts.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use durum_core::engine::{Compact, disk_bytes_below};
use durum_core::{Error, ErrorKind, Result};
use fjall::{Readable as _, Snapshot, UserKey, UserValue};

use crate::NAME;
use crate::database::{Db, Opened};
use crate::engine::FjallEngine;
use crate::place::{sync, sync_all};

const COMPACT: &str = "compact the database";

/// How often it is told how far it is.
const REPORT_BYTES: u64 = 1 << 20;

impl Compact for FjallEngine {
    fn rewrite(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
        self.refuse_if_failed(COMPACT)?;
        self.discard()?;
        let mut writer = self.write();
        let original = self.db();
        let dir = writer.current.next(&self.dir);
        // What is in memory only is not counted, but at least it is told that something was done.
        let bytes = disk_bytes_below(&original.dir)?.max(1);
        progress(0, 2 * bytes);
        let copy = Db::create(&dir, &self.config)?;
        copy_rows(&original, &copy, &mut |done| {
            progress(done.min(bytes), 2 * bytes);
        })?;
        drop(copy);
        sync_all(&dir)?;
        // Opened again, so that it is compared as it will be found.
        let copy = Db::open(&dir, &self.config)?;
        compare(&original, &copy, &mut |done| {
            progress(bytes + done.min(bytes), 2 * bytes);
        })?;
        sync_all(&dir)?;
        sync(&self.dir)?;
        progress(2 * bytes, 2 * bytes);
        writer.copied = Some(copy);
        Ok(())
    }

    fn swap(&self) -> Result<u64> {
        let mut writer = self.write();
        if writer.copied.is_none() {
            return Err(Error::new(ErrorKind::Usage, COMPACT)
                .with_engine(NAME)
                .because("there is no copy that is up to date"));
        }
        let before = disk_bytes_below(&self.dir)?;
        // No snapshot holds it, so that this closes it.
        drop(self.exchange(&mut writer, COMPACT)?);
        // What this leaves counts for nothing, and the next opening removes it.
        let _left = writer.current.remove_others(&self.dir);
        Ok(before.saturating_sub(disk_bytes_below(&self.dir)?))
    }

    fn discard(&self) -> Result<()> {
        if self.refuse_if_failed(COMPACT).is_err() {
            // The copy may be what counts, if it was being named when that failed.
            return Ok(());
        }
        let mut writer = self.write();
        writer.copied = None;
        let dir = writer.current.next(&self.dir);
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io(error, COMPACT).with_engine(NAME).with_path(dir))
            }
            Err(_) => Ok(()),
            Ok(()) => sync(&self.dir),
        }
    }
}

/// Visits all rows in order of their keys, this backend's own included.
fn each_row(db: &Db, mut visit: impl FnMut(UserKey, UserValue) -> Result<()>) -> Result<()> {
    let snapshot = db.snapshot();
    let mut rows = db.run(COMPACT, |opened| Ok(iter(&snapshot, opened)))?;
    let mut next = || rows.next().map(fjall::Guard::into_inner).transpose();
    while let Some((key, value)) = db.run(COMPACT, |_| next())? {
        visit(key, value)?;
    }
    Ok(())
}

/// Keyspace by keyspace. Those of the second one have the largest keys.
fn iter(snapshot: &Snapshot, opened: &Opened) -> impl Iterator<Item = fjall::Guard> + use<> {
    let keyspaces: Vec<_> = opened.keyspaces().map(|it| snapshot.iter(it)).collect();
    keyspaces.into_iter().flatten()
}

/// Writes all rows as finished tables, without the journal.
fn copy_rows(original: &Arc<Db>, copy: &Db, report: &mut dyn FnMut(u64)) -> Result<()> {
    let mut told = Told::new(report);
    let mut failed = None;
    let written = copy.run(COMPACT, |opened| {
        let mut rows = opened.rows.start_ingestion()?;
        let mut notes = opened.notes.start_ingestion()?;
        let read = each_row(original, |key, value| {
            told.add(&key, &value);
            let written = match opened.keyspace_of(&key) == &opened.rows {
                true => rows.write(key, value),
                false => notes.write(key, value),
            };
            written.map_err(|error| not_written(error, &copy.dir))
        });
        match read {
            Ok(()) => rows.finish().and_then(|()| notes.finish()),
            Err(error) => {
                failed = Some(error);
                Ok(())
            }
        }
    });
    failed.map_or(written, Err)
}

fn not_written(error: fjall::Error, dir: &Path) -> Error {
    match crate::error::guarded::<()>(dir, COMPACT, || Err(error)) {
        Err(error) => error,
        Ok(()) => Error::new(ErrorKind::Other, COMPACT),
    }
}

/// Makes sure that both hold the same rows.
fn compare(original: &Db, copy: &Db, report: &mut dyn FnMut(u64)) -> Result<()> {
    let snapshot = copy.snapshot();
    let mut rows = copy.run(COMPACT, |opened| Ok(iter(&snapshot, opened)))?;
    let mut next = || {
        let mut next = || rows.next().map(fjall::Guard::into_inner).transpose();
        copy.run(COMPACT, |_| next())
    };
    let differs = || {
        Error::new(ErrorKind::Mismatch, COMPACT)
            .with_engine(NAME)
            .with_path(&copy.dir)
            .because("the copy differs from the original")
    };
    let mut told = Told::new(report);
    each_row(original, |key, value| {
        told.add(&key, &value);
        match next()? == Some((key, value)) {
            true => Ok(()),
            false => Err(differs()),
        }
    })?;
    match next()? {
        None => Ok(()),
        Some(_) => Err(differs()),
    }
}

/// Tells, again and again, how many bytes are done.
struct Told<'a> {
    done: u64,
    told: u64,
    report: &'a mut dyn FnMut(u64),
}

impl Told<'_> {
    fn new(report: &mut dyn FnMut(u64)) -> Told<'_> {
        Told {
            done: 0,
            told: 0,
            report,
        }
    }

    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.done += (key.len() + value.len()) as u64;
        if self.done - self.told >= REPORT_BYTES {
            self.told = self.done;
            (self.report)(self.done);
        }
    }
}

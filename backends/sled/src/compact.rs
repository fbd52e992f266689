//! Compaction: all rows go into a new database beside, which then takes the old one's part.
//!
//! The first database lies in the engine's directory itself. Later ones lie in directories in it,
//! `compacted-1`, `compacted-2` and so on, and the file `current` names the one that counts: it is
//! replaced by a rename, and any crash comes before or after that. Whatever else there is at an opening
//! is what a compaction left, and is removed.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use durum_core::engine::{Compact, disk_bytes_below};
use durum_core::{Error, ErrorKind, IoResultExt as _, Result};

use crate::NAME;
use crate::engine::{SledEngine, sync, sync_all};
use crate::recover::{BLOBS, COPY, KEPT, TABLE};
use crate::tree::{FILE, Tree, await_unlocked};

/// Names the database that counts, where it is not that in the directory itself.
const CURRENT: &str = "current";
const CURRENT_NEW: &str = "current.new";
const PREFIX: &str = "compacted-";

/// A batch of the copy is written when it has so many bytes.
const BATCH_BYTES: u64 = 256 << 10;
/// How often a comparison reports.
const REPORT_BYTES: u64 = 1 << 20;

const COMPACT: &str = "compact the database";
const FIND: &str = "find the database";

/// A finished copy.
pub(crate) struct Copied {
    tree: Tree,
    /// How many batches had been applied when it was made.
    count: u64,
}

impl Compact for SledEngine {
    fn rewrite(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
        self.refuse_if_failed(COMPACT)?;
        self.discard()?;
        let (original, count) = (self.tree(), self.count());
        let dir = next(&self.dir, &original.dir)?;
        let mut bytes = 0;
        each_row(&original, |key, value| {
            bytes += row_bytes(key, value);
            Ok(())
        })?;
        progress(0, 2 * bytes);
        fs::create_dir(&dir).during(COMPACT, &dir)?;
        let copy = Tree::open(&dir, &self.options)?;
        copy_rows(&original, &copy, &mut |done| progress(done, 2 * bytes))?;
        // sled syncs its file when it is closed, and ignores it when that fails: what waited for it
        // then would never get to the device.
        sync_all(&dir)?;
        drop(copy);
        // Opened again, so that it is compared as it will be found: what sled recovers from is on the
        // device before, and what it wrote by that after.
        await_unlocked(&dir, COMPACT)?;
        sync_all(&dir)?;
        let tree = Tree::open(&dir, &self.options)?;
        compare(&original, &tree, &mut |done| {
            progress(bytes + done, 2 * bytes);
        })?;
        tree.write(COMPACT, |tree| tree.flush().map(drop))?;
        sync_all(&dir)?;
        sync(&self.dir)?;
        progress(2 * bytes, 2 * bytes);
        *self.copied() = Some(Copied { tree, count });
        Ok(())
    }

    fn swap(&self) -> Result<u64> {
        let mut copied = self.copied();
        if copied
            .as_ref()
            .is_none_or(|copy| copy.count != self.count())
        {
            return Err(Error::new(ErrorKind::Usage, COMPACT)
                .with_engine(NAME)
                .because("there is no copy that is up to date"));
        }
        let before = disk_bytes_below(&self.dir)?;
        let Some(old) = self.exchange(COMPACT, || {
            let new = copied.as_ref().map(|copy| copy.tree.dir.as_path());
            name_current(&self.dir, new.unwrap_or(&self.dir))?;
            Ok(copied.take().map(|copy| copy.tree))
        })?
        else {
            return Ok(0);
        };
        let old_dir = old.dir.clone();
        // No snapshot holds it, so that this closes it; sled's threads let go of it some time later.
        drop(old);
        // What this leaves counts for nothing, and the next opening removes it.
        let _left = await_unlocked(&old_dir, COMPACT)
            .and_then(|_| remove_all_but(&self.dir, &self.tree().dir));
        Ok(before.saturating_sub(disk_bytes_below(&self.dir)?))
    }

    fn discard(&self) -> Result<()> {
        if self.refuse_if_failed(COMPACT).is_err() {
            // The copy may be what counts, if it was being named when that failed.
            return Ok(());
        }
        let copy = self.copied().take();
        if let Some(Copied { tree, .. }) = copy {
            let dir = tree.dir.clone();
            drop(tree);
            await_unlocked(&dir, COMPACT)?;
        }
        remove_all_but(&self.dir, &self.tree().dir)
    }
}

/// Where the database lies that counts, of those in `dir`.
pub(crate) fn current(dir: &Path) -> Result<PathBuf> {
    let path = dir.join(CURRENT);
    let name = match fs::read_to_string(&path) {
        Ok(name) => name,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(dir.to_owned()),
        Err(error) => return Err(Error::io(error, FIND).with_path(path)),
    };
    let found = number(name.trim_end()).map(|number| numbered(dir, number));
    let reason = match found {
        Some(found) if found.is_dir() => return Ok(found),
        Some(_) => "the directory that it names is missing",
        None => "it does not name a database",
    };
    Err(Error::damaged(FIND, reason)
        .with_engine(NAME)
        .with_path(path)
        .hint("Restore the store from a backup."))
}

/// Makes the database in `new` the one that counts, durably, as a whole or not at all.
fn name_current(dir: &Path, new: &Path) -> Result<()> {
    let (path, fresh) = (dir.join(CURRENT), dir.join(CURRENT_NEW));
    let name = new.file_name().unwrap_or_default();
    let mut file = File::create(&fresh).during(COMPACT, &fresh)?;
    file.write_all(name.as_encoded_bytes())
        .and_then(|()| file.write_all(b"\n"))
        .and_then(|()| file.sync_all())
        .during(COMPACT, &fresh)?;
    fs::rename(&fresh, &path).during(COMPACT, &path)?;
    // Which of the two is found after a loss of power is open from here on.
    sync(dir).map_err(|error| error.with_kind(ErrorKind::Io))
}

/// Removes all databases in `dir` but that in `kept`, which has to be the one that counts, durably.
pub(crate) fn remove_all_but(dir: &Path, kept: &Path) -> Result<()> {
    const REMOVE: &str = "remove what a compaction left";
    for entry in fs::read_dir(dir).during(REMOVE, dir)? {
        let path = entry.during(REMOVE, dir)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let of_the_first = [FILE, "conf", BLOBS, COPY].contains(&&*name)
            || [TABLE, KEPT].iter().any(|prefix| name.starts_with(prefix));
        let left = name == CURRENT_NEW
            || (name.starts_with(PREFIX) && path != kept)
            || (of_the_first && kept != dir);
        if !left {
            continue;
        }
        let removed = match path.is_dir() {
            true => {
                // Closed a moment ago, it would get new files while it is removed.
                let _already_without_a_database = await_unlocked(&path, COMPACT);
                fs::remove_dir_all(&path)
            }
            false => fs::remove_file(&path),
        };
        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io(error, REMOVE).with_engine(NAME).with_path(path));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A directory for the database after that in `old`.
fn next(dir: &Path, old: &Path) -> Result<PathBuf> {
    let old = old.file_name().and_then(|name| number(name.to_str()?));
    let next = numbered(dir, old.unwrap_or(0) + 1);
    match next.exists() {
        false => Ok(next),
        true => Err(Error::new(ErrorKind::Exists, COMPACT)
            .with_engine(NAME)
            .with_path(next)),
    }
}

fn numbered(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{PREFIX}{number}"))
}

fn number(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

fn row_bytes(key: &[u8], value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64
}

/// Visits all rows in order of their keys, this backend's own included.
fn each_row(tree: &Tree, mut visit: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()> {
    let mut rows = tree.run(COMPACT, |tree| Ok(tree.iter()))?;
    while let Some((key, value)) = tree.run(COMPACT, |_| rows.next().transpose())? {
        visit(&key, &value)?;
    }
    Ok(())
}

/// Writes all rows in order of their keys, in batches: memory is bounded by these and sled's cache.
fn copy_rows(original: &Tree, copy: &Tree, report: &mut dyn FnMut(u64)) -> Result<()> {
    let write = |batch: &mut sled::Batch| {
        let batch = std::mem::take(batch);
        copy.write(COMPACT, |tree| {
            tree.apply_batch(batch)?;
            tree.flush().map(drop)
        })
    };
    let mut batch = sled::Batch::default();
    let (mut done, mut written) = (0, 0);
    each_row(original, |key, value| {
        batch.insert(key, value);
        done += row_bytes(key, value);
        if done - written >= BATCH_BYTES {
            written = done;
            write(&mut batch)?;
            report(done);
        }
        Ok(())
    })?;
    write(&mut batch)
}

/// Makes sure that both hold the same rows.
fn compare(original: &Tree, copy: &Tree, report: &mut dyn FnMut(u64)) -> Result<()> {
    let mut rows = copy.run(COMPACT, |tree| Ok(tree.iter()))?;
    let mut next = || copy.run(COMPACT, |_| rows.next().transpose());
    let differs = || {
        Error::new(ErrorKind::Mismatch, COMPACT)
            .with_engine(NAME)
            .with_path(&copy.dir)
            .because("the copy differs from the original")
    };
    let (mut done, mut reported) = (0, 0);
    each_row(original, |key, value| {
        if next()?.is_none_or(|(other, copied)| other != key || copied != value) {
            return Err(differs());
        }
        done += row_bytes(key, value);
        if done - reported >= REPORT_BYTES {
            reported = done;
            report(done);
        }
        Ok(())
    })?;
    match next()? {
        None => Ok(()),
        Some(_) => Err(differs()),
    }
}

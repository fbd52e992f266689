//! The engine: batches on one tree, and the syncs that sled leaves out.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use durum_core::engine::{
    Compact, Durability, Engine, EngineSnapshot, EngineStats, Op, Options, Reclaimed,
};
use durum_core::{Error, ErrorKind, IoResultExt as _, Result};

use crate::NAME;
use crate::compact::{self, Copied};
use crate::config::VALUE_BYTES_MAX;
use crate::generation;
use crate::reclaim;
use crate::recover::BLOBS;
use crate::snapshot::SledSnapshot;
use crate::tree::{FILE, Tree, await_unlocked, tree_key};

const APPLY: &str = "apply a batch";
const SYNC: &str = "sync the database";

/// sled frees nothing that it replaces before a batch ends: with 4 MiB that came to some 200 MiB.
const BULK_BYTES: usize = 256 << 10;
/// Until a batch ends sled keeps what it replaced for each row, so that many small rows cost it far more
/// than their bytes.
const BULK_ROW_BYTES: usize = 512;

/// So much is written at most before sled's threads are waited for. A write that lengthens sled's file holds
/// its lock on segments while it waits for an earlier shortening, which is a job of sled's pool of seven
/// threads; all of these wait for that lock where there are seven writes before the shortening (sled 0.34.7,
/// `SegmentAccountant::bump_tip`), and then nothing goes on. A write takes a segment of 512 KiB or less.
const UNFLUSHED_BYTES_MAX: u64 = 1 << 20;

/// After this a directory's time of change tells two changes apart: many times the tick of a file system that
/// counts parts of a second,
const SETTLED: Duration = Duration::from_millis(100);
/// and of one that does not.
const SETTLED_COARSE: Duration = Duration::from_secs(3);

/// sled as an engine.
pub(crate) struct SledEngine {
    /// The engine's directory, in which that of the tree lies; see [`compact`].
    pub(crate) dir: PathBuf,
    pub(crate) options: Options,
    tree: Mutex<Arc<Tree>>,
    copied: Mutex<Option<Copied>>,
    synced: Mutex<Synced>,
    /// Bytes of batches since sled's threads were last waited for.
    unflushed: AtomicU64,
    /// Batches that were applied; see [`generation`].
    count: AtomicU64,
    /// Set by a failed write or sync: trying again could succeed without anything being written.
    failed: AtomicBool,
}

/// What was made durable.
#[derive(Default)]
struct Synced {
    /// Files in `blobs` that were synced.
    blobs: HashSet<OsString>,
    /// When `blobs` was last changed before it was synced.
    changed: Changed,
    /// The same of the directory that holds everything: sled puts files in place there, now and then.
    dir_changed: Changed,
}

/// When a directory was last changed, if it was read long enough after that for a later change to show.
type Changed = Option<SystemTime>;

impl SledEngine {
    pub(crate) fn open(dir: &Path, options: &Options) -> Result<SledEngine> {
        let reached = generation::reached(dir)?;
        // A killed process may have left writes in the system's cache. sled's recovery goes by what it
        // reads, overwrites and deletes by it; a loss of power after that must not undo what it went by.
        sync_all(dir)?;
        let current = compact::current(dir)?;
        compact::remove_all_but(dir, &current)?;
        // After a failed write sled is left to close by itself, and the store may be opened again meanwhile.
        let was_locked = await_unlocked(&current, "open the database")?;
        if was_locked || current != dir {
            sync_all(&current)?;
        }
        let tree = Tree::open(&current, options)?;
        let found = tree.run("open the database", |tree| tree.get(generation::ROW))?;
        let found = found.and_then(|bytes| generation::decode(&bytes));
        let engine = SledEngine {
            count: AtomicU64::new(generation::check(found, reached, dir)?),
            dir: dir.to_owned(),
            options: options.clone(),
            tree: Mutex::new(Arc::new(tree)),
            copied: Mutex::default(),
            synced: Mutex::default(),
            unflushed: AtomicU64::new(0),
            failed: AtomicBool::new(false),
        };
        engine.flush()?;
        // What recovery wrote, too.
        sync_all(&current)?;
        sync(dir)?;
        if let Some(parent) = dir.parent() {
            sync(parent)?;
        }
        Ok(engine)
    }

    /// The open database.
    pub(crate) fn tree(&self) -> Arc<Tree> {
        Arc::clone(&self.tree.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The copy that a compaction has made.
    pub(crate) fn copied(&self) -> MutexGuard<'_, Option<Copied>> {
        self.copied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many batches were applied.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Goes over to the database that `commit` makes the one that counts; returns the old one, which
    /// nobody else holds.
    pub(crate) fn exchange(
        &self,
        operation: &'static str,
        commit: impl FnOnce() -> Result<Option<Tree>>,
    ) -> Result<Option<Arc<Tree>>> {
        let mut tree = self.tree.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::strong_count(&tree) > 1 {
            return Err(Error::new(ErrorKind::InUse, operation)
                .with_engine(NAME)
                .because("snapshots are open"));
        }
        let committed = commit();
        if committed
            .as_ref()
            .is_err_and(|error| error.kind() != ErrorKind::Full)
        {
            self.failed.store(true, Ordering::Release);
        }
        let Some(new) = committed? else {
            return Ok(None);
        };
        *self.synced.lock().unwrap_or_else(PoisonError::into_inner) = Synced::default();
        Ok(Some(std::mem::replace(&mut *tree, Arc::new(new))))
    }

    /// An error after a failed write or sync, or a failed operation of sled: it splits pages while it
    /// reads, and what such a write has left in its buffers a flush waits for.
    pub(crate) fn refuse_if_failed(&self, operation: &'static str) -> Result<()> {
        if !self.failed.load(Ordering::Acquire) && !self.tree().has_failed() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Poisoned, operation)
            .with_engine(NAME)
            .because("an earlier write failed")
            .hint("Open the store again."))
    }

    fn flush(&self) -> Result<()> {
        self.unflushed.store(0, Ordering::Relaxed);
        self.tree()
            .write("flush the database", |tree| tree.flush().map(drop))
    }

    /// Waits for sled's threads where `bytes` more would be too much.
    fn flush_before(&self, bytes: u64) -> Result<()> {
        let unflushed = self.unflushed.load(Ordering::Relaxed);
        if unflushed > 0 && unflushed.saturating_add(bytes) > UNFLUSHED_BYTES_MAX {
            self.flush()?;
        }
        self.unflushed.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Syncs what sled wrote: large values before the log that names them. What has not changed is left out,
    /// so that a commit without large values costs one sync.
    fn sync_files(&self) -> Result<()> {
        let tree = self.tree();
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        sync_blobs(&tree.dir.join(BLOBS), &mut synced)?;
        sync_data(&tree.dir.join(FILE))?;
        let changed = changed(&tree.dir)?;
        if synced.dir_changed != Some(changed) {
            sync(&tree.dir)?;
            synced.dir_changed = settled(changed);
        }
        Ok(())
    }

    fn make_durable(&self, durability: Durability) -> Result<()> {
        self.refuse_if_failed(SYNC)?;
        let result = self.try_make_durable(durability);
        if result.is_err() {
            self.failed.store(true, Ordering::Release);
        }
        result
    }

    fn try_make_durable(&self, durability: Durability) -> Result<()> {
        if durability >= Durability::Process {
            self.flush()?;
        }
        if durability >= Durability::Power {
            // The batch is in the tree already, so that this is no `Full`, "nothing was changed".
            self.sync_files()
                .map_err(|error| error.with_kind(ErrorKind::Io))?;
        }
        Ok(())
    }
}

impl Engine for SledEngine {
    fn snapshot(&self) -> Result<Box<dyn EngineSnapshot>> {
        Ok(Box::new(SledSnapshot::new(self.tree())))
    }

    fn apply(&self, ops: &[Op<'_>], durability: Durability) -> Result<Durability> {
        self.refuse_if_failed(APPLY)?;
        let (mut batch, mut bytes) = (sled::Batch::default(), 0);
        for op in ops {
            let (table, key) = op.row();
            match op {
                Op::Put { value, .. } => {
                    bytes += value.len() as u64;
                    if value.len() as u64 > VALUE_BYTES_MAX {
                        return Err(too_large(value.len()));
                    }
                    batch.insert(tree_key(table, key), *value);
                }
                Op::Delete { .. } => batch.remove(tree_key(table, key)),
            }
        }
        if !ops.is_empty() {
            let count = self.count() + 1;
            batch.insert(generation::ROW, &generation::encode(count));
            self.flush_before(bytes)?;
            self.tree()
                .write(APPLY, |tree| tree.apply_batch(batch))
                // What of it is in sled's buffers is uncertain, and a flush would wait for the rest.
                .inspect_err(|_| self.failed.store(true, Ordering::Release))?;
            self.count.store(count, Ordering::Release);
        }
        self.make_durable(durability)?;
        Ok(durability)
    }

    fn sync(&self) -> Result<Durability> {
        self.make_durable(Durability::Power)?;
        generation::write(&self.dir, self.count())?;
        Ok(Durability::Power)
    }

    fn make_room(&self, _bytes: u64) -> Result<()> {
        // `apply` never asks for it.
        Ok(())
    }

    fn stats(&self) -> Result<EngineStats> {
        reclaim::stats(&self.dir)
    }

    fn reclaim(&self, _bytes_max: u64) -> Result<Reclaimed> {
        Ok(reclaim::reclaim())
    }

    fn bulk_bytes(&self) -> usize {
        BULK_BYTES
    }

    fn bulk_row_bytes(&self) -> usize {
        BULK_ROW_BYTES
    }

    fn compact(&self) -> Option<&dyn Compact> {
        Some(self)
    }
}

impl Drop for SledEngine {
    fn drop(&mut self) {
        // Nothing can be reported here; the count then stays behind, which does no harm. After a failure
        // nothing is synced, so that the count does not claim what may be lost.
        let _error = self.sync();
    }
}

impl fmt::Debug for SledEngine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SledEngine")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

fn too_large(bytes: usize) -> Error {
    Error::new(ErrorKind::TooLarge, APPLY)
        .with_engine(NAME)
        .because(format!(
            "a value has {bytes} bytes, and this backend takes {VALUE_BYTES_MAX} at most"
        ))
}

/// Syncs all of sled's files, and the directories that name them.
pub(crate) fn sync_all(dir: &Path) -> Result<()> {
    for folder in [dir.join(BLOBS), dir.to_owned()] {
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            entries => entries.during(SYNC, &folder)?,
        };
        for entry in entries {
            sync_if_present(&entry.during(SYNC, &folder)?.path())?;
        }
        sync(&folder)?;
    }
    Ok(())
}

/// Syncs the files of large values that are new.
fn sync_blobs(blobs: &Path, synced: &mut Synced) -> Result<()> {
    let changed = changed(blobs)?;
    if synced.changed == Some(changed) {
        return Ok(());
    }
    let mut present = HashSet::new();
    for entry in fs::read_dir(blobs).during(SYNC, blobs)? {
        let entry = entry.during(SYNC, blobs)?;
        let name = entry.file_name();
        if !synced.blobs.contains(&name) && !sync_if_present(&entry.path())? {
            continue;
        }
        present.insert(name);
    }
    sync(blobs)?;
    synced.blobs = present;
    synced.changed = settled(changed);
    Ok(())
}

/// When entries of the directory were last added or removed.
fn changed(dir: &Path) -> Result<SystemTime> {
    let metadata = fs::metadata(dir);
    metadata
        .and_then(|metadata| metadata.modified())
        .during(SYNC, dir)
}

/// A file that is added in the same tick as the last would leave the time as it is.
fn settled(changed: SystemTime) -> Changed {
    let since = changed.duration_since(SystemTime::UNIX_EPOCH);
    let fine = since.is_ok_and(|since| since.subsec_nanos() != 0);
    let enough = if fine { SETTLED } else { SETTLED_COARSE };
    let settled = changed.elapsed().is_ok_and(|age| age > enough);
    settled.then_some(changed)
}

/// Syncs a file's bytes, and its length where that has changed.
fn sync_data(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|file| file.sync_data())
        .during(SYNC, path)
}

/// Syncs a file or directory.
pub(crate) fn sync(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .during(SYNC, path)
}

/// Syncs a file that sled may have removed meanwhile; says whether it is there.
fn sync_if_present(path: &Path) -> Result<bool> {
    match File::open(path) {
        Ok(file) => file.sync_all().during(SYNC, path).map(|()| true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io(error, SYNC).with_path(path)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use durum_core::engine::{Key, Table};

    use super::*;

    /// sled would wait for ever for what a failed split has left in its buffers.
    #[test]
    fn after_a_read_that_failed_to_write_nothing_is_waited_for() {
        let home = tempfile::tempdir().unwrap();
        let engine = SledEngine::open(home.path(), &Options::default()).unwrap();
        let value = vec![7; 30_000];
        // With the row that counts batches one more than sled has in a page: it is split when it is read.
        let ops: Vec<Op<'_>> = (0..16)
            .map(|number| Op::Put {
                table: Table::Objects,
                key: Key::from(number),
                value: &value,
            })
            .collect();
        engine.apply(&ops, Durability::Relaxed).unwrap();
        // A large page goes to a file of its own, which cannot be created now.
        let blobs = home.path().join(BLOBS);
        fs::remove_dir_all(&blobs).unwrap();
        File::create(&blobs).unwrap();
        let snapshot = engine.snapshot().unwrap();
        let walk = || -> Result<()> {
            let mut rows = snapshot.cursor(Table::Objects, Key::MIN)?;
            while rows.next()?.is_some() {}
            Ok(())
        };
        walk().unwrap_err();
        for refused in [
            engine.sync(),
            engine.apply(&ops, Durability::Process),
            engine.apply(&ops, Durability::Relaxed),
        ] {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::Poisoned);
        }
    }
}

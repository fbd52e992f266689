//! An open engine.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use durum_core::engine::{Durability, Engine, EngineSnapshot, EngineStats, Op, Reclaimed};
use durum_core::{Error, Result};

use crate::config::Config;
use crate::hold::Hold;
use crate::seam::FileSystem;
use crate::snapshot::FileSnapshot;
use crate::state::State;
use crate::writer::Writer;

/// The flat-file engine.
#[derive(Debug)]
pub(crate) struct FileEngine {
    writer: Mutex<Writer>,
    /// What new snapshots see. The lock is held to copy a pointer, never while reading.
    published: Mutex<Arc<State>>,
}

impl FileEngine {
    /// Opens the files in `dir`, or makes them.
    pub(crate) fn open(fs: &Arc<dyn FileSystem>, dir: &Path, config: Config) -> Result<FileEngine> {
        let writer = crate::recover::open(fs, dir, config).map_err(named)?;
        let published = Mutex::new(Arc::new(writer.state.clone()));
        Ok(FileEngine {
            writer: Mutex::new(writer),
            published,
        })
    }

    /// Lets everything that reads the files hold `hold` too.
    pub(crate) fn keep(&self, hold: Arc<Hold>) {
        let mut writer = lock(&self.writer);
        writer.state.hold = Some(hold);
        *lock(&self.published) = Arc::new(writer.state.clone());
    }

    /// Runs `change`, then shows what is there now to new snapshots.
    fn write<R>(&self, change: impl FnOnce(&mut Writer) -> Result<R>) -> Result<R> {
        let mut writer = lock(&self.writer);
        let result = change(&mut writer).map_err(named);
        // Also after a failure: part of a reclaim may have been done.
        let state = Arc::new(writer.state.clone());
        let old = std::mem::replace(&mut *lock(&self.published), state);
        writer.holes.retire(&old);
        drop(old);
        writer.punch();
        result
    }

    #[cfg(test)]
    pub(crate) fn checkpoint(&self) -> Result<()> {
        self.write(Writer::checkpoint)
    }
}

impl Engine for FileEngine {
    fn snapshot(&self) -> Result<Box<dyn EngineSnapshot>> {
        let state = Arc::clone(&lock(&self.published));
        Ok(Box::new(FileSnapshot::new(state)))
    }

    fn apply(&self, ops: &[Op<'_>], durability: Durability) -> Result<Durability> {
        self.write(|writer| writer.apply(ops, durability))
    }

    fn sync(&self) -> Result<Durability> {
        let mut writer = lock(&self.writer);
        writer.log.sync().map_err(named)?;
        writer.punch();
        Ok(Durability::Power)
    }

    fn make_room(&self, _: u64) -> Result<()> {
        Ok(())
    }

    fn stats(&self) -> Result<EngineStats> {
        lock(&self.writer).stats().map_err(named)
    }

    fn reclaim(&self, bytes_max: u64) -> Result<Reclaimed> {
        self.write(|writer| writer.reclaim(bytes_max))
    }
}

impl Drop for FileEngine {
    /// Leaves an index that covers the whole log, so that the next open replays nothing. The log has
    /// everything anyway, so a failure costs time only.
    fn drop(&mut self) {
        let mut writer = lock(&self.writer);
        if !writer.log.is_poisoned() && writer.index.covered() != writer.log.end() {
            let _ = writer.checkpoint();
        }
    }
}

fn named(error: Error) -> Error {
    error.with_engine(crate::NAME)
}

/// A panic in another thread leaves nothing half-changed that is used afterwards: the log is poisoned
/// by failures, not by panics, and states are replaced whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

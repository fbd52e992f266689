//! An open engine.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use durum_core::engine::{Durability, Engine, EngineSnapshot, EngineStats, Op, Reclaimed};
use durum_core::{Error, Result};

use crate::config::Config;
use crate::error::poisoned;
use crate::hold::Hold;
use crate::log::Placed;
use crate::seam::FileSystem;
use crate::snapshot::FileSnapshot;
use crate::state::State;
use crate::writer::Writer;

/// The flat-file engine.
#[derive(Debug)]
pub(crate) struct FileEngine {
    writer: Mutex<Writer>,
    /// What new snapshots see. The lock is held to copy a pointer, or while a small batch is noted, never
    /// while anything is read. There is none only where noting a batch has panicked.
    published: Mutex<Option<Arc<State>>>,
}

impl FileEngine {
    /// Opens the files in `dir`, or makes them.
    pub(crate) fn open(fs: &Arc<dyn FileSystem>, dir: &Path, config: Config) -> Result<FileEngine> {
        let writer = crate::recover::open(fs, dir, config).map_err(named)?;
        let published = Mutex::new(Some(Arc::new(writer.state.clone())));
        Ok(FileEngine {
            writer: Mutex::new(writer),
            published,
        })
    }

    /// Lets everything that reads the files hold `hold` too.
    pub(crate) fn keep(&self, hold: Arc<Hold>) {
        let mut writer = lock(&self.writer);
        writer.state.hold = Some(hold);
        *lock(&self.published) = Some(Arc::new(writer.state.clone()));
    }

    /// The writer, unless a thread has panicked while it had it: a batch may be noted in part then.
    fn writer(&self) -> Result<MutexGuard<'_, Writer>> {
        let writer = self.writer.lock();
        writer.map_err(|_| named(poisoned("write to the store")))
    }

    /// Runs `change`, then shows what is there now to new snapshots.
    fn write<R>(&self, change: impl FnOnce(&mut Writer) -> Result<R>) -> Result<R> {
        let mut writer = self.writer()?;
        let result = change(&mut writer).map_err(named);
        // Also after a failure: part of a reclaim may have been done.
        self.publish(&mut writer);
        result
    }

    /// Shows the writer's state to new snapshots.
    fn publish(&self, writer: &mut Writer) {
        let state = Arc::new(writer.state.clone());
        let old = lock(&self.published).replace(state);
        retire(writer, old);
    }

    /// Notes where the rows of a batch are, and shows them. Recent changes that a snapshot shares are copied
    /// when they change; the published state is dropped before, so that where nobody has taken a snapshot
    /// nothing is shared.
    fn show_batch(&self, writer: &mut Writer, ops: &[Op<'_>], placed: Placed) {
        if ops.len() > NOTED_MAX {
            writer.note_batch(ops, placed);
            return self.publish(writer);
        }
        let mut published = lock(&self.published);
        let old = published.take().map(|old| Arc::downgrade(&old));
        writer.note_batch(ops, placed);
        *published = Some(Arc::new(writer.state.clone()));
        drop(published);
        writer.holes.retire(old.unwrap_or_default());
        writer.punch();
    }

    #[cfg(test)]
    pub(crate) fn checkpoint(&self) -> Result<()> {
        self.write(Writer::checkpoint)
    }
}

impl Engine for FileEngine {
    fn snapshot(&self) -> Result<Box<dyn EngineSnapshot>> {
        let state = lock(&self.published).clone();
        let state = state.ok_or_else(|| named(poisoned("take a snapshot")))?;
        Ok(Box::new(FileSnapshot::new(state)))
    }

    fn apply(&self, ops: &[Op<'_>], durability: Durability) -> Result<Durability> {
        let mut writer = self.writer()?;
        let written = writer.write_batch(ops, durability).map_err(named);
        match written {
            Ok(Some(placed)) => self.show_batch(&mut writer, ops, placed),
            // The batch may have begun with a checkpoint.
            _ => self.publish(&mut writer),
        }
        written.map(|_| durability)
    }

    fn sync(&self) -> Result<Durability> {
        let mut writer = self.writer()?;
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
        let Ok(mut writer) = self.writer() else {
            return; // The next open replays what was noted in part.
        };
        if !writer.log.is_poisoned() && writer.index.covered() != writer.log.end() {
            let _ = writer.checkpoint();
        }
    }
}

/// Batches of more operations than these are noted while snapshots can be taken.
const NOTED_MAX: usize = 4096;

/// Lets go of a state that was shown to new snapshots up to now.
fn retire(writer: &mut Writer, old: Option<Arc<State>>) {
    let weak = old.as_ref().map(Arc::downgrade).unwrap_or_default();
    drop(old);
    writer.holes.retire(weak);
    writer.punch();
}

fn named(error: Error) -> Error {
    error.with_engine(crate::NAME)
}

/// For what a panic in another thread does not leave half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Space that goes back to the system: in slices, and by compaction.

use std::sync::PoisonError;
use std::time::Duration;

use super::local::{LocalStore, Shared};
use crate::engine::{Compact, Reclaimed};
use crate::error::{Error, ErrorKind, Result};

impl Shared {
    /// See [`LocalStore::reclaim`].
    pub(super) fn reclaim(&self, bytes_max: u64) -> Result<Reclaimed> {
        self.reclaim_by(|| self.engine.reclaim(bytes_max))
    }

    /// The same, if possible within `wait` while no view of the engine is open, for which readers wait.
    /// Says whether that was so.
    pub(super) fn reclaim_alone(
        &self,
        bytes_max: u64,
        wait: Duration,
    ) -> Result<(Reclaimed, bool)> {
        let mut alone = false;
        let reclaimed = self.reclaim_by(|| {
            let work = || self.engine.reclaim(bytes_max);
            let (result, none_open) = self.views.with_few_views(wait, work);
            alone = none_open;
            result
        })?;
        Ok((reclaimed, alone))
    }

    fn reclaim_by(&self, work: impl FnOnce() -> Result<Reclaimed>) -> Result<Reclaimed> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.check()?;
        // Views that lie idle would keep the engine from giving back what was deleted since.
        self.views.sweep();
        // For the case that the engine panics; taken back when it returns.
        writer.poisoned = Some("the engine failed while it gave space back".to_owned());
        let result = work();
        writer.poisoned = None;
        let result = result.map_err(|error| match is_unreadable(&error) {
            true => error.with_engine(self.capabilities.name),
            false => self.poison_by(&mut writer, error),
        });
        writer.reclaim_failed = result.as_ref().err().map(Error::duplicate);
        result
    }
}

/// Tells damage that an engine goes around, once it was met, from such as it meets every time.
#[derive(Debug, Default)]
pub(super) struct SameDamage(Option<String>);

impl SameDamage {
    /// Whether this is what was met the last time.
    pub(super) fn is_met_again(&mut self, error: &Error) -> bool {
        let text = error.to_string();
        let same = self.0.as_ref() == Some(&text);
        self.0 = Some(text);
        same
    }
}

impl LocalStore {
    /// Rewrites the engine's files without their unused space; returns the bytes given back.
    ///
    /// Snapshots go on being taken and read while the copy is made and compared with the original;
    /// then they pause for as long as it takes to put the copy in place. Commits wait for all of it.
    /// `progress` is told bytes that are done and bytes in all, the second an estimate; it must not
    /// write to the store, which would wait for it for ever. A compaction that fails or is killed leaves everything as it was.
    ///
    /// # Errors
    /// `Unsupported` where the engine has no compaction, `InUse` where a load does not finish, `Full`
    /// where there is no room for the copy, `Mismatch` where the copy turned out wrong: the store can
    /// be used on. Otherwise as for commits.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use durum_core::store::LocalStore;
    /// # fn compact(store: &LocalStore) -> durum_core::Result<()> {
    /// let bytes = store.compact(&mut |done, total| println!("{done} of {total} bytes"))?;
    /// println!("gave {bytes} bytes back");
    /// # Ok(())
    /// # }
    /// ```
    pub fn compact(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<u64> {
        let shared = &self.shared;
        let name = shared.capabilities.name;
        let Some(engine) = shared.engine.compact() else {
            return Err(Error::new(ErrorKind::Unsupported, "compact the store")
                .with_engine(name)
                .because("its engine has no compaction")
                .hint("`durum engines` says what each engine offers."));
        };
        let mut writer = shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.check()?;
        // Nothing of the engine's own files is changed by this, so that no failure is fatal.
        engine
            .rewrite(progress)
            .map_err(|error| discarded(engine, error).with_engine(name))?;
        // For the case that the engine panics; taken back when it returns.
        writer.poisoned = Some("the engine failed while it was compacted".to_owned());
        let result = shared.views.without_views(|| engine.swap());
        writer.poisoned = None;
        result.map_err(|error| shared.poison_by(&mut writer, discarded(engine, error)))
    }

    /// Gives up to about `bytes_max` bytes of unused space back to the system, in bounded time, for
    /// which commits wait. Snapshots go on; what they still need stays for a later call.
    ///
    /// # Errors
    /// As [`Engine::reclaim`](crate::engine::Engine::reclaim).
    pub fn reclaim(&self, bytes_max: u64) -> Result<Reclaimed> {
        self.shared.reclaim(bytes_max)
    }

    /// As [`LocalStore::reclaim`], again and again until the engine has nothing more to give back; commits
    /// go on in between. `progress` is told the bytes given back so far, of which it returns all.
    ///
    /// # Errors
    /// As [`Engine::reclaim`](crate::engine::Engine::reclaim). What could not be read is reported in the end:
    /// the space of everything else, as far as the engine can do that, was given back.
    pub fn reclaim_all(&self, progress: &mut dyn FnMut(u64)) -> Result<u64> {
        let mut bytes = 0;
        let mut idle = 0;
        let mut damage = SameDamage::default();
        let mut failed = None;
        while idle < IDLE_CALLS_MAX {
            let step = match self.reclaim(SLICE_BYTES) {
                Ok(step) => step,
                Err(error) if is_unreadable(&error) && !damage.is_met_again(&error) => {
                    failed = Some(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            bytes += step.bytes;
            progress(bytes);
            idle = if step.bytes == 0 { idle + 1 } else { 0 };
            if !step.more {
                break;
            }
        }
        failed.map_or(Ok(bytes), Err)
    }
}

/// Whether what was to be moved could not be read: it is where it was.
fn is_unreadable(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Damaged | ErrorKind::Unreadable)
}

/// What one call gives back at most: commits of others wait for no longer than that takes.
const SLICE_BYTES: u64 = 16 << 20;
/// Calls in a row that give nothing back, after which no more is expected.
const IDLE_CALLS_MAX: u32 = 1000;

/// Removes the copy after `error`, which says more than a failure of that would: what is left then is
/// removed by the next opening.
fn discarded(engine: &dyn Compact, error: Error) -> Error {
    if let Err(left) = engine.discard() {
        tracing::warn!(%left, "a compaction failed, and its unfinished copy is still there");
    }
    error
}

//! When the background worker gives space back to the system, and how much at a time.
//!
//! What matters is how much has died: bytes that were written and are not there any more. When commits
//! pause, whatever can be given back is. While they go on, it takes more: enough must have died, and enough
//! of the files must hold nothing, since engines use such space again by themselves, and what is moved to
//! free it is written once more. So files keep to a fixed proportion to what lives in them at a cost in
//! proportion to what died.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::local::Shared;
use super::space::SameDamage;
use super::worker::{Next, REST, RETRY};
use crate::error::{Error, ErrorKind, Result};

/// What has died since space was given back last.
#[derive(Debug, Default)]
pub(super) struct Dead {
    bytes: AtomicU64,
    /// Whether the worker has more to do than these bytes tell.
    busy: AtomicBool,
    /// Whether there is a worker that looks at this.
    watched: AtomicBool,
}

impl Dead {
    /// Adds to it; says whether the worker is to be woken, for a store with so many bytes that live.
    pub(super) fn add(&self, bytes: u64, live: u64) -> bool {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let passes = |limit: u64| before < limit && before.saturating_add(bytes) >= limit;
        self.watched.load(Ordering::Relaxed) && (passes(QUIET_BYTES) || passes(loaded_bytes(live)))
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether the worker gives space back, or is going to.
    pub(super) fn is_worked_on(&self) -> bool {
        let watched = self.watched.load(Ordering::Relaxed);
        watched && (self.busy.load(Ordering::Relaxed) || self.bytes() >= QUIET_BYTES)
    }
}

/// A pass over what can be given back.
#[derive(Debug)]
struct Pass {
    /// It ends after so many slices: under commits there is always something more.
    slices_left: u64,
    /// Whether it was begun when commits paused.
    is_quiet: bool,
}

/// The part of the worker that gives space back.
#[derive(Debug)]
pub(super) struct Reclaimer {
    dead: Arc<Dead>,
    /// Bytes that have died and are condemned, so that they take up space until they are deleted; and how
    /// many objects were left to be deleted when that was looked at.
    held: u64,
    condemned: u64,
    pass: Option<Pass>,
    /// The store's count of writes when it was looked at last, and since when it is that.
    writes: u64,
    quiet_since: Instant,
    /// When to look, though little has died: at first, and where something was left or in the way.
    again: Option<Instant>,
    /// How often in a row views were in the way.
    hindered: u32,
    not_before: Instant,
    /// How often in a row it has failed.
    failures: u32,
    damage: SameDamage,
    /// After a failure that does not pass.
    stopped: bool,
}

impl Reclaimer {
    /// One for a store that wants it, on an engine that can give space back.
    pub(super) fn new(shared: &Shared) -> Option<Reclaimer> {
        if !shared.collection.reclaim || !shared.capabilities.reclaim {
            return None;
        }
        let dead = Arc::clone(&shared.dead);
        dead.watched.store(true, Ordering::Relaxed);
        dead.busy.store(true, Ordering::Relaxed);
        Some(Reclaimer::with(dead))
    }

    fn with(dead: Arc<Dead>) -> Reclaimer {
        Reclaimer {
            dead,
            held: 0,
            condemned: 0,
            pass: None,
            writes: 0,
            quiet_since: Instant::now(),
            again: Some(Instant::now()),
            hindered: 0,
            not_before: Instant::now(),
            failures: 0,
            damage: SameDamage::default(),
            stopped: false,
        }
    }

    /// Does a slice, if it is time for one.
    pub(super) fn step(&mut self, shared: &Shared) -> Next {
        let next = self.do_step(shared);
        let busy = !self.stopped && (self.pass.is_some() || self.again.is_some());
        self.dead.busy.store(busy, Ordering::Relaxed);
        next
    }

    fn do_step(&mut self, shared: &Shared) -> Next {
        if self.stopped {
            return None;
        }
        let now = Instant::now();
        let loaded = self.notice_writes(shared, now);
        if now < self.not_before {
            return Some(self.not_before);
        }
        if self.pass.is_none() {
            match self.begin(shared, now) {
                Ok(Some(next)) => return next,
                Ok(None) => {}
                Err(error) => return self.fail(shared, error),
            }
        }
        // Where views were in the way before, readers wait for a moment, but not while others write.
        let views = shared.views.opened_and_closed();
        let result = match self.hindered > 0 && !loaded {
            true => shared.reclaim_alone(SLICE_BYTES, VIEWS_WAIT),
            false => shared.reclaim(SLICE_BYTES).map(|done| (done, false)),
        };
        match result {
            Ok((done, alone)) => {
                let time = loaded.then(|| now.elapsed());
                let viewed = views.is_none() || views != shared.views.opened_and_closed();
                self.after_slice(done.more, viewed && !alone, time)
            }
            Err(error) => self.fail(shared, error),
        }
    }

    /// Whether others have written since the last time.
    fn notice_writes(&mut self, shared: &Shared, now: Instant) -> bool {
        let writes = shared.writes.load(Ordering::Acquire);
        let loaded = writes != self.writes;
        if loaded {
            self.writes = writes;
            self.quiet_since = now;
        }
        loaded
    }

    /// Counts what was held back as dead once some of it has been deleted, or more was condemned. As long
    /// as nothing happens to it no pass is begun for it.
    fn notice_deletions(&mut self, condemned: u64) {
        if condemned != self.condemned {
            self.condemned = condemned;
            let held = std::mem::take(&mut self.held);
            self.dead.bytes.fetch_add(held, Ordering::Relaxed);
        }
    }

    /// Begins a pass where it is time for one; else says when to be back.
    fn begin(&mut self, shared: &Shared, now: Instant) -> Result<Option<Next>> {
        self.notice_deletions(shared.condemned_left.load(Ordering::Relaxed));
        let dead = self.dead.bytes();
        let live = shared.published().live_bytes;
        let quiet_at = self.quiet_since + QUIET;
        // A little is given back when commits pause, or what was left is.
        let some = (dead >= QUIET_BYTES).then_some(quiet_at);
        let again = self.again.map(|time| time.max(quiet_at));
        let due = some.into_iter().chain(again).min();
        let is_quiet = due.is_some_and(|time| now >= time);
        if !is_quiet && dead < loaded_bytes(live) {
            return Ok(Some(due));
        }
        let stats = shared.engine.stats()?;
        self.dead.bytes.fetch_sub(dead, Ordering::Relaxed);
        if self.condemned > 0 {
            self.held = self.held.saturating_add(dead);
        }
        // What is not given back under commits is when they pause.
        self.again = (!is_quiet).then_some(now);
        if dead >= QUIET_BYTES {
            self.hindered = 0;
        }
        if !is_quiet && stats.reclaimable_bytes < stats.disk_bytes / LOADED_SHARE {
            self.not_before = now + PAUSE;
            return Ok(Some(Some(self.not_before)));
        }
        // To free a byte an engine may have to read one that lives.
        let slices = stats.reclaimable_bytes / SLICE_BYTES * 2;
        self.pass = Some(Pass {
            slices_left: slices + SLICES_MIN,
            is_quiet,
        });
        Ok(None)
    }

    /// Decides how it goes on after a slice, which took `loaded` where others write at the same time, and in
    /// the way of which views may have been.
    fn after_slice(&mut self, more: bool, viewed: bool, loaded: Option<Duration>) -> Next {
        if let Some(pass) = &mut self.pass
            && more
            && pass.slices_left > 0
        {
            pass.slices_left -= 1;
            // They get at least half of the time.
            let rest = loaded.map_or(REST, |time| time.clamp(REST, REST_MAX));
            self.not_before = Instant::now() + rest;
            return Some(self.not_before);
        }
        let is_quiet = self.pass.take().is_some_and(|pass| pass.is_quiet);
        self.failures = 0;
        let now = Instant::now();
        self.not_before = now + PAUSE;
        self.again = if more || !is_quiet {
            Some(self.not_before)
        } else if viewed {
            // They may have kept the engine from giving back what they show.
            self.hindered = self.hindered.saturating_add(1);
            Some(now + delay(QUIET, self.hindered.min(HINDERED_MAX)))
        } else {
            self.hindered = 0;
            None
        };
        Some(self.not_before)
    }

    fn fail(&mut self, shared: &Shared, error: Error) -> Next {
        self.pass = None;
        let is_damage = error.kind() == ErrorKind::Damaged;
        if is_damage && !self.damage.is_met_again(&error) {
            tracing::error!(%error, "damage was met in giving space back; that goes on around it");
            self.not_before = Instant::now() + PAUSE;
        } else if is_damage || error.kind() == ErrorKind::Poisoned || shared.is_poisoned() {
            self.stopped = true;
            self.dead.watched.store(false, Ordering::Relaxed);
            tracing::error!(%error, "no space is given back until the store is opened again");
            return None;
        } else {
            tracing::warn!(%error, "space could not be given back; that will be tried again");
            self.not_before = Instant::now() + delay(RETRY, self.failures);
            self.failures += 1;
        }
        self.again = Some(self.not_before);
        Some(self.not_before)
    }
}

impl Drop for Reclaimer {
    /// Also where the worker panics: nobody gives space back any more.
    fn drop(&mut self) {
        self.dead.watched.store(false, Ordering::Relaxed);
        self.dead.busy.store(false, Ordering::Relaxed);
    }
}

/// How much has to die before space is given back under commits.
fn loaded_bytes(live: u64) -> u64 {
    (live / 8).clamp(LOADED_BYTES_MIN, LOADED_BYTES_MAX)
}

/// `time`, twice as long with each of `times`.
fn delay(time: Duration, times: u32) -> Duration {
    time.saturating_mul(1 << times.min(16)).min(DELAY_MAX)
}

/// What one slice reads or moves at most: commits wait for that.
const SLICE_BYTES: u64 = 1 << 20;
/// Slices of a pass that finds little.
const SLICES_MIN: u64 = 8;
/// Commits have paused when nothing was written for so long.
const QUIET: Duration = Duration::from_secs(1);
/// Less than that is not worth a look when commits pause.
const QUIET_BYTES: u64 = 256 << 10;
const LOADED_BYTES_MIN: u64 = 4 << 20;
const LOADED_BYTES_MAX: u64 = 64 << 20;
/// Under commits space is given back where at least one of so many bytes on the disk holds nothing.
const LOADED_SHARE: u64 = 4;
/// Between two passes.
const PAUSE: Duration = Duration::from_millis(250);
/// After a slice that took long.
const REST_MAX: Duration = Duration::from_millis(50);
/// However often it has failed.
const DELAY_MAX: Duration = Duration::from_secs(60);
/// Views that stay in the way are looked at every few seconds.
const HINDERED_MAX: u32 = 2;
/// So long readers wait for the end of those that are in the way.
const VIEWS_WAIT: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_under_commits_is_followed_by_a_rest_as_long_as_it_took() {
        let mut reclaimer = Reclaimer::with(Arc::default());
        for (took, least) in [(Some(7), 7), (Some(10_000), 50), (None, 0)] {
            reclaimer.pass = Some(Pass {
                slices_left: 1,
                is_quiet: false,
            });
            let begun = Instant::now();
            let next = reclaimer.after_slice(true, false, took.map(Duration::from_millis));
            // A wake asks for the time again.
            assert_eq!(next, Some(reclaimer.not_before));
            assert!(reclaimer.not_before >= begun + Duration::from_millis(least).max(REST));
        }
    }

    #[test]
    fn what_is_condemned_counts_as_dead_again_when_some_of_it_is_deleted() {
        let mut reclaimer = Reclaimer::with(Arc::default());
        reclaimer.notice_deletions(100);
        reclaimer.held = 5000;
        reclaimer.notice_deletions(100);
        assert_eq!((reclaimer.held, reclaimer.dead.bytes()), (5000, 0));
        reclaimer.notice_deletions(40);
        assert_eq!((reclaimer.held, reclaimer.dead.bytes()), (0, 5000));
    }
}

//! Engine snapshots that are open, and how to have them all closed.
//!
//! Store snapshots keep an engine snapshot ("view") at hand between loads, since opening one costs.
//! Those that lie idle are closed when they grow old, so that a long reader pins no pages of LMDB and
//! no log of SQLite, and all are closed when the engine needs that to make room.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::time::{Duration, Instant};

use super::superseded::Superseded;
use crate::engine::{Engine, EngineSnapshot};
use crate::error::{Error, ErrorKind, Result};
use crate::id::Tid;

/// An idle view older than this is closed when a commit comes by.
const AGE_MAX: Duration = Duration::from_millis(500);
/// How often commits look for idle views, and how often waiting for their closing looks again.
const SWEEP: Duration = Duration::from_millis(250);
/// How long to wait for views that are being read from: loads are short, so that only a stuck disk
/// takes longer.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// An open engine snapshot.
pub(super) struct View {
    snapshot: Option<Box<dyn EngineSnapshot>>,
    /// Whether it shows exactly the commit that it was opened for, and no later one.
    pub(super) exact: bool,
    opened: Instant,
    gate: Arc<Gate>,
}

impl View {
    pub(super) fn engine(&self) -> Result<&dyn EngineSnapshot> {
        self.snapshot.as_deref().ok_or_else(|| {
            Error::new(ErrorKind::Other, "read from a snapshot").because("its view is closed")
        })
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.snapshot = None;
        let mut state = self.gate.lock();
        state.open -= 1;
        // Only who closes all views waits for this; waking is a system call also where nobody waits.
        if state.closing {
            self.gate.changed.notify_all();
        }
    }
}

/// Where a store snapshot keeps its view between loads. Whoever reads from the view holds the lock, for
/// which nobody waits: who finds it held does without the view.
#[derive(Default)]
pub(super) struct Slot(Mutex<Option<View>>);

impl Slot {
    /// The slot, unless somebody reads from its view now.
    pub(super) fn try_hold(&self) -> Option<MutexGuard<'_, Option<View>>> {
        match self.0.try_lock() {
            Ok(held) => Some(held),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Poisoned(poisoned)) => {
                // A read has panicked; nothing else is done with its view.
                let mut held = poisoned.into_inner();
                *held = None;
                self.0.clear_poison();
                Some(held)
            }
        }
    }

    /// Takes the view out when the store snapshot ends.
    pub(super) fn take(&self) -> Option<View> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Takes an idle view out where it is old.
    pub(super) fn take_if_old(&self) -> Option<View> {
        self.take_if(|view| view.opened.elapsed() > AGE_MAX)
    }

    /// Takes an idle view out, to be closed without holding the slot.
    fn take_if(&self, condition: impl Fn(&View) -> bool) -> Option<View> {
        self.try_hold()?.take_if(|view| condition(view))
    }
}

/// All views of a store.
#[derive(Default)]
pub(super) struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
    closing: AtomicBool,
}

#[derive(Default)]
struct GateState {
    open: usize,
    /// All that ever were.
    opened: u64,
    closing: bool,
    slots: Vec<Weak<Slot>>,
    swept: Option<Instant>,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new slot for a store snapshot.
    pub(super) fn slot(&self) -> Arc<Slot> {
        let slot = Arc::new(Slot::default());
        let mut state = self.lock();
        // Forgotten slots are dropped when they have become half of all, so that this costs O(1).
        if state.slots.len() == state.slots.capacity() {
            state.slots.retain(|slot| slot.strong_count() > 0);
        }
        state.slots.push(Arc::downgrade(&slot));
        slot
    }

    /// Opens a view for reading the commit `tid`.
    pub(super) fn open(
        self: &Arc<Gate>,
        engine: &dyn Engine,
        superseded: &Superseded,
        tid: Tid,
        fixed: bool,
    ) -> Result<View> {
        let mut state = self.lock();
        while state.closing {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.open += 1;
        state.opened += 1;
        drop(state);
        // From here on the drop of the view undoes the count, also where the engine fails.
        let mut view = View {
            snapshot: None,
            exact: false,
            opened: Instant::now(),
            gate: self.clone(),
        };
        view.snapshot = Some(engine.snapshot()?);
        view.exact = fixed && !superseded.newer_than(tid);
        Ok(view)
    }

    /// Lets a slot go after a read. Its view stays there for the next load, unless all are to be closed.
    pub(super) fn release(&self, mut held: MutexGuard<'_, Option<View>>) {
        if self.closing.load(Ordering::Acquire) {
            let closed = held.take();
            drop(held);
            drop(closed);
        }
    }

    /// Closes idle views that are old; cheap when called often.
    pub(super) fn sweep(&self) {
        let mut state = self.lock();
        if state.swept.is_some_and(|last| last.elapsed() < SWEEP) {
            return;
        }
        state.swept = Some(Instant::now());
        let slots = state.slots.clone();
        drop(state);
        for slot in slots.iter().filter_map(Weak::upgrade) {
            drop(slot.take_if_old());
        }
    }

    /// How many views were opened so far; none where one is open, if only idle. Asked before and after
    /// something, it tells whether views were in the way.
    pub(super) fn opened_and_closed(&self) -> Option<u64> {
        let state = self.lock();
        (state.open == 0).then_some(state.opened)
    }

    /// Runs `work` while no view is open.
    ///
    /// # Errors
    /// `InUse` where a view is read from for so long that something must be stuck.
    pub(super) fn without_views<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let quiet = self.close_all(WAIT_MAX);
        let _reopened = Reopen(self);
        if quiet {
            work()
        } else {
            Err(
                Error::new(ErrorKind::InUse, "close all snapshots of the engine")
                    .because("one of them is being read from and does not finish"),
            )
        }
    }

    /// Runs `work` while no view is open, if that comes about within `wait`; else with those that are. Says
    /// whether none was.
    pub(super) fn with_few_views<T>(&self, wait: Duration, work: impl FnOnce() -> T) -> (T, bool) {
        let quiet = self.close_all(wait);
        let reopened = Reopen(self);
        if !quiet {
            drop(reopened);
            return (work(), false);
        }
        (work(), true)
    }

    /// Closes idle views, lets none be opened, and waits until none is open, but no longer than `wait`;
    /// says whether that is so. [`Reopen`] ends it.
    fn close_all(&self, wait: Duration) -> bool {
        let mut state = self.lock();
        state.closing = true;
        self.closing.store(true, Ordering::Release);
        let begun = Instant::now();
        loop {
            if state.open == 0 {
                return true;
            }
            if begun.elapsed() > wait {
                return false;
            }
            let slots = state.slots.clone();
            drop(state);
            slots
                .iter()
                .filter_map(Weak::upgrade)
                .for_each(|slot| drop(slot.take_if(|_| true)));
            state = self.lock();
            if state.open > 0 {
                let waited = self.changed.wait_timeout(state, Duration::from_millis(5));
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}

/// Lets views be opened again, also after a panic.
struct Reopen<'a>(&'a Gate);

impl Drop for Reopen<'_> {
    fn drop(&mut self) {
        self.0.closing.store(false, Ordering::Release);
        self.0.lock().closing = false;
        self.0.changed.notify_all();
    }
}

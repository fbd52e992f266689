//! The thread that collects and gives space back in the background.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::local::Shared;
use super::reclaim::Reclaimer;
use crate::collect::{Budget, Progress};
use crate::error::{Error, ErrorKind, Result};

/// The worker rests this long at least between slices, so that commits get their turn.
pub(super) const REST: Duration = Duration::from_micros(100);
/// How long the worker waits after a failure that may pass, such as want of space.
pub(super) const RETRY: Duration = Duration::from_secs(5);

/// When the worker is to be back for one of its tasks, if it is not woken before. Each task keeps to its own
/// rests, whatever the worker is woken for.
pub(super) type Next = Option<Instant>;

/// How the background worker is woken and stopped.
#[derive(Debug, Default)]
pub(super) struct Signal {
    state: Mutex<SignalState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct SignalState {
    /// There is something to collect.
    garbage: bool,
    /// So much has died that space is to be given back, now or soon.
    space: bool,
    stop: bool,
}

impl Signal {
    fn lock(&self) -> MutexGuard<'_, SignalState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wake(&self) {
        let mut state = self.lock();
        if !state.garbage {
            state.garbage = true;
            self.changed.notify_all();
        }
    }

    pub(super) fn wake_for_space(&self) {
        let mut state = self.lock();
        if !state.space {
            state.space = true;
            self.changed.notify_all();
        }
    }

    fn stop(&self) {
        self.lock().stop = true;
        self.changed.notify_all();
    }

    /// Whether the worker was woken to collect since this was asked last.
    fn take_garbage(&self) -> bool {
        std::mem::take(&mut self.lock().garbage)
    }

    /// Waits until there is something to do, or for `until`; false when it is time to stop.
    fn wait(&self, until: Option<Instant>) -> bool {
        let mut state = self.lock();
        while !state.garbage && !state.space && !state.stop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            state = match left {
                Some(Duration::ZERO) => break,
                Some(left) => {
                    let waited = self.changed.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let waited = self.changed.wait(state);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
        // Whoever gives space back looks at how much has died.
        state.space = false;
        !state.stop
    }
}

/// The thread that works in the background. Dropped, it stops and waits for it.
#[derive(Debug)]
pub(super) struct Worker {
    signal: Arc<Signal>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread. It keeps the store open only while it does a slice.
    pub(super) fn start(shared: &Arc<Shared>, budget: Budget) -> Result<Worker> {
        let signal = shared.signal.clone();
        let (store, waiting) = (Arc::downgrade(shared), signal.clone());
        let mut tasks = Tasks {
            collecting: Collecting {
                budget,
                begun: false,
                not_before: None,
            },
            reclaimer: Reclaimer::new(shared),
        };
        let thread = std::thread::Builder::new()
            .name("durum collector".to_owned())
            .spawn(move || tasks.work(&store, &waiting))
            .map_err(|error| Error::io(error, "start the collector's thread"))?;
        Ok(Worker {
            signal,
            thread: Some(thread),
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.signal.stop();
        if let Some(thread) = self.thread.take() {
            // Where it has panicked the hook has reported that.
            let _ = thread.join();
        }
    }
}

/// What the worker does, a slice of each in turn: neither waits for the end of the other.
#[derive(Debug)]
struct Tasks {
    collecting: Collecting,
    reclaimer: Option<Reclaimer>,
}

impl Tasks {
    fn work(&mut self, store: &Weak<Shared>, signal: &Signal) {
        loop {
            let Some(shared) = store.upgrade() else {
                return;
            };
            let mut next = self.collecting.step(&shared, signal);
            if let Some(reclaimer) = &mut self.reclaimer {
                next = next.into_iter().chain(reclaimer.step(&shared)).min();
            }
            drop(shared);
            if !signal.wait(next) {
                return;
            }
        }
    }
}

#[derive(Debug)]
struct Collecting {
    budget: Budget,
    /// Something was to be collected, and the last slice was not the end of it.
    begun: bool,
    not_before: Option<Instant>,
}

impl Collecting {
    /// Does a slice, if there is anything to collect.
    fn step(&mut self, shared: &Shared, signal: &Signal) -> Next {
        self.begun |= signal.take_garbage();
        if !self.begun {
            return None;
        }
        if self.not_before.is_some_and(|time| Instant::now() < time) {
            return self.not_before;
        }
        let rest = match shared.collect_slice(self.budget) {
            Ok((Progress::More, _)) => Some(REST),
            Err(error) if !is_final(&error) => Some(RETRY),
            // Where it failed there is nothing to be done until a repair has it woken again.
            Ok((Progress::Quiet, _)) | Err(_) => None,
        };
        self.begun = rest.is_some();
        self.not_before = rest.map(|time| Instant::now() + time);
        self.not_before
    }
}

/// Whether trying again is of no use.
fn is_final(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Damaged | ErrorKind::Poisoned)
}

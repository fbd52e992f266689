//! How far a client has come, and when it went on after something was done to its server.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// How far a client has come.
#[derive(Debug, Default)]
pub(crate) struct Progress(Mutex<Counts>);

/// What a client counts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Its commits that are there: acknowledged, or found.
    pub(crate) commits: u64,
    /// Of those that were not answered, how many were found, and how many were not.
    pub(crate) found: u64,
    pub(crate) lost: u64,
    /// When something was done to its server.
    fault: Option<SystemTime>,
    /// How long after that the first commit was acknowledged that was begun after it.
    gone_on: Option<Duration>,
}

/// What has become of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was acknowledged.
    Acknowledged,
    /// It was not answered, and made.
    Found,
    /// It was not answered, and not made.
    Lost,
}

impl Progress {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        // A client that has failed says so by itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn counts(&self) -> Counts {
        *self.lock()
    }

    /// Something has just been done to the server.
    pub(crate) fn fault(&self) {
        let mut counts = self.lock();
        counts.fault = Some(SystemTime::now());
        counts.gone_on = None;
    }

    /// How long it took to go on after the last fault; none while it has not.
    pub(crate) fn gone_on(&self) -> Option<Duration> {
        self.lock().gone_on
    }

    /// Notes a commit that was begun at that time. One that was begun before the fault may have been
    /// acknowledged before it, and tells nothing of what came after.
    pub(crate) fn note(&self, outcome: Outcome, began: SystemTime) {
        let mut counts = self.lock();
        match outcome {
            Outcome::Acknowledged => counts.commits += 1,
            Outcome::Found => {
                counts.commits += 1;
                counts.found += 1;
            }
            Outcome::Lost => counts.lost += 1,
        }
        if outcome == Outcome::Acknowledged
            && counts.gone_on.is_none()
            && let Some(fault) = counts.fault.filter(|fault| began > *fault)
        {
            counts.gone_on = fault.elapsed().ok();
        }
    }
}

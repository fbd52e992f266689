//! Large values that are dead: their blocks go back to the system at once, not only when the segment
//! is cleaned.
//!
//! That is done when
//! - no state shows the value: those from before it was superseded are held by nobody, so that nobody
//!   has a slice of it or will get one;
//! - what superseded it is on the device, so that no recovery goes back to the value;
//! - the log proves, by what is on the device of it, that the value was once there whole. So recovery
//!   tells a value that was given up from one that was being written when the power was lost.
//!
//! What waits for that is known in memory only; after a restart it is left to cleaning. Failures are of
//! no consequence: any content in place of a dead value is as good as another.

use std::collections::VecDeque;
use std::io;
use std::sync::Weak;
use std::sync::atomic::{Ordering, fence};

use crate::log::{Entry, FRONT_BYTES, Known, LARGE_BYTES, Place, hole_of_op};
use crate::state::State;
use crate::writer::Writer;

/// Dead values whose space was not given back yet.
#[derive(Debug, Default)]
pub(crate) struct Holes {
    /// Superseded by what the newest state shows, which is to be published.
    fresh: Vec<Dead>,
    /// States that were replaced, and what became dead when the next one was published: it is shown
    /// by that state and ones before.
    shown: VecDeque<(Weak<State>, Vec<Dead>)>,
    /// Shown by no state.
    hidden: Vec<Dead>,
    /// Set where the file system has no holes.
    unsupported: bool,
}

#[derive(Clone, Copy, Debug)]
struct Dead {
    value: Entry,
    /// The frame that superseded it.
    since: Place,
}

impl Holes {
    /// Notes that `value` was superseded by the frame at `since`.
    pub(crate) fn add(&mut self, value: Entry, since: Place) {
        if value.bytes_max() >= LARGE_BYTES as u64 && !self.unsupported {
            self.fresh.push(Dead { value, since });
        }
    }

    /// Notes that `old` was the newest state up to now.
    pub(crate) fn retire(&mut self, old: Weak<State>) {
        let fresh = std::mem::take(&mut self.fresh);
        if let Some((state, dead)) = self.shown.back_mut()
            && state.strong_count() == 0
        {
            // Waiting for one more state does no harm, and keeps the list as short as that of snapshots.
            *state = old;
            dead.extend(fresh);
            return;
        }
        self.shown.push_back((old, fresh));
    }

    /// Takes out what can be given up.
    fn take(&mut self, known: Known) -> Vec<Dead> {
        while self
            .shown
            .front()
            .is_some_and(|(state, _)| state.strong_count() == 0)
        {
            // Whatever the last holder read of the state was read before what follows.
            fence(Ordering::Acquire);
            let dead = self.shown.pop_front().map(|(_, dead)| dead);
            self.hidden.extend(dead.unwrap_or_default());
        }
        let place = |value: Entry| (value.segment(), value.offset());
        let ready = |dead: &Dead| dead.since < known.synced && place(dead.value) < known.proved;
        let (ready, hidden) = self.hidden.drain(..).partition(ready);
        self.hidden = hidden;
        ready
    }
}

impl Writer {
    /// Gives back what is dead and can be given up.
    pub(crate) fn punch(&mut self) {
        for dead in self.holes.take(self.log.known()) {
            if self.log.is_poisoned() || self.holes.unsupported {
                return;
            }
            if let Err(error) = self.punch_value(dead.value) {
                self.holes.unsupported = error.kind() == io::ErrorKind::Unsupported;
            }
        }
    }

    fn punch_value(&self, value: Entry) -> io::Result<()> {
        // A segment that was cleaned is gone, or is only there for snapshots.
        let Ok(segment) = self.state.segment(value) else {
            return Ok(());
        };
        let file = self.fs.open(segment.path())?;
        let mut front = [0; FRONT_BYTES];
        file.read_at(&mut front, value.offset())?;
        match hole_of_op(&front, value.offset()) {
            Some((begin, bytes)) => file.punch(begin, bytes),
            None => Ok(()),
        }
    }
}

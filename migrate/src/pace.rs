//! Telling progress, and noticing a request to stop, every few objects.

use std::cell::Cell;

use durum_core::Result;

use crate::options::StopWatch;
use crate::pipeline::Progress;

/// It is told after so many objects, or so many bytes of them: a few milliseconds of work.
const OBJECTS: u64 = 256;
const BYTES: u64 = 1 << 20;

/// Counts the objects of a phase.
pub(crate) struct Pace<'a> {
    progress: &'a dyn Progress,
    watch: &'a StopWatch,
    objects: Cell<u64>,
    bytes: Cell<u64>,
}

impl<'a> Pace<'a> {
    pub(crate) fn new(progress: &'a dyn Progress, watch: &'a StopWatch) -> Pace<'a> {
        Pace {
            progress,
            watch,
            objects: Cell::new(0),
            bytes: Cell::new(0),
        }
    }

    /// One object more, with so many bytes, is done; an error where it is to stop.
    pub(crate) fn step(&self, bytes: usize) -> Result<()> {
        self.objects.set(self.objects.get() + 1);
        self.bytes.set(self.bytes.get() + bytes as u64);
        match self.objects.get() < OBJECTS && self.bytes.get() < BYTES {
            true => Ok(()),
            false => self.tell(),
        }
    }

    /// Tells of what was not told of yet.
    pub(crate) fn tell(&self) -> Result<()> {
        self.progress
            .advance(self.objects.take(), self.bytes.take());
        self.watch.check()
    }
}

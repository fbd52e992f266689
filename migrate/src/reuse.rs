//! Buffers that go round: memory that one thread allocates and another frees, again and again, is not
//! given back for long by common allocators.

use std::sync::{Mutex, PoisonError};

/// Larger buffers, which one large object has made, are not kept.
const CAPACITY_MAX: usize = 1 << 20;

/// What can be emptied and used again.
pub(crate) trait Reuse: Default {
    fn clear(&mut self);
    /// The bytes of its largest buffer.
    fn capacity(&self) -> usize;
}

/// Values that are not in use.
#[derive(Debug)]
pub(crate) struct Spare<T>(Mutex<Vec<T>>);

impl<T: Reuse> Spare<T> {
    pub(crate) fn new() -> Spare<T> {
        Spare(Mutex::new(Vec::new()))
    }

    /// An empty value.
    pub(crate) fn take(&self) -> T {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        values.pop().unwrap_or_default()
    }

    /// Empties the value and keeps it.
    pub(crate) fn give(&self, mut value: T) {
        value.clear();
        if value.capacity() <= CAPACITY_MAX {
            let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            values.push(value);
        }
    }
}

//! A channel that is bounded by bytes, so that objects of any size pass in constant memory.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Values on their way to one or more receivers, each with its size. A value that is larger than the
/// bound passes alone.
#[derive(Debug)]
pub(crate) struct Channel<T> {
    bytes_max: usize,
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    values: VecDeque<(T, usize)>,
    bytes: usize,
    closed: bool,
}

impl<T> Channel<T> {
    pub(crate) fn new(bytes_max: usize) -> Channel<T> {
        let state = State {
            values: VecDeque::new(),
            bytes: 0,
            closed: false,
        };
        Channel {
            bytes_max,
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room and sends; false where the channel was closed.
    pub(crate) fn send(&self, value: T, bytes: usize) -> bool {
        let mut state = self.lock();
        while !state.closed && state.bytes > 0 && state.bytes + bytes > self.bytes_max {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return false;
        }
        state.bytes += bytes;
        state.values.push_back((value, bytes));
        self.changed.notify_all();
        true
    }

    /// Waits until there is a value or the channel is closed; false where `time` has passed before.
    pub(crate) fn wait(&self, time: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.lock(), time, |state| {
            state.values.is_empty() && !state.closed
        });
        let (_state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        !waited.timed_out()
    }

    /// Waits for the next value; `None` when the channel is closed and empty.
    pub(crate) fn receive(&self) -> Option<T> {
        let mut state = self.lock();
        loop {
            if let Some((value, bytes)) = state.values.pop_front() {
                state.bytes -= bytes;
                self.changed.notify_all();
                return Some(value);
            }
            if state.closed {
                return None;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Closes the channel when the returned guard is dropped, so that neither end waits for one that
    /// has failed.
    pub(crate) fn closing(&self) -> Closing<'_, T> {
        Closing(self)
    }
}

#[derive(Debug)]
pub(crate) struct Closing<'a, T>(&'a Channel<T>);

impl<T> Drop for Closing<'_, T> {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_pass_in_order_within_the_bound() {
        let channel = Channel::new(10);
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| {
                let _closing = channel.closing();
                // 50 is larger than the bound and passes alone.
                [4, 4, 50, 1, 9]
                    .into_iter()
                    .all(|size| channel.send(size, size))
            });
            let mut received = Vec::new();
            while let Some(value) = channel.receive() {
                let state = channel.lock();
                assert!(state.bytes <= 10 || state.values.len() == 1);
                drop(state);
                received.push(value);
            }
            assert_eq!(received, [4, 4, 50, 1, 9]);
            assert!(sender.join().unwrap());
        });
    }

    #[test]
    fn waiting_takes_as_long_as_it_was_told_to() {
        let channel = Channel::new(10);
        assert!(!channel.wait(Duration::from_millis(1)));
        assert!(channel.send(1, 1) && channel.wait(Duration::MAX));
        assert_eq!(channel.receive(), Some(1));
        drop(channel.closing());
        assert!(channel.wait(Duration::MAX));
    }

    #[test]
    fn a_sender_does_not_wait_for_a_receiver_that_is_gone() {
        let channel = Channel::new(1);
        assert!(channel.send(1, 1));
        drop(channel.closing());
        assert!(!channel.send(2, 1));
        assert_eq!((channel.receive(), channel.receive()), (Some(1), None));
    }
}

//! Group commit: commits that arrive while another is being written are written together.
//!
//! The first caller to arrive leads: it takes all that wait, has them written in one engine batch with
//! one sync, hands out the results, and gives the lead to one of those that came meanwhile. So the
//! rate of many committers is not bounded by the disk's sync rate, and a lone one waits for nobody.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::error::{Error, ErrorKind, Result};

/// Requests of type `T`, each answered with an `R`.
#[derive(Debug)]
pub(super) struct Queue<T, R> {
    state: Mutex<State<T, R>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T, R> {
    waiting: Vec<(T, Arc<Slot<R>>)>,
    led: bool,
}

/// Where the result of a request is put.
#[derive(Debug)]
pub(super) struct Slot<R>(Mutex<Option<Result<R>>>);

impl<R> Slot<R> {
    fn put(&self, result: Result<R>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
    }

    fn take(&self) -> Option<Result<R>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<T, R> Default for Queue<T, R> {
    fn default() -> Queue<T, R> {
        let state = State {
            waiting: Vec::new(),
            led: false,
        };
        Queue {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }
}

/// Gives the lead back when the leader is done, also where it panics, and fails those that it took and
/// did not answer.
struct Lead<'a, T, R> {
    queue: &'a Queue<T, R>,
    taken: Vec<Arc<Slot<R>>>,
}

impl<T, R> Drop for Lead<'_, T, R> {
    fn drop(&mut self) {
        for slot in self.taken.drain(..) {
            let mut result = slot.0.lock().unwrap_or_else(PoisonError::into_inner);
            result.get_or_insert_with(|| {
                Err(Error::new(ErrorKind::Poisoned, "commit")
                    .because("the thread that was writing the commit failed"))
            });
        }
        self.queue
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .led = false;
        self.queue.changed.notify_all();
    }
}

impl<T, R> Queue<T, R> {
    /// Has `request` written, by `write` on this thread or another's on its own, and returns its
    /// result. `write` gets the requests in order of arrival and returns as many results.
    pub(super) fn submit(&self, request: T, write: impl Fn(Vec<T>) -> Vec<Result<R>>) -> Result<R> {
        self.wait(&self.enter(request), write)
    }

    /// Gives `request` its place in the order. It is written when somebody waits for it, or for another.
    pub(super) fn enter(&self, request: T) -> Arc<Slot<R>> {
        let slot = Arc::new(Slot(Mutex::new(None)));
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting.push((request, slot.clone()));
        slot
    }

    /// As [`Queue::submit`], of a request that has its place. Its result is there once.
    pub(super) fn wait(
        &self,
        slot: &Slot<R>,
        write: impl Fn(Vec<T>) -> Vec<Result<R>>,
    ) -> Result<R> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(result) = slot.take() {
                return result;
            }
            if !state.led {
                break;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.led = true;
        let (requests, taken): (Vec<T>, Vec<_>) = state.waiting.drain(..).unzip();
        drop(state);
        let lead = Lead { queue: self, taken };
        let results = write(requests);
        for (slot, result) in lead.taken.iter().zip(results) {
            slot.put(result);
        }
        // Ours was among those taken: it was waiting, and nobody else led.
        let own = slot.take();
        drop(lead);
        own.unwrap_or_else(|| Err(Error::new(ErrorKind::Other, "commit").because("no answer")))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn waiting_requests_are_written_together_and_each_gets_its_own_result() {
        let queue = Queue::<usize, usize>::default();
        let (groups, written) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let start = Barrier::new(8);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (queue, groups, written, start) = (&queue, &groups, &written, &start);
                scope.spawn(move || {
                    start.wait();
                    for round in 0..50 {
                        let request = thread * 1000 + round;
                        let answer = queue.submit(request, |requests| {
                            groups.fetch_add(1, Ordering::Relaxed);
                            written.fetch_add(requests.len(), Ordering::Relaxed);
                            std::thread::sleep(Duration::from_micros(200));
                            requests
                                .into_iter()
                                .map(|request| Ok(request * 2))
                                .collect()
                        });
                        assert_eq!(answer.unwrap(), request * 2);
                    }
                });
            }
        });
        assert_eq!(written.into_inner(), 400);
        assert!(groups.into_inner() < 400);
    }

    #[test]
    fn what_has_its_place_is_written_in_that_order_by_whoever_waits() {
        let queue = Queue::<u8, u8>::default();
        let slots = [1, 2, 3].map(|request| queue.enter(request));
        let groups = Mutex::new(Vec::new());
        let write = |requests: Vec<u8>| {
            groups.lock().unwrap().push(requests.clone());
            requests.into_iter().map(Ok).collect()
        };
        assert_eq!(queue.wait(&slots[1], write).unwrap(), 2);
        assert_eq!(queue.wait(&slots[0], write).unwrap(), 1);
        assert_eq!(queue.submit(4, write).unwrap(), 4);
        assert_eq!(queue.wait(&slots[2], write).unwrap(), 3);
        assert_eq!(*groups.lock().unwrap(), [vec![1, 2, 3], vec![4]]);
    }

    #[test]
    fn a_leader_that_panics_leaves_nobody_waiting() {
        let queue = Queue::<u8, u8>::default();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _ = queue.submit(1, |_| panic!("on purpose"));
        }));
        assert!(panicked.is_err());
        assert_eq!(
            queue
                .submit(2, |requests| requests.into_iter().map(Ok).collect())
                .unwrap(),
            2
        );
    }
}

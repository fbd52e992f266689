//! Writes that arrive while others are being written are written together, in one transaction.
//!
//! All writes of a class append to the same log, so that each would meet all others: one after the other would be committed, and synced, and the
//! others be repeated meanwhile. Whoever comes first writes for all that wait, hands out the results, and leaves the lead to one of those that came meanwhile.
//! A lone writer waits for nobody.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use durum_core::{Error, ErrorKind, Result};

use crate::clock::RevisionId;
use crate::home::Write;

/// Of so many dictionaries at most a transaction is made, unless one writer has more.
const TOGETHER: usize = 1024;

/// What one writer wants written.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) class: String,
    pub(super) writes: Vec<Write>,
}

type Answer = Result<Vec<RevisionId>>;
type Slot = Arc<Mutex<Option<Answer>>>;

/// Those who wait until they are written.
#[derive(Debug, Default)]
pub(super) struct Group {
    state: Mutex<State>,
    answered: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<(Request, Slot)>,
    is_led: bool,
}

impl Group {
    /// Has a request written, by `write` on this thread or on another one's, and returns its result. `write` gets requests in the order in which
    /// they came, and returns as many results.
    pub(super) fn submit(
        &self,
        request: Request,
        write: impl FnOnce(&[Request]) -> Vec<Answer>,
    ) -> Answer {
        let slot = Slot::default();
        let mut state = self.lock();
        state.waiting.push_back((request, slot.clone()));
        while state.is_led {
            state = self
                .answered
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            if let Some(answer) = take(&slot) {
                return answer;
            }
        }
        // Who leads always answers itself: those before it are written with it, or it goes on.
        state.is_led = true;
        let mut lead = Lead {
            group: self,
            slots: Vec::new(),
        };
        let requests = lead.take(state, &slot);
        for (slot, answer) in lead.slots.iter().zip(write(&requests)) {
            put(slot, answer);
        }
        drop(lead);
        take(&slot).unwrap_or_else(|| Err(unanswered()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives the lead back, also after a panic, and answers those who were not answered.
struct Lead<'a> {
    group: &'a Group,
    slots: Vec<Slot>,
}

impl Lead<'_> {
    /// Takes those who wait, up to a limit, and our own request in any case.
    fn take(&mut self, mut state: MutexGuard<'_, State>, own: &Slot) -> Vec<Request> {
        let (mut requests, mut count) = (Vec::new(), 0);
        let mut left = VecDeque::new();
        while let Some((request, slot)) = state.waiting.pop_front() {
            let more = request.writes.len();
            if Arc::ptr_eq(&slot, own) || count + more <= TOGETHER {
                count += more;
                requests.push(request);
                self.slots.push(slot);
            } else {
                left.push_back((request, slot));
            }
        }
        state.waiting = left;
        requests
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        for slot in self.slots.drain(..) {
            let mut answer = slot.lock().unwrap_or_else(PoisonError::into_inner);
            answer.get_or_insert_with(|| Err(unanswered()));
        }
        self.group.lock().is_led = false;
        self.group.answered.notify_all();
    }
}

fn put(slot: &Slot, answer: Answer) {
    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
}

fn take(slot: &Slot) -> Option<Answer> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn unanswered() -> Error {
    Error::new(ErrorKind::Poisoned, "write a dictionary")
        .because("the thread that was writing it failed")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    fn request(count: usize) -> Request {
        let write = |at: usize| Write {
            key: at.to_string(),
            after: None,
            fields: None,
        };
        Request {
            class: "c".to_owned(),
            writes: (0..count).map(write).collect(),
        }
    }

    fn named(request: &Request) -> Answer {
        match request.writes.len() {
            5 => Err(Error::new(ErrorKind::Usage, "write")),
            count => Ok(vec![RevisionId::MIN; count]),
        }
    }

    #[test]
    fn those_who_come_meanwhile_are_written_together_and_each_has_its_own_answer() {
        let (group, times) = (Group::default(), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for thread in 0..8_usize {
                let (group, times) = (&group, &times);
                scope.spawn(move || {
                    for round in 0..50 {
                        let count = if round == 20 { 700 } else { thread + 1 };
                        let answer = group.submit(request(count), |requests| {
                            times.fetch_add(1, Ordering::Relaxed);
                            let all: usize = requests.iter().map(|it| it.writes.len()).sum();
                            assert!(requests.len() == 1 || all <= TOGETHER + 700, "{all}");
                            std::thread::sleep(Duration::from_micros(200));
                            requests.iter().map(named).collect()
                        });
                        match count {
                            5 => assert_eq!(answer.unwrap_err().kind(), ErrorKind::Usage),
                            count => assert_eq!(answer.unwrap().len(), count),
                        }
                    }
                });
            }
        });
        assert!(times.into_inner() < 400);
        assert!(group.lock().waiting.is_empty());
    }

    #[test]
    fn a_writer_that_panics_does_not_stop_the_others() {
        let group = Group::default();
        let panics =
            std::panic::AssertUnwindSafe(|| group.submit(request(1), |_| panic!("as meant")));
        assert!(std::panic::catch_unwind(panics).is_err());
        let forgets = group.submit(request(1), |_| Vec::new());
        assert_eq!(forgets.unwrap_err().kind(), ErrorKind::Poisoned);
        let answer = group.submit(request(2), |requests| requests.iter().map(named).collect());
        assert_eq!(answer.unwrap().len(), 2);
    }
}

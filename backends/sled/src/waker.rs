//! Waking what waits for a write that has failed.
//!
//! sled notes the error of a write that one of its threads did, and does not always tell those who wait for
//! it (sled 0.34.7, `Log::exit_reservation`): they wait for ever. Any flush that begins afterwards finds the
//! error and wakes them. So while an operation takes long, the database is flushed from a thread of its own.
//! That never goes by sled's own pool of threads: there it could take the places of the writes that the
//! operation waits for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

/// After so long an operation may be one that waits in vain. One that just has much to do is not harmed.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is looked at what goes on, while something does.
const LOOK: Duration = Duration::from_millis(500);

/// Watches over the operations of a database.
#[derive(Debug)]
pub(crate) struct FailureWaker {
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    running: AtomicU64,
    ended: AtomicU64,
    /// Whether the thread waits until there is something to watch.
    idle: AtomicBool,
    stop: AtomicBool,
    /// How often the database was flushed.
    flushes: AtomicU64,
}

impl FailureWaker {
    /// Starts watching; without a thread, for want of one, operations are on their own.
    pub(crate) fn start(db: &sled::Db) -> FailureWaker {
        let (state, db) = (Arc::<State>::default(), db.clone());
        let watched = state.clone();
        let thread = std::thread::Builder::new()
            .name("sled's waker".to_owned())
            .spawn(move || watch(&watched, &db));
        FailureWaker {
            state,
            thread: thread.ok(),
        }
    }

    /// Runs an operation.
    pub(crate) fn watch<T>(&self, work: impl FnOnce() -> T) -> T {
        let _running = Running::begin(&self.state, self.thread.as_ref().map(JoinHandle::thread));
        work()
    }
}

impl FailureWaker {
    /// No flush begins from here on: after a failure it may not end.
    pub(crate) fn stop(&self) {
        self.state.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    /// Stops, and does not wait for a flush that goes on.
    pub(crate) fn abandon(mut self) {
        self.stop();
        self.thread = None;
    }
}

impl Drop for FailureWaker {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            // It holds the database, which is to be closed afterwards.
            let _ = thread.join();
        }
    }
}

/// An operation that has begun.
struct Running<'a>(&'a State);

impl<'a> Running<'a> {
    fn begin(state: &'a State, thread: Option<&Thread>) -> Running<'a> {
        state.running.fetch_add(1, Ordering::SeqCst);
        if state.idle.swap(false, Ordering::SeqCst)
            && let Some(thread) = thread
        {
            thread.unpark();
        }
        Running(state)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::SeqCst);
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

fn watch(state: &State, db: &sled::Db) {
    let (mut ended, mut since) = (0, Instant::now());
    while !state.stop.load(Ordering::SeqCst) {
        let now = state.ended.load(Ordering::SeqCst);
        if now != ended {
            (ended, since) = (now, Instant::now());
        } else if since.elapsed() >= PATIENCE {
            if state.running.load(Ordering::SeqCst) > 0 {
                tracing::debug!("sled takes long");
                // What it returns, the operation returns as well.
                let _same = db.flush();
                state.flushes.fetch_add(1, Ordering::SeqCst);
            } else {
                state.idle.store(true, Ordering::SeqCst);
                // Where one has begun before this was idle, it goes on watching.
                let idle = state.running.load(Ordering::SeqCst) == 0;
                if idle && !state.stop.load(Ordering::SeqCst) {
                    std::thread::park();
                }
                state.idle.store(false, Ordering::SeqCst);
                since = Instant::now();
            }
        }
        std::thread::park_timeout(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_an_operation_takes_long_the_database_is_flushed() {
        let home = tempfile::tempdir().unwrap();
        let db = sled::Config::new().path(home.path()).open().unwrap();
        let waker = FailureWaker::start(&db);
        let flushes = || waker.state.flushes.load(Ordering::SeqCst);
        let put = |key: u32| waker.watch(|| db.insert(key.to_be_bytes(), vec![1; 100]).unwrap());
        (0..100).for_each(|key| assert_eq!(put(key), None));
        assert_eq!(flushes(), 0);
        // Until the thread has gone to rest, so that it has to be woken.
        while !waker.state.idle.load(Ordering::SeqCst) {
            std::thread::sleep(LOOK);
        }
        waker.watch(|| {
            while flushes() == 0 {
                std::thread::sleep(LOOK);
            }
        });
        (0..100).for_each(|key| assert!(put(key).is_some()));
        drop(waker);
        db.flush().unwrap();
        assert_eq!(db.len(), 100);
    }
}

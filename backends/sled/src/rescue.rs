//! Getting sled's threads out of a deadlock.
//!
//! sled has one pool of threads in a process, of which seven wait for jobs. A write that lengthens a file
//! waits, and holds a lock, until an earlier shortening of that file has been done, which is a job of the
//! pool; but all threads of the pool may be waiting for that very lock, to tell of what they have written,
//! and more threads are started only where more than seven jobs wait (sled 0.34.7, `threadpool.rs` and
//! `SegmentAccountant::bump_tip`). Then nothing goes on for ever. It takes a busy machine, and happens more
//! easily where several databases are written to at once.
//!
//! Enough further jobs make the pool start threads, which take the oldest jobs first: so an operation that
//! takes too long is helped by asking for flushes that nobody waits for.

use std::future::Future as _;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

/// An operation that takes longer than this is helped. One that just has much to do is not harmed.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is looked at what goes on, while something does.
const LOOK: Duration = Duration::from_millis(500);
/// Jobs for the pool at a time: more than it lets wait before it starts another thread.
const JOBS: usize = 12;

/// Watches over the operations of a database.
#[derive(Debug)]
pub(crate) struct Rescue {
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
    /// How often there was help.
    helped: AtomicU64,
}

impl Rescue {
    /// Starts watching; without a thread, for want of one, operations are on their own.
    pub(crate) fn start(db: &sled::Db) -> Rescue {
        let (state, db) = (Arc::<State>::default(), db.clone());
        let watched = state.clone();
        let thread = std::thread::Builder::new()
            .name("sled's rescue".to_owned())
            .spawn(move || watch(&watched, &db));
        Rescue {
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

impl Drop for Rescue {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
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
                tracing::debug!("sled takes long: its threads get help");
                (0..JOBS).for_each(|_| ask_for_a_flush(db));
                state.helped.fetch_add(1, Ordering::SeqCst);
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

/// Has the pool flush the database, and does not wait for it.
fn ask_for_a_flush(db: &sled::Db) {
    let flush = pin!(db.flush_async());
    let _ = flush.poll(&mut Context::from_waker(Waker::noop()));
    // Threads are started one after the other.
    std::thread::sleep(Duration::from_millis(2));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// sled's deadlock itself comes once in hundreds of runs, and cannot be had on request.
    #[test]
    fn what_takes_long_is_helped_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let db = sled::Config::new().path(home.path()).open().unwrap();
        let rescue = Rescue::start(&db);
        let helped = || rescue.state.helped.load(Ordering::SeqCst);
        let put = |key: u32| rescue.watch(|| db.insert(key.to_be_bytes(), vec![1; 100]).unwrap());
        (0..100).for_each(|key| assert_eq!(put(key), None));
        assert_eq!(helped(), 0);
        // Until the thread has gone to rest, so that it has to be woken.
        while !rescue.state.idle.load(Ordering::SeqCst) {
            std::thread::sleep(LOOK);
        }
        rescue.watch(|| {
            while helped() == 0 {
                std::thread::sleep(LOOK);
            }
        });
        (0..100).for_each(|key| assert!(put(key).is_some()));
        drop(rescue);
        db.flush().unwrap();
        assert_eq!(db.len(), 100);
    }
}

//! The order of commits, between clients of a protocol in which the client looks for conflicts itself.
//!
//! In Durus's protocol a client asks which objects have become invalid, and then sends its transaction or
//! gives up. What others commit in between it could not know: so nobody else's commit may get its place in
//! the order meanwhile. That is a matter of one round trip, unless the client is slow: after some time
//! others go on, and the slow one is refused if they have committed anything.
//!
//! A commit that has its place is not yet on the disk. Clients that ask meanwhile are told of what it
//! writes, so that commits of many clients are written together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use durum_core::Oid;
use durum_core::store::{Enqueued, LocalStore, Prepared};
use tokio::sync::OwnedMutexGuard;

/// Who may enqueue a commit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Order {
    gate: Arc<tokio::sync::Mutex<()>>,
    pending: Arc<Mutex<Pending>>,
}

/// Commits that have their place and may not be visible yet.
#[derive(Debug, Default)]
struct Pending {
    /// The number of commits so far.
    count: u64,
    /// What each writes.
    oids: HashMap<u64, Arc<[Oid]>>,
}

/// The right to be the next to commit, for a limited time.
#[derive(Debug)]
pub(crate) struct Turn {
    order: Order,
    guard: Option<OwnedMutexGuard<()>>,
    /// The number of commits when it began.
    count: u64,
}

/// A commit that has its place; what it writes is told to others until this is dropped.
#[derive(Debug)]
pub(crate) struct Placed {
    order: Order,
    number: u64,
    commit: Option<Enqueued>,
}

impl Order {
    /// Waits until nobody else has the right.
    pub(crate) async fn turn(&self) -> Turn {
        let guard = self.gate.clone().lock_owned().await;
        Turn {
            count: self.pending().count,
            order: self.clone(),
            guard: Some(guard),
        }
    }

    /// Adds to `out` what commits write that may not be visible yet.
    pub(crate) fn pending_oids(&self, out: &mut Vec<Oid>) {
        for oids in self.pending().oids.values() {
            out.extend_from_slice(oids);
        }
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Lets others commit.
    pub(crate) fn yield_to_others(&mut self) {
        self.guard = None;
    }

    /// Has the right again, where it was given up; false where others have committed since.
    pub(crate) async fn resume(&mut self) -> bool {
        if self.guard.is_none() {
            self.guard = Some(self.order.gate.clone().lock_owned().await);
        }
        self.order.pending().count == self.count
    }

    /// Gives a commit its place. `oids` are what it writes.
    pub(crate) fn place(self, store: &LocalStore, prepared: Prepared, oids: Vec<Oid>) -> Placed {
        let number = {
            let mut pending = self.order.pending();
            pending.count += 1;
            let number = pending.count;
            pending.oids.insert(number, oids.into());
            number
        };
        // What it writes is told from before it can be visible.
        let mut placed = Placed {
            order: self.order.clone(),
            number,
            commit: None,
        };
        placed.commit = Some(store.enqueue_prepared(prepared));
        placed
    }
}

impl Placed {
    /// The commit itself, to be waited for before this is dropped.
    pub(crate) fn take(&mut self) -> Option<Enqueued> {
        self.commit.take()
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        // Where nobody has waited for it, that is done first.
        drop(self.commit.take());
        self.order.pending().oids.remove(&self.number);
    }
}

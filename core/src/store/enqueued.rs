//! Commits whose place in the order is fixed before they are written.

use std::sync::Arc;

use super::batch::{Batch, Receipt};
use super::local::{LocalStore, Shared};
use super::queue::Slot;
use super::request::Prepared;
use crate::engine::Durability;
use crate::error::Result;

/// A commit that has its place in the order of commits, from [`LocalStore::enqueue`].
///
/// It is written when somebody waits for it, or for any other commit. One that nobody has waited for is
/// waited for when it is dropped.
#[derive(Debug)]
#[must_use = "only who waits for a commit knows what has become of it"]
pub struct Enqueued {
    shared: Arc<Shared>,
    slot: Arc<Slot<Receipt>>,
    waited: bool,
}

impl Enqueued {
    /// Returns when the commit is as durable as asked; blocks until then.
    ///
    /// # Errors
    /// As [`Store::commit`](super::Store::commit).
    pub fn wait(mut self) -> Result<Receipt> {
        let receipt = self.finish()?;
        self.shared.train_when_due();
        Ok(receipt)
    }

    fn finish(&mut self) -> Result<Receipt> {
        self.waited = true;
        let write = |group: Vec<_>| self.shared.write_group(&group);
        self.shared.queue.wait(&self.slot, write)
    }
}

impl Drop for Enqueued {
    fn drop(&mut self) {
        if !self.waited {
            // Nobody wants to know.
            let _ = self.finish();
        }
    }
}

impl LocalStore {
    /// As [`Store::commit`](super::Store::commit), in two steps: what is enqueued first is committed first,
    /// and sees nothing of what comes later. Does not wait for the disk.
    ///
    /// # Errors
    /// What is wrong with the batch whatever the store holds: `Usage`, `TooLarge`, `Unsupported`.
    pub fn enqueue(&self, batch: Batch, durability: Durability) -> Result<Enqueued> {
        Ok(self.enqueue_prepared(self.prepare(batch, durability)?))
    }

    /// As [`LocalStore::enqueue`], of what was prepared before.
    pub fn enqueue_prepared(&self, prepared: Prepared) -> Enqueued {
        Enqueued {
            slot: self.shared.queue.enter(prepared.0),
            shared: self.shared.clone(),
            waited: false,
        }
    }
}

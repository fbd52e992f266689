//! Commits that wait to be written.

use super::batch::{Batch, Write};
use super::local::{LocalStore, Shared};
use crate::engine::Durability;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Oid, Tid};
use crate::record;

/// A commit that waits to be written: its data is compressed already, outside of any lock.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) batch: Batch,
    /// The stored forms, with tid 0 in the place of that which is known only when they are written, and
    /// no checksum.
    pub(super) records: Vec<Vec<u8>>,
    pub(super) durability: Durability,
    /// Where it was sent before: a commit that was known of then.
    pub(super) again_since: Option<Tid>,
}

/// A commit that is ready to be enqueued, from [`LocalStore::prepare`].
#[derive(Debug)]
pub struct Prepared(pub(super) Request);

impl Prepared {
    /// Says that it was sent before, when `since` was known to be committed. Where nobody can know any more
    /// whether it was performed then, it is refused.
    #[must_use]
    pub fn again(mut self, since: Tid) -> Prepared {
        self.0.again_since = Some(since);
        self
    }
}

impl LocalStore {
    /// Does all of a commit's work that can be done beside others: compression, above all.
    ///
    /// # Errors
    /// What is wrong with the batch whatever the store holds: `Usage`, `TooLarge`, `Unsupported`.
    pub fn prepare(&self, batch: Batch, durability: Durability) -> Result<Prepared> {
        self.shared.prepare(batch, durability).map(Prepared)
    }
}

impl Shared {
    /// Does all of a commit's work that needs neither its tid nor the current state.
    pub(super) fn prepare(&self, mut batch: Batch, durability: Durability) -> Result<Request> {
        let durability = self.offered_durability(durability)?;
        // This process has the store for all of its life.
        if batch.incarnation.is_some_and(|expected| expected != 0) {
            return Err(Error::new(ErrorKind::TooOld, "commit")
                .because("what it was made from is of another life of the store"));
        }
        batch.normalize()?;
        let codec = batch.codec.unwrap_or(self.codec);
        let mut buffer = Vec::new();
        let mut records = Vec::with_capacity(batch.writes.len());
        for Write {
            oid, data, refs, ..
        } in &batch.writes
        {
            let payload = self.codecs.compress(codec, data, &mut buffer)?;
            let mut encoded = Vec::with_capacity(data.len() + refs.len() + 32);
            record::encode_unsealed(Tid::ZERO, None, refs, payload, &mut encoded);
            // The tid and the anchor that replace the 0s take up to nine bytes more each.
            if encoded.len() as u64 + 18 > self.capabilities.value_bytes_max {
                let limit = self.capabilities.value_bytes_max;
                return Err(Error::new(ErrorKind::TooLarge, "commit")
                    .with_engine(self.capabilities.name)
                    .because(format!(
                        "the object takes {} bytes, the engine {limit}",
                        data.len()
                    ))
                    .with_oid(*oid));
            }
            records.push(encoded);
        }
        Ok(Request {
            batch,
            records,
            durability,
            again_since: None,
        })
    }

    /// Refuses a record that the engine cannot hold.
    pub(super) fn check_length(&self, doing: &'static str, oid: Oid, bytes: usize) -> Result<()> {
        let limit = self.capabilities.value_bytes_max;
        if bytes as u64 <= limit {
            return Ok(());
        }
        Err(Error::new(ErrorKind::TooLarge, doing)
            .with_engine(self.capabilities.name)
            .because(format!("it takes {bytes} bytes, the engine {limit}"))
            .with_oid(oid))
    }

    /// The weakest level that the engine offers and that is at least `durability`.
    pub(super) fn offered_durability(&self, durability: Durability) -> Result<Durability> {
        let offered = &self.capabilities.durability;
        if let Some(level) = offered.iter().filter(|level| **level >= durability).min() {
            return Ok(*level);
        }
        let names: Vec<&str> = offered.iter().map(|level| level.name()).collect();
        Err(Error::new(ErrorKind::Unsupported, "commit")
            .with_engine(self.capabilities.name)
            .because(format!(
                "the engine does not offer the durability {}",
                durability.name()
            ))
            .hint(format!("It offers {}.", names.join(", "))))
    }
}

//! Merging a full backup with increments.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use durum_core::digest::Digest;
use durum_core::{Oid, Result};

use super::entries::Entry;
use super::reader::StreamReader;

/// Several streams at once: of each object the last one's word counts.
#[derive(Debug)]
pub(super) struct Merge {
    streams: Vec<(StreamReader, Entry)>,
    /// The streams by the OIDs of their entries, the smallest first; of those with the same OID the last
    /// stream first.
    order: BinaryHeap<(Reverse<Oid>, usize)>,
    digest: Digest,
    /// Entries that were read of all streams.
    read: u64,
}

impl Merge {
    /// Begins with the first entries of all streams.
    pub(super) fn new(readers: Vec<StreamReader>) -> Result<Merge> {
        let count = readers.len();
        let mut merge = Merge {
            streams: readers
                .into_iter()
                .map(|reader| (reader, Entry::default()))
                .collect(),
            order: BinaryHeap::with_capacity(count),
            digest: Digest::default(),
            read: 0,
        };
        for number in 0..count {
            merge.advance(number)?;
        }
        Ok(merge)
    }

    /// The next object that exists after all streams; `None` when there are no more, and all streams were
    /// verified to their ends.
    pub(super) fn next(&mut self) -> Result<Option<Entry>> {
        while let Some((Reverse(oid), number)) = self.order.pop() {
            let entry = self.streams.get_mut(number);
            let entry = entry.map(|(_, entry)| std::mem::take(entry));
            self.advance(number)?;
            // What earlier streams say of the same object is outdated.
            while let Some((_, older)) = self.order.peek().filter(|(it, _)| it.0 == oid) {
                let older = *older;
                self.order.pop();
                self.advance(older)?;
            }
            if let Some(entry) = entry.filter(|entry| !entry.deleted) {
                self.digest += entry.digest;
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// The digest of all objects so far.
    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    pub(super) fn read(&self) -> u64 {
        self.read
    }

    /// The digest that the last stream gives for the whole store, if it has one and was read.
    pub(super) fn digest_expected(&self) -> Option<Digest> {
        let (reader, _) = self.streams.last()?;
        reader.totals()?.store_digest
    }

    fn advance(&mut self, number: usize) -> Result<()> {
        if let Some((reader, entry)) = self.streams.get_mut(number)
            && reader.next(entry)?
        {
            self.read += 1;
            self.order.push((Reverse(entry.oid), number));
        }
        Ok(())
    }
}

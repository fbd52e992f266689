//! The content of a stream: one entry for each object, cut into blocks wherever they end.

use durum_core::digest::Digest;
use durum_core::record::varint;
use durum_core::{Oid, Tid};

use super::format::{BLOCK_BYTES, Totals};

/// An object in a stream, or the deletion of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) oid: Oid,
    /// It was deleted; nothing else counts then.
    pub(super) deleted: bool,
    pub(super) tid: Tid,
    pub(super) refs: Vec<Oid>,
    pub(super) data: Vec<u8>,
    /// The digest of this object alone.
    pub(super) digest: Digest,
}

impl Entry {
    /// What it weighs in memory.
    pub(super) fn weight(&self) -> usize {
        size_of::<Entry>() + self.data.len() + self.refs.len() * size_of::<Oid>()
    }
}

/// Encodes entries and hands on full blocks.
pub(super) struct Encoder<F> {
    block: Vec<u8>,
    /// The smallest OID that can come next.
    next: u64,
    totals: Totals,
    send: F,
}

impl<F: FnMut(Vec<u8>) -> bool> Encoder<F> {
    /// `send` takes a block and says whether more are wanted.
    pub(super) fn new(send: F) -> Encoder<F> {
        Encoder {
            block: Vec::with_capacity(BLOCK_BYTES),
            next: 0,
            totals: Totals::default(),
            send,
        }
    }

    /// Adds an object, with an OID larger than all before; false where no more is wanted.
    pub(super) fn put(
        &mut self,
        oid: Oid,
        tid: Tid,
        refs: impl ExactSizeIterator<Item = Oid> + Clone,
        data: &[u8],
    ) -> bool {
        self.totals.digest.add(oid, refs.clone(), data);
        self.totals.bytes += data.len() as u64;
        let mut head = self.begin(oid, false);
        varint::put(&mut head, tid.0);
        varint::put(&mut head, refs.len() as u64);
        let mut last = 0;
        for reference in refs {
            varint::put(&mut head, reference.0.wrapping_sub(last));
            last = reference.0;
        }
        varint::put(&mut head, data.len() as u64);
        self.append(&head) && self.append(data)
    }

    /// Adds the deletion of an object.
    pub(super) fn delete(&mut self, oid: Oid) -> bool {
        self.totals.deleted += 1;
        let head = self.begin(oid, true);
        self.append(&head)
    }

    /// Hands on what is left and returns what all of it came to; `None` where it was not wanted.
    pub(super) fn finish(mut self) -> Option<Totals> {
        (self.block.is_empty() || self.flush()).then_some(self.totals)
    }

    pub(super) fn totals(&self) -> &Totals {
        &self.totals
    }

    fn begin(&mut self, oid: Oid, deleted: bool) -> Vec<u8> {
        let mut head = Vec::new();
        // OIDs lie below 2^63: there is a bit to spare.
        let step = oid.0.wrapping_sub(self.next);
        varint::put(&mut head, step << 1 | u64::from(deleted));
        self.next = oid.0 + 1;
        head
    }

    fn append(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let room = BLOCK_BYTES - self.block.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() == BLOCK_BYTES && !self.flush() {
                return false;
            }
        }
        true
    }

    fn flush(&mut self) -> bool {
        self.totals.blocks += 1;
        let full = std::mem::replace(&mut self.block, Vec::with_capacity(BLOCK_BYTES));
        (self.send)(full)
    }
}

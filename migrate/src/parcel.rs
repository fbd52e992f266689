//! Objects on their way from the source to the destination, many at a time.

use std::ops::Range;

use durum_core::digest::Digest;
use durum_core::record::{Codec, Codecs, Payload, Record};
use durum_core::{Error, ErrorKind, Oid, Result, Tid};

use crate::durus::DurusObject;
use crate::reuse::Reuse;
use crate::zodb::LeftOut;

/// Parcels have about this many bytes: few enough switches between threads, and a batch of the
/// destination each.
pub(crate) const PARCEL_BYTES: usize = 256 << 10;
/// What an object costs beyond its bytes on its way.
const OBJECT_OVERHEAD: usize = 64;
/// What an error costs.
const REJECT_OVERHEAD: usize = 512;

/// Objects as they were read.
#[derive(Debug, Default)]
pub(crate) struct Parcel {
    arena: Vec<u8>,
    /// Records as they are stored, not verified yet.
    stored: Vec<(Oid, Range<usize>)>,
    /// Objects of files of other kinds.
    objects: Vec<DurusObject>,
    /// What could not be read at all.
    rejects: Vec<Reject>,
    left_out: LeftOut,
    bytes: usize,
}

impl Parcel {
    pub(crate) fn add_stored(&mut self, oid: Oid, bytes: &[u8]) {
        let start = self.arena.len();
        self.arena.extend_from_slice(bytes);
        self.stored.push((oid, start..self.arena.len()));
        self.bytes += bytes.len() + OBJECT_OVERHEAD;
    }

    /// Verifies the records and adds them to a digest. `data` is memory to be used.
    ///
    /// # Errors
    /// `Damaged` names the first object that cannot be read.
    pub(crate) fn add_to(
        &self,
        digest: &mut Digest,
        codecs: &Codecs,
        data: &mut Vec<u8>,
    ) -> Result<()> {
        for (oid, range) in &self.stored {
            let bytes = self.arena.get(range.clone()).unwrap_or_default();
            let record = Record::parse(*oid, bytes)?;
            let plain = match record.payload().as_plain() {
                Some(plain) => plain,
                None => {
                    data.clear();
                    record.read_data(codecs, data)?;
                    &*data
                }
            };
            digest.add(*oid, record.refs(), plain);
        }
        Ok(())
    }

    /// Adds an object, and what of it is not copied.
    pub(crate) fn add_object(&mut self, object: DurusObject, left_out: LeftOut) {
        self.left_out += left_out;
        self.bytes += object.data.len() + object.refs.len() * 8 + OBJECT_OVERHEAD;
        self.objects.push(object);
    }

    /// Adds what cannot be read.
    pub(crate) fn add_reject(&mut self, error: Error) {
        self.bytes += REJECT_OVERHEAD;
        let oid = error.oids().first().copied().unwrap_or_default();
        self.rejects.push(Reject {
            oid,
            error,
            stored: None,
        });
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= PARCEL_BYTES
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// What it takes of memory, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Reuse for Parcel {
    fn clear(&mut self) {
        self.arena.clear();
        self.stored.clear();
        self.objects.clear();
        self.rejects.clear();
        self.left_out = LeftOut::default();
        self.bytes = 0;
    }

    fn capacity(&self) -> usize {
        self.arena.capacity()
    }
}

/// An object that is left out.
#[derive(Debug)]
pub(crate) struct Reject {
    pub(crate) oid: Oid,
    pub(crate) error: Error,
    /// Its bytes, where they could be had.
    pub(crate) stored: Option<Vec<u8>>,
}

/// Objects as they are to be written.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    arena: Vec<u8>,
    refs: Vec<Oid>,
    objects: Vec<PreparedObject>,
    /// What of it is left out.
    pub(crate) rejects: Vec<Reject>,
    /// The digest of the others, if it is wanted.
    pub(crate) digest: Digest,
    /// Bytes of their data.
    pub(crate) data_bytes: u64,
    /// What of them is not copied.
    pub(crate) left_out: LeftOut,
    /// The OID after the last one of these, whatever became of it.
    pub(crate) next: Oid,
}

#[derive(Debug)]
struct PreparedObject {
    oid: Oid,
    tid: Tid,
    refs: Range<usize>,
    payload: Payload<'static>,
    bytes: Range<usize>,
}

impl Reuse for Prepared {
    fn clear(&mut self) {
        self.arena.clear();
        self.refs.clear();
        self.objects.clear();
        self.rejects.clear();
        self.digest = Digest::default();
        self.data_bytes = 0;
        self.left_out = LeftOut::default();
        self.next = Oid::ROOT;
    }

    fn capacity(&self) -> usize {
        self.arena.capacity()
    }
}

impl Prepared {
    /// The number of objects.
    pub(crate) fn objects(&self) -> u64 {
        self.objects.len() as u64
    }

    pub(crate) fn bytes(&self) -> usize {
        let rejects = self
            .rejects
            .iter()
            .filter_map(|reject| reject.stored.as_ref());
        let rejected: usize = rejects.map(Vec::len).sum();
        let overhead = self.objects.len() * OBJECT_OVERHEAD + self.rejects.len() * REJECT_OVERHEAD;
        self.arena.len() + self.refs.len() * 8 + overhead + rejected
    }

    /// Calls `take` with the parts of each object, in ascending order.
    pub(crate) fn for_each(
        &self,
        mut take: impl FnMut(Oid, Tid, &[Oid], Payload<'_>) -> Result<()>,
    ) -> Result<()> {
        self.objects.iter().try_for_each(|object| {
            let refs = self.refs.get(object.refs.clone()).unwrap_or_default();
            let bytes = self.arena.get(object.bytes.clone()).unwrap_or_default();
            take(object.oid, object.tid, refs, object.payload.over(bytes))
        })
    }
}

/// Makes of what was read what is to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Preparer<'a> {
    /// Know the dictionaries of the source and of the destination.
    pub(crate) source: &'a Codecs,
    pub(crate) destination: &'a Codecs,
    /// How the destination compresses.
    pub(crate) codec: Codec,
    pub(crate) digests: bool,
    /// Whether damaged objects are left out.
    pub(crate) skips: bool,
}

impl Preparer<'_> {
    /// # Errors
    /// `Damaged` names the first object that cannot be read, where these are not left out.
    pub(crate) fn prepare(&self, parcel: &mut Parcel, mut out: Prepared) -> Result<Prepared> {
        out.rejects.append(&mut parcel.rejects);
        out.left_out = parcel.left_out;
        let stored = parcel.stored.last().map(|(oid, _)| *oid);
        let object = parcel.objects.last().map(|object| object.oid);
        let rejected = out.rejects.last().map(|reject| reject.oid);
        let last = stored.max(object).max(rejected);
        out.next = last.map_or(Oid::ROOT, Oid::next);
        let (mut data, mut buffer) = (Vec::new(), Vec::new());
        for (oid, range) in parcel.stored.drain(..) {
            let bytes = parcel.arena.get(range).unwrap_or_default();
            let added = self.add_stored(&mut out, oid, bytes, (&mut data, &mut buffer));
            match added {
                Err(error) if self.skips && error.kind() == ErrorKind::Damaged => {
                    let stored = Some(bytes.to_vec());
                    out.rejects.push(Reject { oid, error, stored });
                }
                added => added?,
            }
        }
        for object in parcel.objects.drain(..) {
            let refs = object.refs.iter().copied();
            // Files of other kinds have no commit numbers: all is of the first.
            self.add(
                &mut out,
                (object.oid, Tid(1)),
                refs,
                &object.data,
                &mut buffer,
            )?;
        }
        Ok(out)
    }

    fn add_stored(
        &self,
        out: &mut Prepared,
        oid: Oid,
        bytes: &[u8],
        (data, buffer): (&mut Vec<u8>, &mut Vec<u8>),
    ) -> Result<()> {
        let record = Record::parse(oid, bytes)?;
        let payload = record.payload();
        // A dictionary is its store's own.
        let verbatim = payload.codec() == self.codec && self.codec != Codec::ZstdDict;
        if verbatim && !self.digests {
            out.push((oid, record.tid), record.refs(), payload);
            return Ok(());
        }
        let plain = match payload.as_plain() {
            Some(plain) => plain,
            None => {
                data.clear();
                record.read_data(self.source, data)?;
                data
            }
        };
        if !verbatim {
            return self.add(out, (oid, record.tid), record.refs(), plain, buffer);
        }
        out.digest.add(oid, record.refs(), plain);
        out.push((oid, record.tid), record.refs(), payload);
        Ok(())
    }

    fn add(
        &self,
        out: &mut Prepared,
        (oid, tid): (Oid, Tid),
        refs: impl ExactSizeIterator<Item = Oid> + Clone,
        data: &[u8],
        buffer: &mut Vec<u8>,
    ) -> Result<()> {
        if self.digests {
            out.digest.add(oid, refs.clone(), data);
        }
        // Before there is a dictionary, the destination needs the data itself to train one.
        let untrained =
            self.codec == Codec::ZstdDict && self.destination.newest_dictionary().is_none();
        let codec = if untrained { Codec::None } else { self.codec };
        let payload = self.destination.compress(codec, data, buffer)?;
        out.push((oid, tid), refs, payload);
        Ok(())
    }
}

impl Prepared {
    fn push(
        &mut self,
        (oid, tid): (Oid, Tid),
        refs: impl Iterator<Item = Oid>,
        payload: Payload<'_>,
    ) {
        let (first_ref, first_byte) = (self.refs.len(), self.arena.len());
        self.refs.extend(refs);
        self.arena.extend_from_slice(payload.bytes());
        self.data_bytes += payload.data_length();
        self.objects.push(PreparedObject {
            oid,
            tid,
            refs: first_ref..self.refs.len(),
            payload: payload.over(&[]),
            bytes: first_byte..self.arena.len(),
        });
    }
}

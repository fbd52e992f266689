//! The stored form of an object.
//!
//! ```text
//! bytes    content
//! 4        CRC-32 (IEEE), little-endian, of the OID as 8 big-endian bytes and all that follows here
//! 1        format (high four bits, 1) and codec (low four bits)
//! varint   tid of the commit that wrote the record
//! varint   anchor: OID + 1, or 0 for none (the collector's; see the `collect` module)
//! varint   number of references
//! varints  the references ascending: the first, then the differences, each at least 1
//! varint   dictionary number            (codec zstd-dict only)
//! varint   length of the data in bytes  (all codecs but none)
//! rest     the data, compressed by the codec
//! ```
//! Varints are LEB128. The OID is part of the checksum, so that a record under a wrong key is found
//! like any other damage.

mod codec;
pub mod varint;

pub use codec::{Codec, Codecs, Payload};

use crate::error::{Error, Result};
use crate::id::{Oid, Tid};

/// The format that this version writes, in the high four bits of a record's fifth byte.
const FORMAT: u8 = 1;
const CHECKSUM_LENGTH: usize = 4;

/// An object as it is handed out: owned, decompressed and verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its identity.
    pub oid: Oid,
    /// The commit that wrote this state.
    pub tid: Tid,
    /// The objects that it refers to: ascending, each once, itself left out.
    pub refs: Vec<Oid>,
    /// Its state.
    pub data: Vec<u8>,
}

/// A stored record, split into its parts without copying.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The object's identity.
    pub oid: Oid,
    /// The commit that wrote the record.
    pub tid: Tid,
    /// The referrer through which the root reaches the object, as far as the collector knows.
    pub anchor: Option<Oid>,
    ref_count: u64,
    refs: &'a [u8],
    payload: Payload<'a>,
    stored: &'a [u8],
}

impl<'a> Record<'a> {
    /// Splits the stored `bytes` of `oid` after verifying their checksum.
    ///
    /// # Errors
    /// `Damaged`, naming the object.
    pub fn parse(oid: Oid, bytes: &'a [u8]) -> Result<Record<'a>> {
        let Some((stored, rest)) = bytes.split_first_chunk::<CHECKSUM_LENGTH>() else {
            return Err(damaged(oid, "the record is cut off"));
        };
        if u32::from_le_bytes(*stored) != checksum(oid, rest) {
            return Err(damaged(oid, "the record's checksum is wrong"));
        }
        Record::parse_unverified(oid, bytes)
    }

    /// Splits the stored `bytes` of `oid` without looking at the checksum.
    ///
    /// # Errors
    /// `Damaged` where the bytes are not even shaped like a record.
    pub fn parse_unverified(oid: Oid, bytes: &'a [u8]) -> Result<Record<'a>> {
        let shape = || damaged(oid, "the record's header makes no sense");
        let mut rest = bytes.get(CHECKSUM_LENGTH..).ok_or_else(shape)?;
        let (&kind, after) = rest.split_first().ok_or_else(shape)?;
        rest = after;
        if kind >> 4 != FORMAT {
            return Err(
                damaged(oid, format!("the record's format is {}", kind >> 4))
                    .hint(format!("This version reads format {FORMAT}.")),
            );
        }
        let codec = Codec::from_number(kind & 0x0f).ok_or_else(shape)?;
        let tid = Tid(varint::take(&mut rest).ok_or_else(shape)?);
        let anchor = varint::take(&mut rest)
            .ok_or_else(shape)?
            .checked_sub(1)
            .map(Oid);
        let ref_count = varint::take(&mut rest).ok_or_else(shape)?;
        let start = rest;
        for _ in 0..ref_count {
            varint::take(&mut rest).ok_or_else(shape)?;
        }
        let refs = start.get(..start.len() - rest.len()).ok_or_else(shape)?;
        let payload = Payload::take(codec, rest).ok_or_else(shape)?;
        Ok(Record {
            oid,
            tid,
            anchor,
            ref_count,
            refs,
            payload,
            stored: bytes,
        })
    }

    /// The record as it is stored, from which [`Record::parse`] makes it again.
    pub fn stored(&self) -> &'a [u8] {
        self.stored
    }

    /// The references, ascending, each once, without the object itself.
    pub fn refs(&self) -> Refs<'a> {
        Refs {
            left: self.ref_count,
            rest: self.refs,
            last: None,
        }
    }

    /// The data as it is stored.
    pub fn payload(&self) -> Payload<'a> {
        self.payload
    }

    /// Appends the data to `out`, decompressed.
    ///
    /// # Errors
    /// `Damaged`, naming the object.
    pub fn read_data(&self, codecs: &Codecs, out: &mut Vec<u8>) -> Result<()> {
        codecs
            .decompress(self.payload, out)
            .map_err(|error| error.with_oid(self.oid))
    }

    /// The object, decompressed and owned.
    ///
    /// # Errors
    /// `Damaged`, naming the object.
    pub fn to_object(&self, codecs: &Codecs) -> Result<Object> {
        let mut data = Vec::new();
        self.read_data(codecs, &mut data)?;
        Ok(Object {
            oid: self.oid,
            tid: self.tid,
            refs: self.refs().collect(),
            data,
        })
    }
}

/// The references of a record, decoded one by one.
#[derive(Clone, Debug)]
pub struct Refs<'a> {
    left: u64,
    rest: &'a [u8],
    last: Option<u64>,
}

impl Iterator for Refs<'_> {
    type Item = Oid;

    fn next(&mut self) -> Option<Oid> {
        self.left = self.left.checked_sub(1)?;
        let step = varint::take(&mut self.rest)?;
        let value = self.last.map_or(step, |last| last.wrapping_add(step));
        self.last = Some(value);
        Some(Oid(value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // Each takes at least a byte, which bounds what a damaged count can make a caller reserve.
        let left = (self.left as usize).min(self.rest.len());
        (left, Some(left))
    }
}

impl ExactSizeIterator for Refs<'_> {}

/// Appends the stored form of an object to `out`. `refs` are ascending, each once, without `oid`.
pub fn encode(
    oid: Oid,
    tid: Tid,
    anchor: Option<Oid>,
    refs: &[Oid],
    payload: Payload<'_>,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    encode_unsealed(tid, anchor, refs, payload, out);
    seal(oid, out.get_mut(start..).unwrap_or_default());
}

/// As [`encode`], but for the checksum: for [`with_tid_and_anchor`], which computes it anyway.
pub(crate) fn encode_unsealed(
    tid: Tid,
    anchor: Option<Oid>,
    refs: &[Oid],
    payload: Payload<'_>,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(&[0; CHECKSUM_LENGTH]);
    out.push(FORMAT << 4 | payload.codec().number());
    varint::put(out, tid.0);
    varint::put(out, anchor.map_or(0, |anchor| anchor.0 + 1));
    varint::put(out, refs.len() as u64);
    let mut last = 0;
    for reference in refs {
        varint::put(out, reference.0.wrapping_sub(last));
        last = reference.0;
    }
    payload.put(out);
}

/// Writes the checksum of a record that is complete but for it.
fn seal(oid: Oid, record: &mut [u8]) {
    if let Some((slot, rest)) = record.split_first_chunk_mut::<CHECKSUM_LENGTH>() {
        *slot = checksum(oid, rest).to_le_bytes();
    }
}

/// A record that was encoded with tid 0 and without an anchor, as it is with these.
pub(crate) fn with_tid_and_anchor(
    oid: Oid,
    encoded: &[u8],
    tid: Tid,
    anchor: Option<Oid>,
) -> Vec<u8> {
    const TID: usize = CHECKSUM_LENGTH + 1;
    let mut out = Vec::with_capacity(encoded.len() + 18);
    out.extend_from_slice(encoded.get(..TID).unwrap_or_default());
    varint::put(&mut out, tid.0);
    varint::put(&mut out, anchor.map_or(0, |anchor| anchor.0 + 1));
    out.extend_from_slice(encoded.get(TID + 2..).unwrap_or_default());
    seal(oid, &mut out);
    out
}

/// Brings references into the form that records and digests use: ascending, each once, without the
/// object itself.
pub fn normalize_refs(oid: Oid, refs: &mut Vec<Oid>) {
    if !refs.is_sorted_by(|left, right| left < right) {
        refs.sort_unstable();
        refs.dedup();
    }
    refs.retain(|reference| *reference != oid);
}

fn checksum(oid: Oid, rest: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&oid.0.to_be_bytes());
    hasher.update(rest);
    hasher.finalize()
}

fn damaged(oid: Oid, what: impl Into<String>) -> Error {
    Error::damaged("read an object", what)
        .with_oid(oid)
        .hint("Restore it from a backup, or see `durum check`.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(codec: Codec) -> (Codecs, Vec<Oid>, Vec<u8>, Vec<u8>) {
        let codecs = Codecs::default();
        let refs: Vec<Oid> = [0, 3, 4, 1 << 40, Oid::MAX.0].map(Oid).to_vec();
        let data = b"to and fro, ".repeat(20);
        let mut buffer = Vec::new();
        let payload = codecs.compress(codec, &data, &mut buffer).unwrap();
        let mut record = Vec::new();
        encode(
            Oid(9),
            Tid(77),
            Some(Oid::ROOT),
            &refs,
            payload,
            &mut record,
        );
        (codecs, refs, data, record)
    }

    #[test]
    fn records_return_with_every_codec() {
        for codec in [Codec::None, Codec::Zlib, Codec::Zstd] {
            let (codecs, refs, data, bytes) = sample(codec);
            let record = Record::parse(Oid(9), &bytes).unwrap();
            assert_eq!(record.payload().codec(), codec);
            assert_eq!(record.anchor, Some(Oid::ROOT));
            let object = record.to_object(&codecs).unwrap();
            assert_eq!(
                object,
                Object {
                    oid: Oid(9),
                    tid: Tid(77),
                    refs,
                    data
                }
            );
        }
    }

    #[test]
    fn every_changed_or_missing_byte_is_found() {
        let (_, _, _, bytes) = sample(Codec::Zstd);
        for position in 0..bytes.len() {
            assert!(Record::parse(Oid(9), &bytes[..position]).is_err());
            for bit in 0..8 {
                let mut bad = bytes.clone();
                bad[position] ^= 1 << bit;
                let error = Record::parse(Oid(9), &bad).unwrap_err();
                assert_eq!(error.oids(), [Oid(9)]);
            }
        }
        assert!(
            Record::parse(Oid(8), &bytes).is_err(),
            "a record under a wrong key"
        );
    }

    #[test]
    fn damage_in_unverified_records_never_panics() {
        let (codecs, _, _, bytes) = sample(Codec::Zlib);
        for position in 0..bytes.len() {
            for value in [0, 0x7f, 0x80, 0xff] {
                let mut bad = bytes.clone();
                bad[position] = value;
                if let Ok(record) = Record::parse_unverified(Oid(9), &bad) {
                    let _ = record.to_object(&codecs);
                }
            }
        }
    }

    #[test]
    fn a_record_receives_its_tid_and_anchor_later() {
        let (codecs, _, _, bytes) = sample(Codec::None);
        let mut early = Vec::new();
        let record = Record::parse(Oid(9), &bytes).unwrap();
        let refs: Vec<Oid> = record.refs().collect();
        encode_unsealed(Tid::ZERO, None, &refs, record.payload(), &mut early);
        let late = with_tid_and_anchor(Oid(9), &early, Tid(77), Some(Oid::ROOT));
        assert_eq!(late, bytes);
        let large = with_tid_and_anchor(Oid(9), &early, Tid(u64::MAX), Some(Oid::MAX));
        let object = Record::parse(Oid(9), &large)
            .unwrap()
            .to_object(&codecs)
            .unwrap();
        assert_eq!((object.tid, object.refs), (Tid(u64::MAX), refs));
    }

    #[test]
    fn references_are_a_sorted_set_without_self() {
        let mut refs = [5, 2, 2, 9, 5].map(Oid).to_vec();
        normalize_refs(Oid(9), &mut refs);
        assert_eq!(refs, [Oid(2), Oid(5)]);
    }
}

//! A frame: one batch, all of it or nothing.

use durum_core::{Error, ErrorKind, Result};

use super::op::{self, Content, OVERHEAD_BYTES_MAX, ParsedOp};
use super::{Entry, SEGMENT_HEADER_BYTES};
use crate::bytes::{put_at, u32_at, u64_at};

/// The fixed front of a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameHeader {
    /// Bytes of the frame, header included, padding not.
    pub(crate) bytes: u32,
    /// Number of the frame, from 1, without gaps.
    pub(crate) sequence: u64,
    /// The newest frame that was known to be on the device when this one was written.
    pub(crate) synced: u64,
    /// The checksum in the header of the frame before.
    pub(crate) chain: u32,
    /// Number of operations.
    pub(crate) count: u32,
    /// Checksum of the operations' checksums.
    pub(crate) body_crc: u32,
    /// Checksum of the header and of its place.
    pub(crate) crc: u32,
}

impl FrameHeader {
    /// Reads a header; `None` where it is none that was written at this place.
    pub(crate) fn parse(bytes: &[u8], segment: u32, offset: u64) -> Option<FrameHeader> {
        if u32_at(bytes, 0)? != FRAME_MAGIC {
            return None;
        }
        let header = FrameHeader {
            bytes: u32_at(bytes, 4)?,
            sequence: u64_at(bytes, 8)?,
            synced: u64_at(bytes, 16)?,
            chain: u32_at(bytes, 24)?,
            count: u32_at(bytes, 28)?,
            body_crc: u32_at(bytes, 32)?,
            crc: u32_at(bytes, 36)?,
        };
        let crc = header_crc(bytes.get(..36)?, segment, offset);
        (header.crc == crc && header.bytes as usize >= FRAME_HEADER_BYTES).then_some(header)
    }

    /// Whether `frame`, which starts with this header, holds all its operations undamaged.
    pub(crate) fn body(&self, frame: &[u8]) -> Body {
        let mut crcs = crc32fast::Hasher::new();
        let mut count = 0;
        let mut body = Body::Whole;
        let walked = walk(frame, |crc, op| {
            crcs.update(crc);
            count += 1;
            if op.punched {
                body = Body::Punched;
            }
        });
        if walked && count == self.count && crcs.finalize() == self.body_crc {
            return body;
        }
        Body::Broken
    }
}

/// What is there of a frame's operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// All that was written.
    Whole,
    /// All but the values of some large puts. It is either a frame of which these were given up since
    /// they were superseded, or one that was being written when the power was lost.
    Punched,
    /// Something else.
    Broken,
}

/// Calls `visit` with each operation and its checksum; whether all were whole, or punched.
fn walk(frame: &[u8], mut visit: impl FnMut(&[u8], &ParsedOp<'_>)) -> bool {
    let mut at = FRAME_HEADER_BYTES;
    while at < frame.len() {
        let Some(rest) = frame.get(at..) else {
            return false;
        };
        let Some(op) = op::parse_punched(rest) else {
            return false;
        };
        visit(rest.get(..4).unwrap_or_default(), &op);
        at += op.bytes;
    }
    true
}

/// The operations of a frame that was not found broken, with their offsets in the frame.
pub(crate) fn ops(frame: &[u8]) -> impl Iterator<Item = (usize, ParsedOp<'_>)> {
    let mut at = FRAME_HEADER_BYTES;
    std::iter::from_fn(move || {
        let op = op::parse_punched(frame.get(at..).filter(|rest| !rest.is_empty())?)?;
        let start = at;
        at += op.bytes;
        Some((start, op))
    })
}

/// Collects operations into a frame.
#[derive(Debug, Default)]
pub(crate) struct FrameBuilder {
    buffer: Vec<u8>,
    crcs: crc32fast::Hasher,
    /// Offset in the frame, and length, of each operation.
    places: Vec<(u32, u32)>,
}

impl FrameBuilder {
    /// Starts a frame; the memory of the last one is used again.
    pub(crate) fn clear(&mut self) {
        if self.buffer.capacity() > KEPT_BYTES_MAX {
            self.buffer = Vec::new();
        }
        self.buffer.clear();
        self.buffer.resize(FRAME_HEADER_BYTES, 0);
        self.crcs = crc32fast::Hasher::new();
        self.places.clear();
    }

    /// Adds an operation.
    ///
    /// # Errors
    /// `TooLarge` where the frame would be larger than a segment can be.
    pub(crate) fn push(&mut self, content: Content<'_>, prior: Option<Entry>) -> Result<()> {
        let value_bytes = match content {
            Content::Put(_, _, value) | Content::Dead(_, value) => value.len(),
            Content::Delete(..) => 0,
        };
        let at = self.buffer.len();
        if (at + value_bytes + OVERHEAD_BYTES_MAX) as u64 > FRAME_BYTES_MAX {
            return Err(Error::new(ErrorKind::TooLarge, "apply a batch")
                .because("the batch is larger than 4 GiB"));
        }
        let bytes = op::encode(&mut self.buffer, content, prior);
        self.crcs
            .update(self.buffer.get(at..at + 4).unwrap_or_default());
        self.places.push((at as u32, bytes as u32));
        Ok(())
    }

    /// Number of operations so far.
    pub(crate) fn count(&self) -> usize {
        self.places.len()
    }

    /// Bytes so far, without padding.
    pub(crate) fn bytes(&self) -> u64 {
        self.buffer.len() as u64
    }

    /// Offset in the frame, and length, of each operation.
    pub(crate) fn places(&self) -> &[(u32, u32)] {
        &self.places
    }

    /// Completes the frame for its place in the log: its bytes, and the checksum in its header.
    pub(crate) fn finish(
        &mut self,
        (segment, offset): (u32, u64),
        (sequence, synced, chain): (u64, u64, u32),
    ) -> (&[u8], u32) {
        let body_crc = self.crcs.clone().finalize();
        let bytes = self.buffer.len() as u32;
        let out = &mut self.buffer;
        put_at(out, 0, &FRAME_MAGIC.to_le_bytes());
        put_at(out, 4, &bytes.to_le_bytes());
        put_at(out, 8, &sequence.to_le_bytes());
        put_at(out, 16, &synced.to_le_bytes());
        put_at(out, 24, &chain.to_le_bytes());
        put_at(out, 28, &(self.places.len() as u32).to_le_bytes());
        put_at(out, 32, &body_crc.to_le_bytes());
        let crc = header_crc(out.get(..36).unwrap_or_default(), segment, offset);
        put_at(out, 36, &crc.to_le_bytes());
        (out, crc)
    }
}

/// The checksum takes in the place, so that a frame that was stored as a value, or lies where an
/// earlier one was cut off, is not taken for one.
fn header_crc(front: &[u8], segment: u32, offset: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(front);
    hasher.update(&segment.to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    hasher.finalize()
}

/// Bytes before the first operation.
pub(crate) const FRAME_HEADER_BYTES: usize = 40;

/// Frames begin at multiples of this.
pub(crate) const FRAME_ALIGN: u64 = 8;

/// Offsets in segments are 32 bits long.
pub(crate) const FRAME_BYTES_MAX: u64 = u32::MAX as u64 - 64 - SEGMENT_HEADER_BYTES;

/// "DFRM".
pub(crate) const FRAME_MAGIC: u32 = u32::from_le_bytes(*b"DFRM");

/// A larger buffer is not kept for the next frame.
const KEPT_BYTES_MAX: usize = 4 << 20;

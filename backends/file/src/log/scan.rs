//! Reading a segment from front to end, and telling a torn end from damage.

use std::ops::Range;
use std::sync::Arc;

use durum_core::{Error, Result};

use super::frame::{self, Body, FRAME_ALIGN, FRAME_HEADER_BYTES, FrameHeader};
use super::{Entry, ParsedOp, SEGMENT_HEADER_BYTES};
use crate::bytes::all_zero;
use crate::error::log_damage;
use crate::seam::{File, View};

/// A place between two frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// The segment.
    pub(crate) segment: u32,
    /// Where the next frame begins in it.
    pub(crate) offset: u64,
    /// The sequence number of the frame before.
    pub(crate) sequence: u64,
    /// The checksum of the frame before.
    pub(crate) chain: u32,
}

/// What a scan met at the end of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// The end of the file, or zeros.
    Clean,
    /// Bytes that are no frame, and no frame beyond that anyone was promised.
    Torn,
}

/// A scan's parameters.
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    /// The segment's file.
    pub(crate) file: &'a Arc<dyn File>,
    /// Where to begin.
    pub(crate) from: Position,
    /// Where the file ends, or the segment's frames if that is known.
    pub(crate) end: u64,
    /// Begin no frame at or after this offset.
    pub(crate) stop: u64,
    /// Sequence number of a frame that is known to have been on the device, with all before it.
    pub(crate) proved: u64,
}

/// What a scan calls.
pub(crate) trait Visitor {
    /// An operation of a whole frame.
    fn op(&mut self, entry: Entry, op: &ParsedOp<'_>) -> Result<()>;

    /// The end of a frame, all of whose operations were visited.
    fn frame_end(&mut self, at: Position) -> Result<()>;
}

/// Visits all operations from a position to the end of a segment. Returns where the last whole frame
/// ends, and what comes after it. Frames must follow on each other without a gap.
///
/// # Errors
/// `Damaged` where a frame that was on the device once is not whole.
pub(crate) fn scan_segment(scan: &Scan<'_>, visitor: &mut dyn Visitor) -> Result<(Position, Tail)> {
    let failed = |error| Error::io(error, "read the log");
    let view = View::new(scan.file, scan.end, scan.end).map_err(failed)?;
    let mut at = scan.from;
    let mut said = None;
    while at.offset < scan.stop
        && let Some(header) = header_at(&view, at.segment, at.offset)?
    {
        let follows = header.sequence == at.sequence + 1 && header.chain == at.chain;
        let end = at.offset + u64::from(header.bytes);
        if !follows || end > scan.end {
            break;
        }
        let frame = view
            .bytes(at.offset, header.bytes as usize)
            .map_err(failed)?;
        match header.body(&frame) {
            Body::Whole => {}
            Body::Punched if header.sequence <= scan.proved => {}
            Body::Punched => {
                let said = match said {
                    Some(said) => said,
                    None => *said.insert(said_from(&view, at)?),
                };
                if header.sequence > said {
                    break;
                }
            }
            Body::Broken => break,
        }
        for (start, op) in frame::ops(&frame) {
            let offset = (at.offset + start as u64) as u32;
            visitor.op(Entry::new(at.segment, offset, op.bytes as u64), &op)?;
        }
        at.sequence = header.sequence;
        at.chain = header.crc;
        at.offset = end.next_multiple_of(FRAME_ALIGN);
        visitor.frame_end(at)?;
    }
    if at.offset >= scan.stop {
        return Ok((at, Tail::Clean));
    }
    let tail = tail_from(&view, at)?;
    Ok((at, tail))
}

/// The bytes from the begin of `scan` on of frames that nothing says to have been on the device: no later
/// frame, and not `scan.proved`.
pub(crate) fn unproved(scan: &Scan<'_>) -> Result<Range<u64>> {
    let view = View::new(scan.file, scan.end, scan.end);
    let view = view.map_err(|error| Error::io(error, "read the log"))?;
    let proved = scan.proved.max(said_from(&view, scan.from)?);
    let mut at = scan.from;
    let mut start = at.offset;
    while let Some(header) = next_header(&view, &mut at)? {
        if header.sequence <= proved {
            start = at.offset;
        }
    }
    // The last frame may end a few bytes before the next one's place.
    Ok(start.min(scan.end)..at.offset.min(scan.end))
}

/// What there is from the begin of `scan` on, which is not looked at as frames in order.
pub(crate) fn tail_from_begin(scan: &Scan<'_>) -> Result<Tail> {
    let view = View::new(scan.file, scan.end, scan.end);
    let view = view.map_err(|error| Error::io(error, "read the log"))?;
    tail_from(&view, scan.from)
}

fn header_at(view: &View, segment: u32, offset: u64) -> Result<Option<FrameHeader>> {
    if offset + FRAME_HEADER_BYTES as u64 > view.limit() {
        return Ok(None);
    }
    let bytes = view
        .bytes(offset, FRAME_HEADER_BYTES)
        .map_err(|error| Error::io(error, "read the log"))?;
    Ok(FrameHeader::parse(&bytes, segment, offset))
}

/// The newest frame that one of the frames from `at` to the end of the segment, unbroken in their order,
/// knew to be on the device when it was written.
fn said_from(view: &View, mut at: Position) -> Result<u64> {
    let mut said = 0;
    while let Some(header) = next_header(view, &mut at)? {
        said = said.max(header.synced);
    }
    Ok(said)
}

/// The header at `at`, which is moved behind that frame; `None` where none follows on the frame before.
fn next_header(view: &View, at: &mut Position) -> Result<Option<FrameHeader>> {
    let header = header_at(view, at.segment, at.offset)?;
    let follows =
        |header: &FrameHeader| header.sequence == at.sequence + 1 && header.chain == at.chain;
    let Some(header) = header.filter(follows) else {
        return Ok(None);
    };
    at.sequence = header.sequence;
    at.chain = header.crc;
    at.offset = (at.offset + u64::from(header.bytes)).next_multiple_of(FRAME_ALIGN);
    Ok(Some(header))
}

/// Looks beyond the last whole frame. A later frame that was written when the missing one was known to
/// be on the device proves damage; without one, the rest is what a crash left of writes that nobody
/// was promised.
fn tail_from(view: &View, at: Position) -> Result<Tail> {
    let mut tail = Tail::Clean;
    let mut offset = at.offset;
    while offset < view.limit() {
        // In pieces of bounded size that overlap by a header, so that none is missed.
        let bytes = (view.limit() - offset).min(PIECE_BYTES);
        let piece = view
            .bytes(offset, bytes as usize)
            .map_err(|error| Error::io(error, "read the log"))?;
        if !all_zero(&piece) {
            tail = Tail::Torn;
            let steps = (0..piece.len()).step_by(FRAME_ALIGN as usize);
            for step in steps {
                let rest = piece.get(step..).unwrap_or_default();
                let header = FrameHeader::parse(rest, at.segment, offset + step as u64);
                if header.is_some_and(|header| header.synced > at.sequence) {
                    return Err(damaged_before(at, offset + step as u64));
                }
            }
        }
        if bytes < PIECE_BYTES {
            break;
        }
        offset += PIECE_BYTES - FRAME_HEADER_BYTES as u64;
    }
    Ok(tail)
}

fn damaged_before(at: Position, later: u64) -> Error {
    log_damage(
        "read the log",
        format!(
            "the frame at offset {} of segment {} is not intact, and a later one at {later} says that \
             it was once",
            at.offset, at.segment
        ),
    )
}

impl Position {
    /// The begin of a segment's frames.
    pub(crate) fn start_of(header: &super::SegmentHeader) -> Position {
        Position {
            segment: header.number,
            offset: SEGMENT_HEADER_BYTES,
            sequence: header.sequence - 1,
            chain: header.chain,
        }
    }
}

/// Bytes that are looked at in one go, a multiple of [`FRAME_ALIGN`].
const PIECE_BYTES: u64 = 1 << 20;

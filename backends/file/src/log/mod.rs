//! The log: the engine's truth. Segments of frames, a frame for each batch, in the order of commits.

mod entry;
mod frame;
mod op;
mod scan;
mod segment;
mod writer;

pub(crate) use entry::Entry;
pub(crate) use frame::FrameBuilder;
pub(crate) use op::{Content, FRONT_BYTES, LARGE_BYTES, ParsedOp, hole as hole_of_op, parse_rest};
pub(crate) use scan::{Position, Scan, Tail, Visitor, scan_segment, tail_from_begin, unproved};
pub(crate) use segment::{
    SEGMENT_HEADER_BYTES, Segment, SegmentHeader, list_segments, segment_name, value_of,
};
pub(crate) use writer::{Known, Log, Place, Placed};

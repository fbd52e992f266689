//! The index: for every row, where its newest operation lies in the log. One file of pages with a
//! copy-on-write tree for each table, brought up to date by checkpoints. See FILE_FORMAT.md.

mod base;
mod header;
mod merge;
mod page;
mod pages;
mod shrink;
mod walk;

use durum_core::engine::Table;

pub(crate) use base::{Base, TreeCursor};
pub(crate) use header::{Header, HeaderSlots};
pub(crate) use pages::{Index, Loaded};
pub(crate) use shrink::Shrunk;

/// Trees of the index: one for each table, and two for the log's segments.
pub(crate) const TREES: usize = TREE_DEAD + 1;

/// Segment number × 2: bytes of live operations; × 2 + 1: where the segment's frames end.
pub(crate) const TREE_SEGMENTS: usize = Table::ALL.len();

/// (Segment that says so, segment that is spoken of): bytes of [`crate::log::Content::Dead`].
pub(crate) const TREE_DEAD: usize = TREE_SEGMENTS + 1;

/// Whether a tree's keys are two numbers.
pub(crate) fn tree_is_pair(tree: usize) -> bool {
    tree == TREE_DEAD || Table::from_index(tree).is_some_and(Table::is_pair)
}

/// The root of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Root {
    /// The page, as [`PageRef`].
    pub(crate) page: PageRef,
    /// Levels above the leaves.
    pub(crate) height: u8,
}

/// A page's number in the lower half, the checksum of its bytes in the upper: a page that is not the
/// one that was meant is never taken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageRef(pub(crate) u64);

impl PageRef {
    /// A reference to page `number`, which holds `bytes`.
    pub(crate) fn new(number: u32, bytes: &[u8]) -> PageRef {
        PageRef(u64::from(crc32fast::hash(bytes)) << 32 | u64::from(number))
    }

    /// The page's number.
    pub(crate) fn number(self) -> u32 {
        self.0 as u32
    }

    /// The checksum of its bytes.
    pub(crate) fn crc(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// Bytes of a page.
pub(crate) const PAGE_BYTES: usize = 4096;

/// Pages at the begin of the file that hold the two headers.
pub(crate) const HEADER_PAGES: u32 = 2;

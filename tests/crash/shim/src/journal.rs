//! The journal of events: what happened, in order, with the data.
//!
//! A record is, in little-endian numbers: kind (1 byte), whether a write was synchronous (1), the
//! lengths of two paths (2 and 2), the length of the data (4), inode (8), two numbers (8 and 8); then
//! the two paths, relative to the root, and the data. `durum_crash::journal` reads it.

use std::ffi::c_int;

use crate::sys;

/// The sorts of records; the numbers are the file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Entry {
    /// Data at an offset (first number).
    Write = 1,
    /// A file or directory was synchronized.
    Sync = 2,
    /// A file got a size (first number).
    Resize = 3,
    /// A range (offset and length) became zeros, and the file at most grew.
    Zero = 4,
    /// A file was created.
    Create = 5,
    /// The first path became the second.
    Rename = 6,
    /// A path was removed, file or directory.
    Remove = 7,
    /// The second path became another name of the first.
    Link = 8,
    /// A directory was created.
    MakeDir = 9,
    /// Everything was synchronized.
    SyncAll = 10,
    /// A synchronization failed on purpose: what it was to bring to the device never gets there.
    SyncFailed = 11,
    /// Another event failed on purpose.
    Failed = 12,
    /// An event that had no effect, so that numbers stay in step: it failed by itself.
    Nothing = 13,
    /// Something was written to the file of acknowledgements; no event.
    Ack = 14,
    /// The root directory's inode; no event.
    Root = 15,
}

/// A record to be written.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    pub(crate) entry: Entry,
    pub(crate) synchronous: bool,
    pub(crate) inode: u64,
    pub(crate) numbers: [u64; 2],
    pub(crate) paths: [&'a [u8]; 2],
    pub(crate) data: &'a [u8],
}

impl<'a> Record<'a> {
    /// A record of `entry` about `inode`, with nothing else in it.
    pub(crate) fn new(entry: Entry, inode: u64) -> Record<'a> {
        Record {
            entry,
            synchronous: false,
            inode,
            numbers: [0; 2],
            paths: [&[], &[]],
            data: &[],
        }
    }

    /// Appends it to the journal, in one write.
    pub(crate) fn append(&self, journal: c_int) {
        let [first, second] = self.paths;
        let mut bytes = Vec::with_capacity(40 + first.len() + second.len() + self.data.len());
        bytes.push(self.entry as u8);
        bytes.push(u8::from(self.synchronous));
        bytes.extend((first.len() as u16).to_le_bytes());
        bytes.extend((second.len() as u16).to_le_bytes());
        bytes.extend((self.data.len() as u32).to_le_bytes());
        for number in [self.inode, self.numbers[0], self.numbers[1]] {
            bytes.extend(number.to_le_bytes());
        }
        for part in [first, second, self.data] {
            bytes.extend(part);
        }
        if sys::write(journal, &bytes, None) != bytes.len() as isize {
            // A journal with a gap would make tests lie.
            std::process::abort();
        }
    }
}

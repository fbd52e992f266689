//! What the index says of a row: where its newest operation lies in the log.

use std::fmt;

/// The place of an operation in the log, and about how long it is, in 64 bits: the segment in the
/// upper 24, the offset in the next 32, the size class in the lowest 8.
///
/// The size class makes it possible to account for a record that dies without reading it. It is a
/// number of three significant bits, rounded up, so sums are exact as long as the same class is added
/// and taken away, and at most an eighth above the truth.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry(pub(crate) u64);

impl Entry {
    /// Stands for a removed row, in memory only.
    pub(crate) const GONE: Entry = Entry(u64::MAX);

    /// The entry for an operation of `bytes` bytes.
    pub(crate) fn new(segment: u32, offset: u32, bytes: u64) -> Entry {
        Entry(u64::from(segment) << 40 | u64::from(offset) << 8 | u64::from(size_class(bytes)))
    }

    /// The number of the segment.
    pub(crate) fn segment(self) -> u32 {
        (self.0 >> 40) as u32
    }

    /// The operation's first byte in the segment.
    pub(crate) fn offset(self) -> u64 {
        self.0 >> 8 & u64::from(u32::MAX)
    }

    /// The operation's size, rounded up, in bytes.
    pub(crate) fn bytes_max(self) -> u64 {
        class_bytes(self.0 as u8)
    }

    /// Whether both name the same place.
    pub(crate) fn same_place(self, other: Entry) -> bool {
        self.0 >> 8 == other.0 >> 8
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.segment(), self.offset())
    }
}

fn size_class(bytes: u64) -> u8 {
    let bytes = bytes.max(8);
    let mut exponent = 60 - bytes.leading_zeros();
    let mut mantissa = bytes.div_ceil(1 << exponent);
    if mantissa == 16 {
        mantissa = 8;
        exponent += 1;
    }
    (exponent * 8) as u8 + (mantissa - 8) as u8
}

fn class_bytes(class: u8) -> u64 {
    (8 + u64::from(class % 8)) << (class / 8)
}

/// The largest segment number that an [`Entry`] can hold, short of [`Entry::GONE`].
pub(crate) const SEGMENT_MAX: u32 = (1 << 24) - 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_and_sizes_are_close_above() {
        for bytes in (1..5_000).chain([1 << 20, (1 << 30) + 1, u64::from(u32::MAX)]) {
            let entry = Entry::new(SEGMENT_MAX, u32::MAX - 1, bytes);
            assert_eq!(entry.segment(), SEGMENT_MAX);
            assert_eq!(entry.offset(), u64::from(u32::MAX - 1));
            let most = entry.bytes_max();
            assert!(
                most >= bytes && most <= (bytes + bytes / 8 + 1).max(8),
                "{bytes} {most}"
            );
            assert_ne!(entry, Entry::GONE);
        }
    }
}

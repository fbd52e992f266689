//! An operation in a frame: a row put or deleted, or places in older segments declared dead.

use durum_core::engine::{Key, Table};

use super::Entry;
use crate::bytes::{push_varint, take_varint, u32_at, u64_at};

/// An operation, as it stands in the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ParsedOp<'a> {
    /// What it does.
    pub(crate) content: Content<'a>,
    /// The place that it supersedes, whose segment may be gone by now.
    pub(crate) prior: Option<Entry>,
    /// Its length in bytes.
    pub(crate) bytes: usize,
}

/// What an operation does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content<'a> {
    /// Stores a value.
    Put(Table, Key, &'a [u8]),
    /// Removes a row.
    Delete(Table, Key),
    /// Says that what lies at these offsets (`u32` each) of a segment is superseded. It stands for the
    /// operations that said so and have been cleaned away; see FILE_FORMAT.md, "Cleaning".
    Dead(u32, &'a [u8]),
}

/// Appends an operation to `out` and returns its length; `None` where the segment's offsets are no
/// longer enough.
pub(crate) fn encode(out: &mut Vec<u8>, content: Content<'_>, prior: Option<Entry>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    let prior_bit = if prior.is_some() { HAS_PRIOR } else { 0 };
    match content {
        Content::Put(table, key, _) => push_row(out, table.index() as u8 | prior_bit, table, key),
        Content::Delete(table, key) => {
            push_row(out, table.index() as u8 | prior_bit | DELETE, table, key);
        }
        Content::Dead(segment, _) => {
            out.push(DEAD | prior_bit);
            push_varint(out, u64::from(segment));
        }
    }
    if let Some(prior) = prior {
        out.extend_from_slice(&prior.0.to_le_bytes());
    }
    if let Content::Put(_, _, value) | Content::Dead(_, value) = content {
        push_varint(out, value.len() as u64);
        out.extend_from_slice(value);
    }
    let crc = crc32fast::hash(out.get(start + 4..).unwrap_or_default());
    crate::bytes::put_at(out, start, &crc.to_le_bytes());
    out.len() - start
}

fn push_row(out: &mut Vec<u8>, tag: u8, table: Table, key: Key) {
    out.push(tag);
    push_varint(out, key.first);
    if table.is_pair() {
        push_varint(out, key.second);
    }
}

/// Reads the operation at the front of `bytes`; `None` where it is not whole or its checksum is wrong.
#[inline]
pub(crate) fn parse(bytes: &[u8]) -> Option<ParsedOp<'_>> {
    let crc = u32_at(bytes, 0)?;
    let (&tag, mut rest) = bytes.get(4..)?.split_first()?;
    let table = Table::from_index(usize::from(tag & TABLE_MASK));
    let first = take_varint(&mut rest)?;
    let second = match table {
        Some(table) if table.is_pair() => take_varint(&mut rest)?,
        _ => 0,
    };
    let mut prior = None;
    if tag & HAS_PRIOR != 0 {
        prior = Some(Entry(u64_at(rest, 0)?));
        rest = rest.get(8..)?;
    }
    let mut value = &[][..];
    if tag & DELETE == 0 {
        let length = usize::try_from(take_varint(&mut rest)?).ok()?;
        (value, rest) = rest.split_at_checked(length)?;
    }
    let length = bytes.len() - rest.len();
    if crc32fast::hash(bytes.get(4..length)?) != crc {
        return None;
    }
    let key = Key::pair(first, second);
    let content = match table {
        Some(table) if tag & DELETE != 0 => Content::Delete(table, key),
        Some(table) => Content::Put(table, key, value),
        None if tag & !HAS_PRIOR == DEAD => Content::Dead(u32::try_from(first).ok()?, value),
        None => return None,
    };
    Some(ParsedOp {
        content,
        prior,
        bytes: length,
    })
}

const TABLE_MASK: u8 = 0x1f;
const DELETE: u8 = 0x20;
const HAS_PRIOR: u8 = 0x40;
const DEAD: u8 = 0x1f;

/// The most that an operation takes besides its value, in bytes.
pub(crate) const OVERHEAD_BYTES_MAX: usize = 4 + 1 + 10 + 10 + 8 + 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_come_back_and_no_flipped_bit_passes() {
        let contents = [
            Content::Put(Table::Objects, Key::from(300), b"value"),
            Content::Put(Table::Changes, Key::pair(u64::MAX, 1), b""),
            Content::Delete(Table::Meta, Key::from(7)),
            Content::Dead(12, &[1, 0, 0, 0]),
        ];
        for content in contents {
            for prior in [None, Some(Entry::new(3, 99, 40))] {
                let mut bytes = Vec::new();
                let length = encode(&mut bytes, content, prior);
                assert_eq!(length, bytes.len());
                let op = parse(&bytes).unwrap();
                assert_eq!(format!("{:?}", op.content), format!("{content:?}"));
                assert_eq!(op.prior, prior);
                for bit in 0..bytes.len() * 8 {
                    bytes[bit / 8] ^= 1 << (bit % 8);
                    assert!(parse(&bytes).is_none(), "bit {bit}");
                    bytes[bit / 8] ^= 1 << (bit % 8);
                }
                bytes.pop();
                assert!(parse(&bytes).is_none());
            }
        }
    }
}

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
    /// Whether its value is gone, so that its content is a put of nothing: see [`parse_punched`].
    pub(crate) punched: bool,
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
        Content::Put(table, key, _) => {
            let large_bit = if is_large(content) { LARGE } else { 0 };
            let tag = table.index() as u8 | prior_bit | large_bit;
            push_row(out, tag, table, key);
        }
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
        if is_large(content) {
            let crc = crc32fast::hash(out.get(start + 4..).unwrap_or_default());
            out.extend_from_slice(&crc.to_le_bytes());
        }
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

/// Whether an operation's front has a checksum of its own, so that its value can be given up.
fn is_large(content: Content<'_>) -> bool {
    matches!(content, Content::Put(_, _, value) if value.len() >= LARGE_BYTES)
}

/// What comes before an operation's value. Nothing of it is verified.
pub(crate) struct Front {
    tag: u8,
    table: Option<Table>,
    key: Key,
    prior: Option<Entry>,
    /// Where the value begins in the operation, or the operation ends if it has none.
    value_at: usize,
    value_bytes: usize,
}

impl Front {
    /// Reads the front of an operation, of which [`FRONT_BYTES`] are enough.
    #[inline]
    pub(crate) fn parse(bytes: &[u8]) -> Option<Front> {
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
        let mut value_bytes = 0;
        if tag & DELETE == 0 {
            value_bytes = usize::try_from(take_varint(&mut rest)?).ok()?;
        }
        if tag & LARGE != 0 {
            rest = rest.get(4..)?;
        }
        Some(Front {
            tag,
            table,
            key: Key::pair(first, second),
            prior,
            value_at: bytes.len() - rest.len(),
            value_bytes,
        })
    }

    /// The operation's length.
    #[inline]
    pub(crate) fn bytes(&self) -> Option<usize> {
        self.value_at.checked_add(self.value_bytes)
    }

    /// The value in `bytes`, if this is the front of an operation that puts it into the row.
    #[inline]
    pub(crate) fn value_of<'a>(&self, bytes: &'a [u8], table: Table, key: Key) -> Option<&'a [u8]> {
        if self.tag & DELETE != 0 || self.table != Some(table) || self.key != key {
            return None;
        }
        bytes.get(self.value_at..self.bytes()?)
    }

    /// Whether this is the front of a large put, by the checksum of its own.
    fn is_large_put(&self, bytes: &[u8]) -> bool {
        let at = self.value_at.saturating_sub(4);
        let written = bytes.get(4..at).map(crc32fast::hash);
        self.tag & LARGE != 0
            && self.tag & DELETE == 0
            && self.table.is_some()
            && written.is_some()
            && written == u32_at(bytes, at)
    }
}

/// Reads the operation at the front of `bytes`; `None` where it is not whole or its checksum is wrong.
#[inline]
pub(crate) fn parse(bytes: &[u8]) -> Option<ParsedOp<'_>> {
    parse_rest(bytes, &Front::parse(bytes)?)
}

/// As [`parse`], where the front has been looked at before.
#[inline]
pub(crate) fn parse_rest<'a>(bytes: &'a [u8], front: &Front) -> Option<ParsedOp<'a>> {
    let crc = u32_at(bytes, 0)?;
    let length = front.bytes()?;
    if crc32fast::hash(bytes.get(4..length)?) != crc {
        return None;
    }
    let value = bytes.get(front.value_at..length)?;
    let key = front.key;
    let content = match front.table {
        Some(table) if front.tag & DELETE != 0 => Content::Delete(table, key),
        Some(table) => Content::Put(table, key, value),
        None if front.tag & !HAS_PRIOR == DEAD => {
            Content::Dead(u32::try_from(key.first).ok()?, value)
        }
        None => return None,
    };
    Some(ParsedOp {
        content,
        prior: front.prior,
        bytes: length,
        punched: false,
    })
}

/// Reads an operation as [`parse`] does, or else one whose value is not what was written, where all
/// before the value is: what is left of a large put that is superseded. The caller has to know that it
/// was on the device once.
pub(crate) fn parse_punched(bytes: &[u8]) -> Option<ParsedOp<'_>> {
    parse(bytes).or_else(|| {
        let front = Front::parse(bytes)?;
        let length = front.bytes().filter(|length| *length <= bytes.len())?;
        let table = front.table.filter(|_| front.is_large_put(bytes))?;
        Some(ParsedOp {
            content: Content::Put(table, front.key, &[]),
            prior: front.prior,
            bytes: length,
            punched: true,
        })
    })
}

/// The blocks of the file that hold nothing but value of the large put at `offset`, which begins with
/// `front`: where they begin, and their bytes. `None` where it is no such operation.
pub(crate) fn hole(front: &[u8], offset: u64) -> Option<(u64, u64)> {
    let parsed = Front::parse(front)?;
    if !parsed.is_large_put(front) {
        return None;
    }
    let end = offset + parsed.bytes()? as u64;
    // Who reads the operation before may look at this many bytes, not knowing how long that is.
    let begin = (offset + FRONT_BYTES as u64).next_multiple_of(BLOCK_BYTES);
    let bytes = (end - end % BLOCK_BYTES).checked_sub(begin)?;
    (bytes > 0).then_some((begin, bytes))
}

const TABLE_MASK: u8 = 0x1f;
const DELETE: u8 = 0x20;
const HAS_PRIOR: u8 = 0x40;
const DEAD: u8 = 0x1f;
const LARGE: u8 = 0x80;

/// The most that an operation takes besides its value, in bytes.
pub(crate) const OVERHEAD_BYTES_MAX: usize = 4 + 1 + 10 + 10 + 8 + 5 + 4;

/// At least as much, so that an operation's length is found within.
pub(crate) const FRONT_BYTES: usize = 64;

/// A value from this size on is given up block by block as soon as it is dead.
pub(crate) const LARGE_BYTES: usize = 64 << 10;

/// The blocks of file systems, or a multiple of them.
const BLOCK_BYTES: u64 = 4096;

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

    #[test]
    fn of_a_large_put_all_but_the_value_can_be_told_without_it() {
        let value = vec![7; LARGE_BYTES];
        let prior = Some(Entry::new(3, 99, 40));
        let content = Content::Put(Table::Changes, Key::pair(300, 5), &value);
        let mut bytes = Vec::new();
        let length = encode(&mut bytes, content, prior);
        let front = super::Front::parse(&bytes[..FRONT_BYTES]).unwrap();
        assert_eq!(front.bytes(), Some(length));
        let whole = parse_punched(&bytes).unwrap();
        assert!(
            !whole.punched && matches!(whole.content, Content::Put(_, _, found) if found == value)
        );
        let (begin, hole_bytes) = hole(&bytes[..FRONT_BYTES], 8100).unwrap();
        assert_eq!((begin, hole_bytes), (8192, 16 * 4096 - 4096));
        let (from, to) = (begin as usize - 8100, (begin + hole_bytes) as usize - 8100);
        bytes[from..to].fill(0);
        assert!(parse(&bytes).is_none());
        let left = parse_punched(&bytes).unwrap();
        assert!(left.punched && left.bytes == length && left.prior == prior);
        assert!(
            matches!(left.content, Content::Put(Table::Changes, key, &[]) if key == Key::pair(300, 5))
        );
        // The checksum of the whole comes first, and is another one's to verify.
        let value_at = length - LARGE_BYTES;
        for bit in 32..value_at * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(parse_punched(&bytes).is_none(), "bit {bit}");
            assert!(hole(&bytes[..FRONT_BYTES], 8100).is_none(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        bytes.pop();
        assert!(parse_punched(&bytes).is_none());
        let mut small = Vec::new();
        encode(
            &mut small,
            Content::Put(Table::Objects, Key::from(1), &value[1..]),
            None,
        );
        small[100] ^= 1;
        assert!(parse_punched(&small).is_none());
    }
}

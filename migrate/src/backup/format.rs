//! The parts of a stream that have a fixed layout; `docs/BACKUP_FORMAT.md` tells them byte by byte.

use durum_core::digest::Digest;
use durum_core::{Oid, StoreId, Tid};

/// What a stream begins with. The first byte is no text, and the last ones are what transfers of text
/// change: as in PNG.
pub(super) const MAGIC: [u8; 8] = *b"\x89DURUM\n\x1a";
/// The format that this version writes, and the only one that it reads.
pub(super) const FORMAT: u16 = 1;
pub(super) const HEADER_BYTES: usize = 96;
/// What a block holds at most, uncompressed.
pub(super) const BLOCK_BYTES: usize = 256 << 10;
pub(super) const BLOCK_HEAD_BYTES: usize = 13;
/// The content of the last block.
pub(super) const END_BYTES: usize = 112;
/// The last block is numbered so, that it can be verified where it is read before the others.
pub(super) const END_NUMBER: u64 = u64::MAX;

const CHECKSUM_AT: usize = HEADER_BYTES - 4;
const KIND_FULL: u8 = 0;
const KIND_INCREMENT: u8 = 1;
/// Blocks are compressed by Zstandard; the number is that of the codec in records.
const CODEC_ZSTD: u8 = 2;

/// What a stream says of itself before its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The store that was backed up.
    pub store_id: StoreId,
    /// The commit after which an increment's changes begin; `None` for a full backup.
    pub from: Option<Tid>,
    /// The last commit that it holds.
    pub tid: Tid,
    /// No OID from here on had been handed out.
    pub high_water: Oid,
}

/// What a stream says at its end of its content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Objects of which only the deletion is in the stream; none in a full backup.
    pub deleted: u64,
    /// Bytes of the objects' data, uncompressed.
    pub bytes: u64,
    /// The digest of the objects in the stream, and their number.
    pub digest: Digest,
    /// The digest of the whole store at that commit: always known for a full backup, on request for an
    /// increment.
    pub store_digest: Option<Digest>,
    /// Blocks before the last one.
    pub(super) blocks: u64,
}

/// What a complete stream says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// What it is.
    pub header: Header,
    /// What it holds.
    pub totals: Totals,
    /// Its length.
    pub file_bytes: u64,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoHeader {
    /// This was never a backup.
    Foreign,
    /// The format has this number, and is not known.
    Format(u16),
    /// It was a header once.
    Damaged(&'static str),
}

impl Header {
    /// `full` or `increment`.
    pub fn kind(&self) -> &'static str {
        match self.from {
            None => "full",
            Some(_) => "increment",
        }
    }

    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        let kind = match self.from {
            None => KIND_FULL,
            Some(_) => KIND_INCREMENT,
        };
        let mut fields = Fields(&mut out);
        fields.put(&MAGIC);
        fields.put(&FORMAT.to_le_bytes());
        fields.put(&[kind, CODEC_ZSTD]);
        fields.put(&(BLOCK_BYTES as u32).to_le_bytes());
        fields.put(&self.store_id.0);
        fields.put(&self.from.unwrap_or_default().0.to_le_bytes());
        fields.put(&self.tid.0.to_le_bytes());
        fields.put(&self.high_water.0.to_le_bytes());
        let sum = header_checksum(&out).to_le_bytes();
        if let Some(slot) = out.last_chunk_mut() {
            *slot = sum;
        }
        out
    }

    /// Reads a header. The checksum does not cover the magic number, so that damage there is told from
    /// what was never a backup.
    pub(super) fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Header, NoHeader> {
        let mut rest = Cursor(bytes);
        let known = rest.take() == Some(MAGIC);
        let sum = bytes.last_chunk().copied().map(u32::from_le_bytes);
        if sum != Some(header_checksum(bytes)) {
            return Err(match known {
                true => NoHeader::Damaged("the header's checksum is wrong"),
                false => NoHeader::Foreign,
            });
        }
        if !known {
            return Err(NoHeader::Damaged("the magic number is wrong"));
        }
        let bad = NoHeader::Damaged("the header makes no sense");
        let format = rest.take().map(u16::from_le_bytes).ok_or(bad)?;
        if format != FORMAT {
            return Err(NoHeader::Format(format));
        }
        let [kind, codec] = rest.take().ok_or(bad)?;
        let block_bytes = rest.take().map(u32::from_le_bytes).ok_or(bad)?;
        let store_id = StoreId(rest.take().ok_or(bad)?);
        let from = rest.number().map(Tid).ok_or(bad)?;
        let header = Header {
            store_id,
            from: match kind {
                KIND_FULL => None,
                _ => Some(from),
            },
            tid: rest.number().map(Tid).ok_or(bad)?,
            high_water: rest.number().map(Oid).ok_or(bad)?,
        };
        let sound = kind <= KIND_INCREMENT
            && codec == CODEC_ZSTD
            && block_bytes as usize == BLOCK_BYTES
            && from <= header.tid
            && header.high_water.0 <= Oid::MAX.0 + 1;
        sound.then_some(header).ok_or(bad)
    }
}

impl Totals {
    pub(super) fn encode(&self) -> [u8; END_BYTES] {
        let mut out = [0; END_BYTES];
        let store = self.store_digest.unwrap_or_default();
        let mut fields = Fields(&mut out);
        fields.put(&self.blocks.to_le_bytes());
        fields.put(&self.digest.objects().to_le_bytes());
        fields.put(&self.deleted.to_le_bytes());
        fields.put(&self.bytes.to_le_bytes());
        fields.put(&self.digest.to_bytes());
        fields.put(&u64::from(self.store_digest.is_some()).to_le_bytes());
        fields.put(&store.objects().to_le_bytes());
        fields.put(&store.to_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Totals> {
        let mut rest = Cursor(bytes);
        let (blocks, objects) = (rest.number()?, rest.number()?);
        let (deleted, bytes) = (rest.number()?, rest.number()?);
        let digest = Digest::from_bytes(objects, rest.take()?);
        let has_store = rest.number()?;
        let store = Digest::from_bytes(rest.number()?, rest.take()?);
        (has_store <= 1 && rest.0.is_empty()).then_some(Totals {
            deleted,
            bytes,
            digest,
            store_digest: (has_store == 1).then_some(store),
            blocks,
        })
    }
}

/// What a block begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockHead {
    pub(super) is_end: bool,
    /// The length of its content, uncompressed.
    pub(super) plain: u32,
    /// The length of its content as it is stored. Equal lengths mean that it is not compressed.
    pub(super) stored: u32,
}

impl BlockHead {
    /// The head of the block `number` with the content `stored`.
    pub(super) fn encode(&self, number: u64, stored: &[u8]) -> [u8; BLOCK_HEAD_BYTES] {
        let mut out = [0; BLOCK_HEAD_BYTES];
        let mut fields = Fields(&mut out);
        fields.put(&[0; 4]);
        fields.put(&[if self.is_end { 2 } else { 1 }]);
        fields.put(&self.plain.to_le_bytes());
        fields.put(&self.stored.to_le_bytes());
        let sum = block_checksum(number, &out, stored).to_le_bytes();
        if let Some(slot) = out.first_chunk_mut() {
            *slot = sum;
        }
        out
    }

    /// Splits a head, whose checksum is still to be compared with [`block_checksum`]; `None` where it
    /// makes no sense.
    pub(super) fn decode(bytes: &[u8; BLOCK_HEAD_BYTES]) -> Option<(BlockHead, u32)> {
        let mut rest = Cursor(bytes);
        let checksum = u32::from_le_bytes(rest.take()?);
        let [kind] = rest.take()?;
        let plain = u32::from_le_bytes(rest.take()?);
        let stored = u32::from_le_bytes(rest.take()?);
        let is_end = kind == 2;
        let sound = match kind {
            1 => (1..=BLOCK_BYTES as u32).contains(&plain) && (1..=plain).contains(&stored),
            2 => plain as usize == END_BYTES && stored == plain,
            _ => false,
        };
        let head = BlockHead {
            is_end,
            plain,
            stored,
        };
        sound.then_some((head, checksum))
    }
}

/// The checksum of a block: its number is part of it, so that a block in a wrong place is noticed there.
pub(super) fn block_checksum(number: u64, head: &[u8; BLOCK_HEAD_BYTES], stored: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(head.get(4..).unwrap_or_default());
    hasher.update(stored);
    hasher.finalize()
}

fn header_checksum(bytes: &[u8; HEADER_BYTES]) -> u32 {
    crc32fast::hash(bytes.get(MAGIC.len()..CHECKSUM_AT).unwrap_or_default())
}

/// Fills bytes from the front.
struct Fields<'a>(&'a mut [u8]);

impl Fields<'_> {
    fn put(&mut self, field: &[u8]) {
        let rest = std::mem::take(&mut self.0);
        if let Some((slot, rest)) = rest.split_at_mut_checked(field.len()) {
            slot.copy_from_slice(field);
            self.0 = rest;
        }
    }
}

/// Takes bytes from the front.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

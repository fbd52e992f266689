//! Reading a stream, with everything verified on the way.

use std::io::{self, Read};
use std::path::PathBuf;

use durum_core::digest::Digest;
use durum_core::record::varint;
use durum_core::{Error, ErrorKind, IoResultExt as _, Oid, Result, Tid};

use super::READ;
use super::entries::Entry;
use super::format::{
    BLOCK_BYTES, BLOCK_HEAD_BYTES, BlockHead, END_NUMBER, FORMAT, HEADER_BYTES, Header, MAGIC,
    NoHeader, Totals, block_checksum,
};

/// The longest varint.
const VARINT_BYTES: usize = 10;

/// A stream that is being read.
pub(super) struct StreamReader {
    input: Box<dyn Read + Send>,
    /// The name of what is read, for errors.
    path: PathBuf,
    header: Header,
    /// Where the current block begins in the stream, and the next one.
    block_at: u64,
    next_at: u64,
    number: u64,
    block: Vec<u8>,
    position: usize,
    /// The smallest OID that can come next.
    next_oid: u64,
    seen: Totals,
    end: Option<Totals>,
}

impl StreamReader {
    /// Reads the header.
    ///
    /// # Errors
    /// `Unreadable` for what is no backup, or of an unknown format; `Damaged`.
    pub(super) fn new(mut input: Box<dyn Read + Send>, path: PathBuf) -> Result<StreamReader> {
        let mut bytes = [0; HEADER_BYTES];
        let got = read_up_to(&mut *input, &mut bytes).during(READ, &path)?;
        let header =
            header(bytes.get(..got).unwrap_or_default()).map_err(|error| error.with_path(&path))?;
        Ok(StreamReader {
            input,
            path,
            header,
            block_at: 0,
            next_at: HEADER_BYTES as u64,
            number: 0,
            block: Vec::new(),
            position: 0,
            next_oid: 0,
            seen: Totals::default(),
            end: None,
        })
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// What the stream says of itself at its end, once that was reached.
    pub(super) fn totals(&self) -> Option<&Totals> {
        self.end.as_ref()
    }

    /// Reads the next entry into `entry`; false at the end, which is then verified.
    ///
    /// # Errors
    /// `Damaged`, naming the place; those of reading.
    pub(super) fn next(&mut self, entry: &mut Entry) -> Result<bool> {
        if self.end.is_some() || !self.has_more()? {
            return Ok(false);
        }
        let head = self.varint()?;
        let oid = self.next_oid.checked_add(head >> 1).map(Oid);
        let Some(oid) = oid.filter(|oid| oid.is_valid()) else {
            return Err(self.damaged("an OID is not below 2^63"));
        };
        self.next_oid = oid.0 + 1;
        entry.oid = oid;
        entry.deleted = head & 1 == 1;
        entry.refs.clear();
        entry.data.clear();
        if entry.deleted {
            if self.header.from.is_none() {
                return Err(self.damaged("a deletion in a full backup"));
            }
            self.seen.deleted += 1;
            return Ok(true);
        }
        entry.tid = Tid(self.varint()?);
        if entry.tid > self.header.tid {
            return Err(self
                .damaged("an object is newer than the backup")
                .with_oid(oid));
        }
        self.read_refs(entry)?;
        let length = self.varint()?;
        self.read_data(length, &mut entry.data)?;
        let mut digest = Digest::default();
        digest.add(oid, entry.refs.iter().copied(), &entry.data);
        entry.digest = digest;
        self.seen.digest += digest;
        self.seen.bytes += length;
        Ok(true)
    }

    fn read_refs(&mut self, entry: &mut Entry) -> Result<()> {
        let count = self.varint()?;
        let mut last = None;
        for _ in 0..count {
            let step = self.varint()?;
            let next = match last {
                None => Some(step),
                Some(last) if step > 0 => step.checked_add(last),
                Some(_) => None,
            };
            let next = next.filter(|it| Oid(*it).is_valid() && *it != entry.oid.0);
            let Some(next) = next else {
                return Err(self
                    .damaged("the references make no sense")
                    .with_oid(entry.oid));
            };
            entry.refs.push(Oid(next));
            last = Some(next);
        }
        Ok(())
    }

    /// Appends `length` bytes of the content. Memory is taken as they come, whatever the length says.
    fn read_data(&mut self, length: u64, out: &mut Vec<u8>) -> Result<()> {
        let mut left = length;
        while left > 0 {
            self.need_more()?;
            let rest = self.block.get(self.position..).unwrap_or_default();
            let now = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            out.extend_from_slice(rest.get(..now).unwrap_or_default());
            self.position += now;
            left -= now as u64;
        }
        Ok(())
    }

    fn varint(&mut self) -> Result<u64> {
        let rest = self.block.get(self.position..).unwrap_or_default();
        let mut input = rest;
        if let Some(value) = varint::take(&mut input) {
            self.position += rest.len() - input.len();
            return Ok(value);
        }
        // It is cut by the end of a block, or there is none.
        let mut bytes = Vec::with_capacity(VARINT_BYTES);
        while bytes.len() < VARINT_BYTES {
            self.need_more()?;
            let byte = self.block.get(self.position).copied().unwrap_or_default();
            self.position += 1;
            bytes.push(byte);
            if byte & 0x80 == 0 {
                break;
            }
        }
        varint::take(&mut bytes.as_slice())
            .ok_or_else(|| self.damaged("a number has more than 64 bits"))
    }

    /// As [`StreamReader::has_more`], within an entry.
    fn need_more(&mut self) -> Result<()> {
        match self.has_more()? {
            true => Ok(()),
            false => Err(self.damaged("an object is cut off")),
        }
    }

    /// Whether there is content left; reads the next block where one is used up.
    fn has_more(&mut self) -> Result<bool> {
        if self.position < self.block.len() {
            return Ok(true);
        }
        if self.end.is_some() {
            return Ok(false);
        }
        self.block_at = self.next_at;
        let mut bytes = [0; BLOCK_HEAD_BYTES];
        self.fill(&mut bytes)?;
        let (head, checksum) = BlockHead::decode(&bytes)
            .ok_or_else(|| self.damaged("the head of the block makes no sense"))?;
        let mut stored = vec![0; head.stored as usize];
        self.fill(&mut stored)?;
        let number = match head.is_end {
            true => END_NUMBER,
            false => self.number,
        };
        if block_checksum(number, &bytes, &stored) != checksum {
            return Err(self.damaged("the checksum of the block is wrong"));
        }
        if head.is_end {
            return self.finish(&stored).map(|()| false);
        }
        self.number += 1;
        self.position = 0;
        self.block = match head.stored == head.plain {
            true => stored,
            false => zstd::bulk::decompress(&stored, BLOCK_BYTES)
                .map_err(|error| self.damaged(&format!("the block: {error}")))?,
        };
        if self.block.len() != head.plain as usize {
            return Err(self.damaged("the block does not have the length that it says"));
        }
        Ok(true)
    }

    /// Compares what was read with what the last block says.
    fn finish(&mut self, content: &[u8]) -> Result<()> {
        let totals =
            Totals::decode(content).ok_or_else(|| self.damaged("the last block makes no sense"))?;
        let mut seen = self.seen;
        seen.blocks = self.number;
        seen.store_digest = totals.store_digest;
        let is_full = self.header.from.is_none();
        if seen != totals || (is_full && totals.store_digest != Some(totals.digest)) {
            return Err(self.damaged(&format!(
                "the backup has {} objects with the digest {}, and says that it has {} with {}",
                seen.digest.objects(),
                seen.digest,
                totals.digest.objects(),
                totals.digest,
            )));
        }
        self.block.clear();
        self.position = 0;
        self.end = Some(totals);
        let more = read_up_to(&mut *self.input, &mut [0]).during(READ, &self.path)?;
        if more > 0 {
            self.block_at = self.next_at;
            return Err(self.damaged("something follows the end of the backup"));
        }
        Ok(())
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<()> {
        let got = read_up_to(&mut *self.input, buffer).during(READ, &self.path)?;
        self.next_at += got as u64;
        if got < buffer.len() {
            self.block_at = self.next_at;
            return Err(self.damaged("the backup is cut off"));
        }
        Ok(())
    }

    fn damaged(&self, what: &str) -> Error {
        damaged(self.block_at, what).with_path(&self.path)
    }
}

impl std::fmt::Debug for StreamReader {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("StreamReader")
            .field("path", &self.path)
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

/// The header in the first bytes of a stream, which may be fewer than a header has.
pub(super) fn header(bytes: &[u8]) -> Result<Header> {
    let foreign = || Error::new(ErrorKind::Unreadable, READ).because("this is no backup");
    let Some(whole) = bytes.first_chunk::<HEADER_BYTES>() else {
        let begun = bytes.get(..MAGIC.len()).unwrap_or(bytes);
        return Err(match MAGIC.starts_with(begun) {
            true => damaged(bytes.len() as u64, "the backup is cut off"),
            false => foreign(),
        });
    };
    Header::decode(whole).map_err(|why| match why {
        NoHeader::Foreign => foreign(),
        NoHeader::Damaged(what) => damaged(0, what),
        NoHeader::Format(format) => Error::new(ErrorKind::Unreadable, READ)
            .because(format!("the backup's format is {format}"))
            .hint(format!("This version reads format {FORMAT}.")),
    })
}

pub(super) fn damaged(at: u64, what: &str) -> Error {
    Error::damaged(READ, format!("at byte {at}: {what}")).hint("Use another backup.")
}

/// Fills `buffer` as far as there are bytes.
fn read_up_to(input: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match input.read(rest) {
            Ok(0) => break,
            Ok(got) => filled += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

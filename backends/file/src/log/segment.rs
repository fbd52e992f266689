//! A segment: a file of the log.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use durum_core::engine::{Key, Table};
use durum_core::{Error, IoResultExt, Result};

use super::op::{self, FRONT_BYTES, Front, parse_rest};
use super::{Content, Entry, ParsedOp};
use crate::bytes::{put_at, u32_at, u64_at};
use crate::error::log_damage;
use crate::seam::{FileSystem, View};

/// A segment, for reading. Readers keep it alive, also after its file was unlinked.
#[derive(Debug)]
pub(crate) struct Segment {
    /// Its number, from 1, never used again.
    pub(crate) number: u32,
    fs: Arc<dyn FileSystem>,
    path: PathBuf,
    /// Where its frames ended when it was opened; the view knows where they end now.
    used: u64,
    view: OnceLock<View>,
}

impl Segment {
    /// A segment that is complete; its file is opened by the first read.
    pub(crate) fn sealed(fs: &Arc<dyn FileSystem>, dir: &Path, number: u32, used: u64) -> Segment {
        Segment {
            number,
            fs: Arc::clone(fs),
            path: dir.join(segment_name(number)),
            used,
            view: OnceLock::new(),
        }
    }

    /// A segment whose file is open.
    pub(crate) fn viewed(fs: &Arc<dyn FileSystem>, dir: &Path, number: u32, view: View) -> Segment {
        let segment = Segment::sealed(fs, dir, number, view.limit());
        let _ = segment.view.set(view);
        segment
    }

    /// Its file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The segment's bytes.
    #[inline]
    pub(crate) fn view(&self) -> Result<&View> {
        match self.view.get() {
            Some(view) => Ok(view),
            None => self.open(),
        }
    }

    #[cold]
    fn open(&self) -> Result<&View> {
        let opened = self
            .fs
            .open(&self.path)
            .and_then(|file| View::new(&file, self.used, self.used));
        let view = opened.map_err(|error| read_error(error, &self.path))?;
        Ok(self.view.get_or_init(|| view))
    }

    /// Calls `visit` with the operation at `entry`.
    ///
    /// # Errors
    /// `Damaged` where there is none, or its checksum is wrong.
    #[inline]
    pub(crate) fn with_op<R>(
        &self,
        entry: Entry,
        visit: impl FnOnce(&ParsedOp<'_>) -> R,
    ) -> Result<R> {
        let (bytes, front) = self.op_bytes(entry)?;
        match parse_rest(&bytes, &front) {
            Some(op) => Ok(visit(&op)),
            None => Err(self.damaged(entry)),
        }
    }

    /// Calls `visit` with the value that the operation at `entry` puts into the row, of which only the front
    /// is looked at.
    ///
    /// # Errors
    /// `Damaged` where there is no such operation.
    #[inline]
    pub(crate) fn with_unverified<R>(
        &self,
        entry: Entry,
        (table, key): (Table, Key),
        visit: impl FnOnce(&[u8]) -> R,
    ) -> Result<R> {
        let (bytes, front) = self.op_bytes(entry)?;
        match front.value_of(&bytes, table, key) {
            Some(value) => Ok(visit(value)),
            None => Err(self.damaged(entry)),
        }
    }

    /// The row that is put by the operation at `place`, of which only that much has to be intact.
    ///
    /// # Errors
    /// As [`Segment::with_op`].
    pub(crate) fn row_at(&self, place: Entry) -> Result<Option<(Table, Key)>> {
        let (bytes, _) = self.op_bytes(place)?;
        match op::parse_punched(&bytes).map(|op| op.content) {
            Some(Content::Put(table, key, _)) => Ok(Some((table, key))),
            Some(_) => Ok(None),
            None => Err(self.damaged(place)),
        }
    }

    /// The bytes of the operation at `entry`, and its front: no bytes behind it but in the first
    /// [`FRONT_BYTES`], since what lies there may be a value that is being given up.
    #[inline]
    pub(crate) fn op_bytes(&self, entry: Entry) -> Result<(Cow<'_, [u8]>, Front)> {
        let view = self.view()?;
        let failed = |error| read_error(error, &self.path);
        let rest = view.limit().saturating_sub(entry.offset());
        let most = entry.bytes_max().min(rest) as usize;
        let bytes = view.bytes(entry.offset(), most.min(FRONT_BYTES));
        let bytes = bytes.map_err(failed)?;
        let front = Front::parse(&bytes).ok_or_else(|| self.damaged(entry))?;
        match front.bytes() {
            Some(length) if length <= bytes.len() => Ok((bytes, front)),
            Some(length) if length <= most => {
                let bytes = view.bytes(entry.offset(), length).map_err(failed)?;
                Ok((bytes, front))
            }
            _ => Err(self.damaged(entry)),
        }
    }

    /// The error for a place that does not hold what it should.
    #[cold]
    pub(crate) fn damaged(&self, entry: Entry) -> Error {
        let what = format!("the record at offset {} is not intact", entry.offset());
        log_damage("read a record", what).with_path(&self.path)
    }
}

#[cold]
fn read_error(error: std::io::Error, path: &Path) -> Error {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::NotFound => {
            log_damage("read a segment", "it is missing or shorter than it was").with_path(path)
        }
        _ => Error::io(error, "read a segment").with_path(path),
    }
}

/// The value that `op` puts into the row, if that is what it does.
#[inline]
pub(crate) fn value_of<'a>(op: &ParsedOp<'a>, table: Table, key: Key) -> Option<&'a [u8]> {
    match op.content {
        Content::Put(of, at, value) if of == table && at == key => Some(value),
        _ => None,
    }
}

/// The front of a segment file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SegmentHeader {
    /// The segment's number.
    pub(crate) number: u32,
    /// The sequence number of its first frame.
    pub(crate) sequence: u64,
    /// The checksum of the frame before that.
    pub(crate) chain: u32,
}

impl SegmentHeader {
    /// The header's bytes.
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES as usize] {
        let mut out = [0; SEGMENT_HEADER_BYTES as usize];
        put_at(&mut out, 0, SEGMENT_MAGIC);
        put_at(&mut out, 8, &FORMAT_VERSION.to_le_bytes());
        put_at(&mut out, 12, &self.number.to_le_bytes());
        put_at(&mut out, 16, &self.sequence.to_le_bytes());
        put_at(&mut out, 24, &self.chain.to_le_bytes());
        let crc = crc32fast::hash(out.get(..28).unwrap_or_default());
        put_at(&mut out, 28, &crc.to_le_bytes());
        out
    }

    /// Reads a header; `None` where it is not that of segment `number`.
    pub(crate) fn parse(bytes: &[u8], number: u32) -> Option<SegmentHeader> {
        let header = SegmentHeader {
            number: u32_at(bytes, 12)?,
            sequence: u64_at(bytes, 16)?,
            chain: u32_at(bytes, 24)?,
        };
        let whole = bytes.get(..8)? == SEGMENT_MAGIC
            && u32_at(bytes, 8)? == FORMAT_VERSION
            && u32_at(bytes, 28)? == crc32fast::hash(bytes.get(..28)?)
            && header.number == number;
        whole.then_some(header)
    }
}

/// The name of a segment's file.
pub(crate) fn segment_name(number: u32) -> String {
    format!("{number:08}.seg")
}

/// The numbers of the segments in `dir`, ascending.
pub(crate) fn list_segments(fs: &dyn FileSystem, dir: &Path) -> Result<Vec<u32>> {
    let names = fs.list(dir).during("list the log", dir)?;
    let mut numbers: Vec<u32> = names
        .iter()
        .filter_map(|name| name.strip_suffix(".seg")?.parse().ok())
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Bytes before a segment's first frame.
pub(crate) const SEGMENT_HEADER_BYTES: u64 = 32;

const SEGMENT_MAGIC: &[u8; 8] = b"DURUMLOG";
const FORMAT_VERSION: u32 = 1;

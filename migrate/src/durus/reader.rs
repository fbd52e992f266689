//! Reading Durus files.

use std::path::Path;

use durum_core::{ErrorKind, Oid, Result, ResultExt};

use super::index::{Found, Index};
use super::record::{read_entry, read_object};
use super::{DurusObject, Format, READ, scan_dfs20, scan_shelf};
use crate::input::{Input, Window};
use crate::offsets::OffsetCursor;

/// An open Durus file.
///
/// Opening reads the file once, in order, and keeps where the latest version of each object lies in a
/// temporary file; the objects are then read by ascending OID. Of several versions the last counts.
/// Bytes after the last whole transaction are a torn write: they are not read, and counted by
/// [`torn_bytes`](DurusFile::torn_bytes). While open, the file is locked against Durus writers.
#[derive(Debug)]
pub struct DurusFile {
    input: Input,
    format: Format,
    index: Index,
    whole_end: u64,
}

impl DurusFile {
    /// Opens a file of either format, with 16 MiB for sorting and the system's directory for
    /// temporary files.
    ///
    /// # Errors
    /// `NotFound`; `Unreadable` for no permission, something other than a Durus file, or OIDs from
    /// 2^63 on; `InUse` while a Durus program writes to it; `Damaged` for offsets and lengths that do
    /// not fit together before the torn end; `Full` when the temporary files do not fit.
    pub fn open(path: impl AsRef<Path>) -> Result<DurusFile> {
        DurusFile::open_with(path, None, SORT_BYTES)
    }

    /// Opens a file, with temporary files in `scratch` and `memory_bytes` bytes for sorting. The
    /// temporary files take 16 to 48 bytes for each version of an object.
    ///
    /// # Errors
    /// As [`open`](DurusFile::open).
    pub fn open_with(
        path: impl AsRef<Path>,
        scratch: Option<&Path>,
        memory_bytes: usize,
    ) -> Result<DurusFile> {
        let path = path.as_ref();
        let input = Input::open(path, READ)?;
        if !input.lock() {
            return Err(input
                .fail(ErrorKind::InUse, "a Durus program has it open")
                .hint("Stop that program, or read through its server: `durus+tcp://HOST:PORT`."));
        }
        let format = detect(&input)?;
        let mut found = Found::new(scratch, memory_bytes);
        let (map, whole_end) = match format {
            Format::Shelf => {
                let (map, end) = scan_shelf::scan(&input, &mut found)?;
                (Some(map), end)
            }
            Format::Dfs20 => (None, scan_dfs20::scan(&input, &mut found)?),
        };
        let index = Index::build(&input, format, found, map, whole_end, scratch).at_path(path)?;
        Ok(DurusFile {
            input,
            format,
            index,
            whole_end,
        })
    }

    /// The file's format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The number of objects, garbage included.
    pub fn object_count(&self) -> u64 {
        self.index.offsets.objects()
    }

    /// The size of the data of all objects in their latest versions, in bytes.
    pub fn data_bytes(&self) -> u64 {
        self.index.data_bytes
    }

    /// The size of the file, in bytes.
    pub fn file_bytes(&self) -> u64 {
        self.input.len()
    }

    /// How many bytes lie after the last whole transaction: what a torn write left.
    pub fn torn_bytes(&self) -> u64 {
        self.input.len() - self.whole_end
    }

    /// All objects, by ascending OID.
    pub fn objects(&self) -> Objects<'_> {
        Objects::new(self, 0)
    }

    /// The objects from an OID on, by ascending OID.
    ///
    /// # Errors
    /// `Io` when the index cannot be read.
    pub fn objects_from(&self, oid: Oid) -> Result<Objects<'_>> {
        Ok(Objects::new(self, self.index.offsets.position(oid)?))
    }

    /// One object, or `None` where there is none of this OID.
    ///
    /// # Errors
    /// `Io` or `Damaged` when it cannot be read, `Unreadable` when it references an OID from 2^63 on.
    pub fn load(&self, oid: Oid) -> Result<Option<DurusObject>> {
        match self.index.offsets.find(oid)? {
            Some(at) => self.read(&mut Window::new(&self.input), oid, at).map(Some),
            None => Ok(None),
        }
    }

    fn read(&self, window: &mut Window<'_>, oid: Oid, at: u64) -> Result<DurusObject> {
        match read_entry(window, self.format, at, self.whole_end)? {
            Ok(entry) if entry.oid == oid.0 => read_object(window, &entry),
            Ok(_) => Err(self
                .input
                .damaged(at, "the file was changed while it was read")),
            Err(broken) => Err(self.input.damaged(broken.at, broken.why)),
        }
    }
}

/// The objects of a [`DurusFile`], ascending. After an error there are no more.
#[derive(Debug)]
pub struct Objects<'f> {
    file: &'f DurusFile,
    window: Window<'f>,
    offsets: OffsetCursor<'f>,
    failed: bool,
}

impl<'f> Objects<'f> {
    fn new(file: &'f DurusFile, position: u64) -> Objects<'f> {
        Objects {
            file,
            window: Window::new(&file.input),
            offsets: file.index.offsets.cursor(position),
            failed: false,
        }
    }

    fn step(&mut self) -> Result<Option<DurusObject>> {
        match self.offsets.next()? {
            Some((oid, at)) => self.file.read(&mut self.window, Oid(oid), at).map(Some),
            None => Ok(None),
        }
    }
}

impl Iterator for Objects<'_> {
    type Item = Result<DurusObject>;

    fn next(&mut self) -> Option<Result<DurusObject>> {
        if self.failed {
            return None;
        }
        let step = self.step();
        self.failed = step.is_err();
        step.transpose()
    }
}

/// Tells the format by the first bytes, and what else it may be by the same.
fn detect(input: &Input) -> Result<Format> {
    let mut window = Window::new(input);
    let length = input.len().min(START_BYTES);
    let start = window.get(0, length as usize)?.unwrap_or_default();
    if let Some(format) = Format::detect(start) {
        return Ok(format);
    }
    let why = if start.is_empty() {
        "the file is empty".to_owned()
    } else if start.starts_with(b"SQLite format 3\0") {
        "it is an SQLite database, and Durus's SQLite storage is not supported".to_owned()
    } else {
        let shown = start.escape_ascii();
        format!(
            "it is not a Durus file: it begins with \"{shown}\", not \"SHELF-1\\n\" or \"DFS20\\0\""
        )
    };
    Err(input.fail(ErrorKind::Unreadable, why))
}

/// How much of a file is looked at to tell its format.
const START_BYTES: u64 = 16;

/// The memory for sorting, where none is given.
const SORT_BYTES: usize = 16 << 20;

//! Reading Durus files of any format.

use std::path::Path;

use durum_core::{Error, ErrorKind, Oid, Result};

use super::read_sqlite::{SqliteFile, SqliteObjects};
use super::record::Layout;
use super::scanned::{ScannedFile, ScannedObjects};
use super::{DurusObject, Format, READ};
use crate::input::{Input, SORT_BYTES, Window, Writers};
use crate::options::StopWatch;

/// An open Durus file.
///
/// A Shelf or FileStorage2 file is read once when it is opened, in order; where the latest version of
/// each object lies is kept in a temporary file, and the objects are then read by ascending OID. Of
/// several versions the last counts. Bytes after the last whole transaction are a torn write: they are
/// not read, and counted by [`torn_bytes`](DurusFile::torn_bytes). An SQLite database is read through
/// SQLite, in one of its transactions. While open, the file is locked against Durus writers.
#[derive(Debug)]
pub struct DurusFile {
    file: AnyFile,
}

#[derive(Debug)]
enum AnyFile {
    Scanned(ScannedFile),
    Sqlite(SqliteFile),
}

impl DurusFile {
    /// Opens a file of any format, with 16 MiB for sorting and the system's directory for temporary
    /// files.
    ///
    /// # Errors
    /// `NotFound`; `Unreadable` for no permission, something other than a Durus file, OIDs from 2^63
    /// on, or an SQLite database that cannot be read without writing to it; `InUse` while a Durus
    /// program writes to it; `Damaged` for offsets and lengths that do not fit together before the torn
    /// end, and what SQLite finds; `Full` when the temporary files do not fit.
    pub fn open(path: impl AsRef<Path>) -> Result<DurusFile> {
        DurusFile::open_with(path, None, SORT_BYTES)
    }

    /// Opens a file, with temporary files in `scratch` and `memory_bytes` bytes for sorting. The
    /// temporary files take 16 to 48 bytes for each version of an object; an SQLite database needs none.
    ///
    /// # Errors
    /// As [`open`](DurusFile::open).
    pub fn open_with(
        path: impl AsRef<Path>,
        scratch: Option<&Path>,
        memory_bytes: usize,
    ) -> Result<DurusFile> {
        DurusFile::open_among(
            (Writers::Refused, &StopWatch::default()),
            path.as_ref(),
            scratch,
            memory_bytes,
        )
    }

    /// As [`open_with`](DurusFile::open_with), perhaps while Durus has it open: then the transactions that
    /// are there so far are read.
    pub(crate) fn open_among(
        (writers, watch): (Writers, &StopWatch),
        path: &Path,
        scratch: Option<&Path>,
        memory_bytes: usize,
    ) -> Result<DurusFile> {
        let input = Input::open(path, READ, watch)?;
        let layout = match detect(&input)? {
            Format::Shelf => Layout::Shelf,
            Format::Dfs20 => Layout::Dfs20,
            Format::Sqlite if writers == Writers::Tolerated => {
                return Err(input
                    .fail(
                        ErrorKind::Unsupported,
                        "an SQLite database does not say what was changed in it meanwhile",
                    )
                    .hint("Stop what writes to it, and copy it without `--follow`."));
            }
            Format::Sqlite => {
                let file = AnyFile::Sqlite(SqliteFile::open(input)?);
                return Ok(DurusFile { file });
            }
        };
        let file = ScannedFile::open(input, layout, writers, scratch, memory_bytes)?;
        Ok(DurusFile {
            file: AnyFile::Scanned(file),
        })
    }

    /// The file itself, but for an SQLite database.
    pub(crate) fn input(&self) -> Option<&Input> {
        match &self.file {
            AnyFile::Scanned(file) => Some(file.input()),
            AnyFile::Sqlite(_) => None,
        }
    }

    /// Shows the OIDs of objects that may have changed since the file was opened as `earlier`; false where
    /// it has been packed meanwhile, and any may have.
    pub(crate) fn changes_since(
        &self,
        earlier: &DurusFile,
        show: &mut dyn FnMut(Oid) -> Result<()>,
    ) -> Result<bool> {
        match (&self.file, &earlier.file) {
            (AnyFile::Scanned(now), AnyFile::Scanned(before)) => now.changes_since(before, show),
            _ => Ok(false),
        }
    }

    /// Shows the OIDs of all objects, ascending.
    pub(crate) fn oids(&self, show: &mut dyn FnMut(Oid) -> Result<()>) -> Result<()> {
        match &self.file {
            AnyFile::Scanned(file) => file.oids(show),
            AnyFile::Sqlite(file) => {
                let mut objects = file.objects_from(Oid::ROOT);
                while let Some(object) = objects.next()? {
                    show(object.oid)?;
                }
                Ok(())
            }
        }
    }

    /// The file's format.
    pub fn format(&self) -> Format {
        match &self.file {
            AnyFile::Scanned(file) => file.format(),
            AnyFile::Sqlite(_) => Format::Sqlite,
        }
    }

    /// The number of objects, garbage included.
    pub fn object_count(&self) -> u64 {
        match &self.file {
            AnyFile::Scanned(file) => file.object_count(),
            AnyFile::Sqlite(file) => file.object_count(),
        }
    }

    /// The size of the data of all objects in their latest versions, in bytes.
    pub fn data_bytes(&self) -> u64 {
        match &self.file {
            AnyFile::Scanned(file) => file.data_bytes(),
            AnyFile::Sqlite(file) => file.data_bytes(),
        }
    }

    /// The size of the file, in bytes.
    pub fn file_bytes(&self) -> u64 {
        match &self.file {
            AnyFile::Scanned(file) => file.file_bytes(),
            AnyFile::Sqlite(file) => file.file_bytes(),
        }
    }

    /// Which file this is, and in which state: its path, length and the time of its last change.
    ///
    /// # Errors
    /// `Io` where the system does not say.
    pub(crate) fn description(&self) -> Result<String> {
        match &self.file {
            AnyFile::Scanned(file) => file.description(),
            AnyFile::Sqlite(file) => file.description(),
        }
    }

    /// How many bytes lie after the last whole transaction: what a torn write left. SQLite leaves none.
    pub fn torn_bytes(&self) -> u64 {
        match &self.file {
            AnyFile::Scanned(file) => file.torn_bytes(),
            AnyFile::Sqlite(_) => 0,
        }
    }

    /// All objects, by ascending OID.
    pub fn objects(&self) -> Objects<'_> {
        match self.objects_from(Oid::ROOT) {
            Ok(objects) => objects,
            Err(error) => Objects {
                state: State::Failed(Some(error)),
            },
        }
    }

    /// The objects from an OID on, by ascending OID.
    ///
    /// # Errors
    /// `Io` when the index cannot be read.
    pub fn objects_from(&self, oid: Oid) -> Result<Objects<'_>> {
        Ok(Objects {
            state: match &self.file {
                AnyFile::Scanned(file) => State::Scanned(file.objects_from(oid)?),
                AnyFile::Sqlite(file) => State::Sqlite(file.objects_from(oid)),
            },
        })
    }

    /// One object, or `None` where there is none of this OID.
    ///
    /// # Errors
    /// `Io` or `Damaged` when it cannot be read, `Unreadable` when it references an OID from 2^63 on.
    pub fn load(&self, oid: Oid) -> Result<Option<DurusObject>> {
        match &self.file {
            AnyFile::Scanned(file) => file.load(oid),
            AnyFile::Sqlite(file) => file.load(oid),
        }
    }
}

/// The objects of a [`DurusFile`], ascending. After an error there are no more.
#[derive(Debug)]
pub struct Objects<'f> {
    state: State<'f>,
}

#[derive(Debug)]
enum State<'f> {
    Scanned(ScannedObjects<'f>),
    Sqlite(SqliteObjects<'f>),
    /// With the error until it was given.
    Failed(Option<Error>),
}

impl Iterator for Objects<'_> {
    type Item = Result<DurusObject>;

    fn next(&mut self) -> Option<Result<DurusObject>> {
        let step = match &mut self.state {
            State::Scanned(objects) => objects.next(),
            State::Sqlite(objects) => objects.next(),
            State::Failed(error) => return error.take().map(Err),
        };
        if step.is_err() {
            self.state = State::Failed(None);
        }
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
    } else {
        let shown = start.escape_ascii();
        format!(
            "it is not a Durus file: it begins with \"{shown}\", not \"SHELF-1\\n\", \"DFS20\\0\" or \
             \"SQLite format 3\\0\""
        )
    };
    Err(input.fail(ErrorKind::Unreadable, why))
}

/// How much of a file is looked at to tell its format.
const START_BYTES: u64 = 16;

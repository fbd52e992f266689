//! Writing FileStorage2 files: one transaction with all objects, then the index.

use std::io::{self, Write};
use std::path::Path;

use durum_core::{Error, ErrorKind, Result};
use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::pickle::OffsetsPickle;
use super::record::compose;
use super::staged::{Offsets, Staged};
use super::{DurusObject, Format, WRITE, Written};

/// Writes a FileStorage2 file, in memory that does not grow with it. OIDs may be as sparse as they
/// like.
///
/// ```
/// use durum_migrate::durus::{Dfs20Writer, DurusFile, DurusObject};
/// let directory = tempfile::tempdir()?;
/// let path = directory.path().join("example.durus");
/// let mut writer = Dfs20Writer::create(&path)?;
/// writer.push(&DurusObject { data: b"state".to_vec(), ..DurusObject::default() })?;
/// writer.finish()?;
/// assert_eq!(DurusFile::open(&path)?.object_count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Dfs20Writer {
    staged: Staged,
    record: Vec<u8>,
}

impl Dfs20Writer {
    /// Begins a file, under a temporary name in the same directory. Dropped before
    /// [`finish`](Dfs20Writer::finish), it leaves nothing.
    ///
    /// # Errors
    /// `Exists` where there is something at `path`; `ReadOnly` where the directory is missing or not
    /// writable; `Full`, `Io`.
    pub fn create(path: impl AsRef<Path>) -> Result<Dfs20Writer> {
        let mut staged = Staged::create(path.as_ref())?;
        staged.put(Format::Dfs20.magic())?;
        staged.put(&[0; 8])?;
        let record = Vec::new();
        Ok(Dfs20Writer { staged, record })
    }

    /// Adds an object; they have to come by ascending OID.
    ///
    /// # Errors
    /// `Usage` out of order and for OIDs from 2^63 on; `TooLarge` when data and references come to
    /// 4 GiB; `Full`, `Io`.
    pub fn push(&mut self, object: &DurusObject) -> Result<()> {
        compose(&mut self.record, object)?;
        let length = u32::try_from(self.record.len()).map_err(|_| {
            Error::new(ErrorKind::TooLarge, WRITE)
                .because("a record of this format ends below 4 GiB")
                .with_oid(object.oid)
        })?;
        self.staged.begin_object(object.oid)?;
        self.staged.put(&length.to_be_bytes())?;
        self.staged.put(&self.record)
    }

    /// Writes the index, makes the file durable and gives it its name.
    ///
    /// # Errors
    /// `Exists` when a file of this name has appeared meanwhile; `Full`, `Io`.
    pub fn finish(self) -> Result<Written> {
        self.finish_verified(&mut |_| Ok(()))
    }

    /// As `finish`, but `verify` looks at the complete file before it gets its name; where it fails the
    /// file vanishes.
    ///
    /// # Errors
    /// As `finish`, and those of `verify`.
    pub fn finish_verified(
        mut self,
        verify: &mut dyn FnMut(&Path) -> Result<()>,
    ) -> Result<Written> {
        self.staged.put(&[0; 4])?;
        let index_at = self.staged.position();
        self.staged.put(&[0; 8])?;
        let offsets = self.staged.take_offsets()?;
        write_index(&mut self.staged, offsets)?;
        let index_bytes = self.staged.position() - index_at - 8;
        self.staged.patch(index_at, index_bytes)?;
        self.staged.patch(INDEX_AT, index_at)?;
        self.staged.complete(verify)
    }
}

fn write_index(staged: &mut Staged, mut offsets: Offsets) -> Result<()> {
    let mut sink = Sink {
        staged,
        failure: None,
    };
    let written = pickle_all(&mut sink, &mut offsets);
    match (sink.failure, written) {
        (Some(failure), _) => Err(failure),
        (None, written) => written,
    }
}

fn pickle_all(sink: &mut Sink<'_>, offsets: &mut Offsets) -> Result<()> {
    let failed = |error| Error::io(error, WRITE);
    let encoder = ZlibEncoder::new(sink, Compression::default());
    let mut pickle = OffsetsPickle::begin(encoder).map_err(failed)?;
    while let Some((oid, at)) = offsets.next()? {
        pickle.push(oid, at).map_err(failed)?;
    }
    let encoder = pickle.finish().map_err(failed)?;
    encoder.finish().map_err(failed)?;
    Ok(())
}

/// Lets a compressor write to a staged file, and keeps the error in its full form.
struct Sink<'s> {
    staged: &'s mut Staged,
    failure: Option<Error>,
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.staged.put(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(error) => {
                let message = error.to_string();
                self.failure = Some(error);
                Err(io::Error::other(message))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where the offset of the index lies.
const INDEX_AT: u64 = 6;

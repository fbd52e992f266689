//! Files that are written from front to back, with the offset of each object on the side.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use durum_core::{IoResultExt, Oid, Result, ResultExt};

use super::partial::{Ascending, Partial};
use super::{WRITE, Written};

/// A file being written; see [`Partial`].
#[derive(Debug)]
pub(super) struct Staged {
    out: BufWriter<File>,
    partial: Partial,
    position: u64,
    offsets: BufWriter<File>,
    order: Ascending,
}

impl Staged {
    pub(super) fn create(destination: &Path) -> Result<Staged> {
        let partial = Partial::create(destination)?;
        let file = partial.file().try_clone().during(WRITE, destination)?;
        let offsets = partial.nameless()?;
        Ok(Staged {
            out: BufWriter::with_capacity(WRITE_BYTES, file),
            partial,
            position: 0,
            offsets: BufWriter::with_capacity(WRITE_BYTES, offsets),
            order: Ascending::default(),
        })
    }

    /// How much has been written.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn objects(&self) -> u64 {
        self.order.objects
    }

    /// The largest OID so far.
    pub(super) fn last(&self) -> Option<Oid> {
        self.order.last
    }

    /// Appends bytes.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out
            .write_all(bytes)
            .during(WRITE, self.partial.destination())?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    /// Notes that the entry of `oid` begins here.
    pub(super) fn begin_object(&mut self, oid: Oid) -> Result<()> {
        self.order.next(oid).at_path(self.partial.destination())?;
        let numbers = [oid.0.to_be_bytes(), self.position.to_be_bytes()];
        self.offsets
            .write_all(numbers.as_flattened())
            .during(WRITE, self.partial.directory())
    }

    /// The offsets of all objects so far, ascending by OID. No object can be added afterwards.
    pub(super) fn take_offsets(&mut self) -> Result<Offsets> {
        let directory = self.partial.directory();
        self.offsets.flush().during(WRITE, directory)?;
        let mut file = self
            .offsets
            .get_ref()
            .try_clone()
            .during(WRITE, directory)?;
        file.seek(SeekFrom::Start(0)).during(WRITE, directory)?;
        Ok(Offsets {
            file: BufReader::with_capacity(WRITE_BYTES, file),
            left: self.order.objects,
            directory: directory.to_path_buf(),
        })
    }

    /// Overwrites eight bytes that were written before.
    pub(super) fn patch(&mut self, at: u64, number: u64) -> Result<()> {
        let destination = self.partial.destination();
        self.out.flush().during(WRITE, destination)?;
        self.out
            .get_ref()
            .write_all_at(&number.to_be_bytes(), at)
            .during(WRITE, destination)
    }

    /// Makes the file durable, has it verified under its temporary name, and gives it its own.
    pub(super) fn complete(
        mut self,
        verify: &mut dyn FnMut(&Path) -> Result<()>,
    ) -> Result<Written> {
        self.out.flush().during(WRITE, self.partial.destination())?;
        Ok(Written {
            objects: self.order.objects,
            file_bytes: self.partial.complete(verify)?,
        })
    }
}

/// The pairs of OID and offset of a file that was written.
#[derive(Debug)]
pub(super) struct Offsets {
    file: BufReader<File>,
    left: u64,
    directory: PathBuf,
}

impl Offsets {
    pub(super) fn next(&mut self) -> Result<Option<(u64, u64)>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let mut numbers = [[0; 8]; 2];
        self.file
            .read_exact(numbers.as_flattened_mut())
            .during(WRITE, &self.directory)?;
        let [oid, at] = numbers.map(u64::from_be_bytes);
        Ok(Some((oid, at)))
    }
}

/// The buffer of each file.
const WRITE_BYTES: usize = 64 << 10;

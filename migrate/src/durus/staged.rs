//! Files that appear under their name only when they are complete.

use std::fs::{File, Permissions};
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use durum_core::{Error, ErrorKind, IoResultExt, Oid, Result};
use tempfile::NamedTempFile;

use super::{WRITE, Written};

/// A file being written next to its destination, with the offset of each object on the side.
///
/// Dropped before [`complete`](Staged::complete), it vanishes; after a power loss or a kill a file
/// `.NAME.XXXXXX.partial` may remain, never the destination.
#[derive(Debug)]
pub(super) struct Staged {
    out: BufWriter<NamedTempFile>,
    destination: PathBuf,
    directory: PathBuf,
    position: u64,
    offsets: BufWriter<File>,
    objects: u64,
    last: Option<Oid>,
}

impl Staged {
    pub(super) fn create(destination: &Path) -> Result<Staged> {
        if destination.symlink_metadata().is_ok() {
            return Err(exists(destination));
        }
        let (Some(name), Some(directory)) = (destination.file_name(), destination.parent()) else {
            return Err(Error::new(ErrorKind::Usage, WRITE)
                .with_path(destination)
                .because("this names no file"));
        };
        let directory = match directory.as_os_str().is_empty() {
            true => PathBuf::from("."),
            false => directory.to_path_buf(),
        };
        let not_writable = |error| {
            let error = Error::io(error, WRITE).with_path(&directory);
            match error.kind() {
                ErrorKind::NotFound | ErrorKind::Unreadable => error.with_kind(ErrorKind::ReadOnly),
                _ => error,
            }
        };
        let mut prefix = std::ffi::OsString::from(".");
        prefix.push(name);
        prefix.push(".");
        let file = tempfile::Builder::new()
            .prefix(&prefix)
            .suffix(".partial")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(&directory)
            .map_err(not_writable)?;
        let offsets = tempfile::tempfile_in(&directory).map_err(not_writable)?;
        Ok(Staged {
            out: BufWriter::with_capacity(WRITE_BYTES, file),
            destination: destination.to_path_buf(),
            directory,
            position: 0,
            offsets: BufWriter::with_capacity(WRITE_BYTES, offsets),
            objects: 0,
            last: None,
        })
    }

    /// How much has been written.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn objects(&self) -> u64 {
        self.objects
    }

    /// The largest OID so far.
    pub(super) fn last(&self) -> Option<Oid> {
        self.last
    }

    /// Appends bytes.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).during(WRITE, &self.destination)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    /// Notes that the entry of `oid` begins here.
    pub(super) fn begin_object(&mut self, oid: Oid) -> Result<()> {
        let refuse = |why: &str| {
            let error = Error::new(ErrorKind::Usage, WRITE).because(why);
            Err(error.with_oid(oid).with_path(&self.destination))
        };
        if !oid.is_valid() {
            return refuse("OIDs end below 2^63");
        }
        if self.last.is_some_and(|last| last >= oid) {
            return refuse("objects have to come by ascending OID");
        }
        let numbers = [oid.0.to_be_bytes(), self.position.to_be_bytes()];
        self.offsets
            .write_all(numbers.as_flattened())
            .during(WRITE, &self.directory)?;
        self.last = Some(oid);
        self.objects += 1;
        Ok(())
    }

    /// The offsets of all objects so far, ascending by OID. No object can be added afterwards.
    pub(super) fn take_offsets(&mut self) -> Result<Offsets> {
        self.offsets.flush().during(WRITE, &self.directory)?;
        let mut file = self
            .offsets
            .get_ref()
            .try_clone()
            .during(WRITE, &self.directory)?;
        file.seek(SeekFrom::Start(0))
            .during(WRITE, &self.directory)?;
        Ok(Offsets {
            file: BufReader::with_capacity(WRITE_BYTES, file),
            left: self.objects,
            directory: self.directory.clone(),
        })
    }

    /// Overwrites eight bytes that were written before.
    pub(super) fn patch(&mut self, at: u64, number: u64) -> Result<()> {
        self.out.flush().during(WRITE, &self.destination)?;
        self.out
            .get_ref()
            .as_file()
            .write_all_at(&number.to_be_bytes(), at)
            .during(WRITE, &self.destination)
    }

    /// Makes the file durable, has it verified under its temporary name, and gives it its own.
    pub(super) fn complete(self, verify: &mut dyn FnMut(&Path) -> Result<()>) -> Result<Written> {
        let destination = &self.destination;
        let file = self
            .out
            .into_inner()
            .map_err(|error| error.into_error())
            .during(WRITE, destination)?;
        file.as_file().sync_all().during(WRITE, destination)?;
        verify(file.path())?;
        file.persist_noclobber(destination)
            .map_err(|failed| match failed.error.kind() {
                std::io::ErrorKind::AlreadyExists => exists(destination),
                _ => Error::io(failed.error, WRITE).with_path(destination),
            })?;
        let directory = File::open(&self.directory).during(WRITE, &self.directory)?;
        directory.sync_all().during(WRITE, &self.directory)?;
        Ok(Written {
            objects: self.objects,
            file_bytes: self.position,
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

fn exists(destination: &Path) -> Error {
    Error::new(ErrorKind::Exists, WRITE)
        .with_path(destination)
        .because("there is a file of this name already")
}

/// The buffer of each file.
const WRITE_BYTES: usize = 64 << 10;

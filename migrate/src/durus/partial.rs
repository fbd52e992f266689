//! Files that appear under their name only when they are complete.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use durum_core::{Error, ErrorKind, IoResultExt, Oid, Result};
use tempfile::NamedTempFile;

use super::WRITE;

/// A file that is being made next to its destination.
///
/// Dropped before [`complete`](Partial::complete), it vanishes; after a power loss or a kill a file
/// `.NAME.XXXXXX.partial` may remain, never the destination.
#[derive(Debug)]
pub(super) struct Partial {
    file: NamedTempFile,
    destination: PathBuf,
    directory: PathBuf,
}

impl Partial {
    pub(super) fn create(destination: &Path) -> Result<Partial> {
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
        let mut prefix = std::ffi::OsString::from(".");
        prefix.push(name);
        prefix.push(".");
        let file = tempfile::Builder::new()
            .prefix(&prefix)
            .suffix(".partial")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(&directory)
            .map_err(|error| not_writable(error, &directory))?;
        Ok(Partial {
            file,
            destination: destination.to_path_buf(),
            directory,
        })
    }

    /// The file, open for writing.
    pub(super) fn file(&self) -> &File {
        self.file.as_file()
    }

    /// Where the file is for now.
    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Where it will be.
    pub(super) fn destination(&self) -> &Path {
        &self.destination
    }

    /// The directory that it is in.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// A file without a name in the same directory.
    pub(super) fn nameless(&self) -> Result<File> {
        tempfile::tempfile_in(&self.directory).map_err(|error| not_writable(error, &self.directory))
    }

    /// Makes the file durable, has it verified under its temporary name, and gives it its own. Gives
    /// its size in bytes.
    pub(super) fn complete(self, verify: &mut dyn FnMut(&Path) -> Result<()>) -> Result<u64> {
        let destination = &self.destination;
        self.file().sync_all().during(WRITE, destination)?;
        verify(self.file.path())?;
        let file = self.file.persist_noclobber(destination).map_err(|failed| {
            match failed.error.kind() {
                std::io::ErrorKind::AlreadyExists => exists(destination),
                _ => Error::io(failed.error, WRITE).with_path(destination),
            }
        })?;
        let directory = File::open(&self.directory).during(WRITE, &self.directory)?;
        directory.sync_all().during(WRITE, &self.directory)?;
        Ok(file.metadata().during(WRITE, destination)?.len())
    }
}

/// Holds whoever writes objects to ascending OIDs, and counts.
#[derive(Debug, Default)]
pub(super) struct Ascending {
    pub(super) objects: u64,
    /// The largest OID so far.
    pub(super) last: Option<Oid>,
}

impl Ascending {
    /// Notes the next object.
    pub(super) fn next(&mut self, oid: Oid) -> Result<()> {
        let refuse = |why: &str| {
            Err(Error::new(ErrorKind::Usage, WRITE)
                .because(why)
                .with_oid(oid))
        };
        if !oid.is_valid() {
            return refuse("OIDs end below 2^63");
        }
        if self.last.is_some_and(|last| last >= oid) {
            return refuse("objects have to come by ascending OID");
        }
        self.last = Some(oid);
        self.objects += 1;
        Ok(())
    }
}

fn not_writable(error: std::io::Error, directory: &Path) -> Error {
    let error = Error::io(error, WRITE).with_path(directory);
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::Unreadable => error.with_kind(ErrorKind::ReadOnly),
        _ => error,
    }
}

fn exists(destination: &Path) -> Error {
    Error::new(ErrorKind::Exists, WRITE)
        .with_path(destination)
        .because("there is a file of this name already")
}

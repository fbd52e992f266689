//! The real file system.

use std::fs::{self, OpenOptions};
use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use memmap2::{MmapOptions, MmapRaw};

use super::{File, FileSystem};

/// Files of the operating system.
#[derive(Debug)]
pub(crate) struct RealFileSystem;

#[derive(Debug)]
struct RealFile(fs::File);

/// A file's bytes, mapped for reading. It may reach beyond the end of the file, to where the file will
/// grow; see [`Map::slice`].
#[derive(Debug)]
pub(crate) struct Map(MmapRaw);

impl Map {
    /// The bytes from `offset` on, `None` beyond the map.
    ///
    /// # Safety
    /// The file must be at least `offset + bytes` long and must not be cut below that, and none of
    /// these bytes may be written, for as long as the slice lives.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn slice(&self, offset: usize, bytes: usize) -> Option<&[u8]> {
        if offset.checked_add(bytes)? > self.0.len() {
            return None;
        }
        // SAFETY: the range lies within the map (checked above), which lives as long as `self`; that
        // the file backs it and that nobody writes to it is the caller's promise. No slice is ever
        // made of the whole map, so bytes that are still being written are in no slice.
        Some(unsafe { std::slice::from_raw_parts(self.0.as_ptr().add(offset), bytes) })
    }
}

impl FileSystem for RealFileSystem {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        match fs::create_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            result => result,
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        Ok(names)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        Ok(Arc::new(RealFile(options.open(path)?)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }
}

impl File for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    #[cfg(target_os = "linux")]
    #[allow(unsafe_code)]
    fn punch(&self, offset: u64, bytes: u64) -> io::Result<()> {
        let range = |number: u64| i64::try_from(number).map_err(io::Error::other);
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        let (offset, bytes) = (range(offset)?, range(bytes)?);
        // SAFETY: the call takes integers and touches no memory of this process but through maps of the
        // file, of whose punched bytes nobody holds a slice: see `crate::holes`. The descriptor is open
        // as long as `self`.
        let done = unsafe { libc::fallocate64(self.0.as_raw_fd(), mode, offset, bytes) };
        match done {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn punch(&self, _: u64, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn disk_bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.blocks() * BLOCK_BYTES)
    }

    fn map(&self, bytes: u64) -> io::Result<Option<Map>> {
        let Ok(length) = usize::try_from(bytes) else {
            return Ok(None);
        };
        if length == 0 {
            return Ok(None);
        }
        let map = MmapOptions::new().len(length).map_raw_read_only(&self.0)?;
        Ok(Some(Map(map)))
    }
}

/// The unit in which `stat` counts, whatever the file system's own.
const BLOCK_BYTES: u64 = 512;

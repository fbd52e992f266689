//! The seam between this engine and the file system, so that tests can lose power and inject faults.
//!
//! Everything is written through [`File::write_at`]; mapped memory is for reading only.

#[cfg(test)]
pub(crate) mod faulty;
#[cfg(test)]
pub(crate) mod memory;
mod real;
mod view;

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

pub(crate) use real::{Map, RealFileSystem};
pub(crate) use view::View;

/// What the engine needs of a file system.
pub(crate) trait FileSystem: Send + Sync + Debug {
    /// Makes a directory, unless it is there.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// The names in a directory, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Makes an empty file, in place of what was there.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Opens a file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Removes a file; those who have it open keep it.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// An open file.
pub(crate) trait File: Send + Sync + Debug {
    /// Its length, in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Fills `buffer` from `offset` on, or fails.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`, or fails with any part of them written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts the file off, or extends it with zeros.
    fn set_len(&self, bytes: u64) -> io::Result<()>;

    /// Gives the space of these bytes, which need not be kept, back to the system. They read as zeros
    /// then; after a failure, or a loss of power before the next sync, as anything between that and what
    /// they were.
    ///
    /// # Errors
    /// `Unsupported` where the file system has no holes.
    fn punch(&self, offset: u64, bytes: u64) -> io::Result<()>;

    /// Makes contents and length durable.
    fn sync(&self) -> io::Result<()>;

    /// Bytes that it occupies on the disk.
    fn disk_bytes(&self) -> io::Result<u64>;

    /// Maps the first `bytes` bytes for reading, also where the file has yet to grow that far; `None`
    /// where files cannot be mapped.
    fn map(&self, bytes: u64) -> io::Result<Option<Map>>;
}

//! The file as redb sees it: its own file backend, and a note of the first failure.

use std::fs::File;
use std::io;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

/// The first failed reading or writing of a file. redb does not tell it again when it refuses what
/// comes after, and sometimes not at all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failure(Arc<Mutex<Option<io::Error>>>);

impl Failure {
    /// The failure, if there was one.
    pub(crate) fn found(&self) -> Option<io::Error> {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        found.as_ref().map(again)
    }

    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result {
            let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            found.get_or_insert_with(|| again(error));
        }
        result
    }
}

/// A second error of the same sort.
fn again(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

/// A file whose failures are noted.
#[derive(Debug)]
pub(crate) struct WatchedFile {
    file: FileBackend,
    failure: Failure,
}

impl WatchedFile {
    pub(crate) fn new(file: File, failure: Failure) -> Result<WatchedFile, redb::DatabaseError> {
        Ok(WatchedFile {
            file: FileBackend::new(file)?,
            failure,
        })
    }
}

type Locked<T> = Result<T, BackendError>;

impl StorageBackend for WatchedFile {
    fn len(&self) -> io::Result<u64> {
        self.failure.note(self.file.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.failure.note(self.file.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.failure.note(self.file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.failure.note(self.file.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.failure.note(self.file.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked<bool> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked<bool> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked<()> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked<()> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked<()> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked<bool> {
        self.file.query_lock_range(start, end)
    }
}

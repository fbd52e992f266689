//! A file system that fails on purpose.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{File, FileSystem, Map};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// From the chosen call on nothing happens any more: the process is gone.
    Stop,
    /// The chosen call finds no room; a write has written half.
    Full,
    /// The chosen call fails as a broken device does.
    Broken,
    /// All syncs report success and do nothing, always: the control of the power-loss tests.
    IgnoreSyncs,
}

/// The plan that the files of a file system share.
#[derive(Debug)]
struct Plan {
    fault: Fault,
    at: usize,
    calls: AtomicUsize,
    failed: AtomicBool,
}

/// A file system with a fault.
#[derive(Clone, Debug)]
pub(crate) struct FaultyFileSystem {
    inner: Arc<dyn FileSystem>,
    plan: Arc<Plan>,
}

#[derive(Debug)]
struct FaultyFile {
    inner: Arc<dyn File>,
    plan: Arc<Plan>,
}

impl FaultyFileSystem {
    /// Lets call number `at` meet `fault`.
    pub(crate) fn new(inner: Arc<dyn FileSystem>, fault: Fault, at: usize) -> FaultyFileSystem {
        FaultyFileSystem {
            inner,
            plan: Arc::new(Plan {
                fault,
                at,
                calls: AtomicUsize::new(0),
                failed: AtomicBool::new(false),
            }),
        }
    }

    /// Whether the fault has happened.
    pub(crate) fn failed(&self) -> bool {
        self.plan.failed.load(Ordering::SeqCst)
    }

    fn file(&self, inner: io::Result<Arc<dyn File>>) -> io::Result<Arc<dyn File>> {
        let plan = Arc::clone(&self.plan);
        Ok(Arc::new(FaultyFile {
            inner: inner?,
            plan,
        }))
    }
}

impl Plan {
    /// Counts a call, and fails it if it is the one. Reads never find a full disk.
    fn call(&self, writes: bool) -> io::Result<()> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let now = match self.fault {
            Fault::Stop => call >= self.at,
            Fault::Full => writes && call >= self.at && !self.failed.load(Ordering::SeqCst),
            Fault::Broken => call == self.at,
            Fault::IgnoreSyncs => false,
        };
        if !now {
            return Ok(());
        }
        self.failed.store(true, Ordering::SeqCst);
        Err(match self.fault {
            Fault::Full => io::ErrorKind::StorageFull.into(),
            _ => io::Error::other("injected"),
        })
    }

    fn syncs(&self) -> bool {
        self.fault != Fault::IgnoreSyncs
    }
}

impl FileSystem for FaultyFileSystem {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.plan.call(true)?;
        self.inner.create_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.plan.call(false)?;
        self.inner.list(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.plan.call(true)?;
        self.file(self.inner.create(path))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.plan.call(false)?;
        self.file(self.inner.open(path))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.plan.call(false)?;
        self.inner.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.plan.call(true)?;
        if self.plan.syncs() {
            self.inner.sync_dir(dir)?;
        }
        Ok(())
    }
}

impl File for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.plan.call(false)?;
        self.inner.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Err(error) = self.plan.call(true) {
            if self.plan.fault != Fault::Stop {
                self.inner.write_at(&bytes[..bytes.len() / 2], offset)?;
            }
            return Err(error);
        }
        self.inner.write_at(bytes, offset)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.plan.call(true)?;
        self.inner.set_len(bytes)
    }

    fn punch(&self, offset: u64, bytes: u64) -> io::Result<()> {
        if let Err(error) = self.plan.call(true) {
            if self.plan.fault != Fault::Stop {
                self.inner.punch(offset, bytes / 2)?;
            }
            return Err(error);
        }
        self.inner.punch(offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.plan.call(true)?;
        if self.plan.syncs() {
            self.inner.sync()?;
        }
        Ok(())
    }

    fn disk_bytes(&self) -> io::Result<u64> {
        self.inner.disk_bytes()
    }

    fn map(&self, bytes: u64) -> io::Result<Option<Map>> {
        self.inner.map(bytes)
    }
}

//! sled's tree, shared by engine and snapshots; it is not touched again after it panicked.

use std::fs::{File, TryLockError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use durum_core::engine::{Key, Options, Table};
use durum_core::{Error, ErrorKind, IoResultExt as _, Result};

use crate::NAME;
use crate::config;
use crate::error::guarded;
use crate::recover::{Stop, remove_unfinished_tables};
use crate::waker::FailureWaker;

/// sled's own name of its main file.
pub(crate) const FILE: &str = "db";

const OPEN: &str = "open the database";

/// sled's threads may hold the lock for a while after the database was dropped. That no other
/// process has the store open the store itself sees to.
const UNLOCK_MAX: Duration = Duration::from_secs(5);
const UNLOCK_POLL: Duration = Duration::from_millis(2);

/// An open database.
pub(crate) struct Tree {
    /// `None` only while it is being dropped.
    db: Option<sled::Db>,
    /// `None` only while it is being dropped: it holds the database, too.
    waker: Option<FailureWaker>,
    pub(crate) dir: PathBuf,
    /// Set by a panic or damage, after which sled's state cannot be relied upon.
    broken: AtomicBool,
    /// Set by any other error, after which sled may wait for ever.
    failed: AtomicBool,
}

impl Tree {
    /// Opens the database in `dir`, or creates it where `dir` is empty. What is there has to be durable.
    pub(crate) fn open(dir: &Path, options: &Options) -> Result<Tree> {
        let is_new = refuse_missing_file(dir)?;
        remove_unfinished_tables(dir)?;
        if !is_new {
            let stop = Stop::set(dir)?;
            let stopped = when_unlocked(|| {
                guarded(dir, OPEN, || match config::config(dir, options).open() {
                    Err(error) if Stop::has_worked(&error) => Ok(()),
                    // There is nothing in the database, and nothing is to be recovered.
                    opened => opened.map(drop),
                })
            });
            stopped?;
            stop.lift()?;
        }
        let db = when_unlocked(|| guarded(dir, OPEN, || config::config(dir, options).open()))?;
        Ok(Tree {
            waker: Some(FailureWaker::start(&db)),
            db: Some(db),
            dir: dir.to_owned(),
            broken: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        })
    }

    /// Whether an operation has failed, a reading one too, so that sled may wait for ever when it flushes.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire) || self.broken.load(Ordering::Acquire)
    }

    /// Runs `work` on the tree, which writes to it.
    pub(crate) fn write<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&sled::Tree) -> sled::Result<T>,
    ) -> Result<T> {
        match &self.waker {
            Some(waker) => waker.watch(|| self.run(operation, work)),
            None => self.run(operation, work),
        }
    }

    /// Runs `work` on the tree.
    pub(crate) fn run<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&sled::Tree) -> sled::Result<T>,
    ) -> Result<T> {
        let Some(db) = self
            .db
            .as_ref()
            .filter(|_| !self.broken.load(Ordering::Acquire))
        else {
            return Err(Error::new(ErrorKind::Poisoned, operation)
                .with_engine(NAME)
                .with_path(&self.dir)
                .because("damage was found earlier")
                .hint("Open the store again."));
        };
        let result = guarded(&self.dir, operation, || work(db));
        match &result {
            Err(error) if error.kind() == ErrorKind::Damaged => {
                self.broken.store(true, Ordering::Release);
            }
            Err(_) => self.failed.store(true, Ordering::Release),
            Ok(_) => return result,
        }
        if let Some(waker) = &self.waker {
            waker.stop();
        }
        result
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let has_failed = self.has_failed();
        match self.waker.take() {
            Some(waker) if has_failed => waker.abandon(),
            waker => drop(waker),
        }
        let db = self.db.take();
        // sled flushes when it is dropped, and may panic there as well.
        let close = move || {
            let _panic = catch_unwind(AssertUnwindSafe(|| drop(db)));
        };
        if !has_failed {
            return close();
        }
        // It waits for ever for what a failed write has left in its buffers. Left to itself on a thread, it
        // holds its lock until the process ends.
        let (closing, closed) = channel();
        let thread = std::thread::Builder::new().name("close sled".to_owned());
        let spawned = thread.spawn(move || {
            close();
            let _nobody_waits = closing.send(());
        });
        if spawned.is_ok() && closed.recv_timeout(UNLOCK_MAX).is_err() {
            tracing::warn!(path = %self.dir.display(), "sled does not close after a failed write");
        }
    }
}

/// Waits until sled's threads have let go of a database that was closed: until then they may write to it. Says
/// whether there was anything to wait for.
pub(crate) fn await_unlocked(dir: &Path, operation: &'static str) -> Result<bool> {
    let path = dir.join(FILE);
    let file = match File::open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        file => file.during(operation, &path)?,
    };
    let start = Instant::now();
    let mut waited = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(waited),
            Err(TryLockError::WouldBlock) if start.elapsed() < UNLOCK_MAX => {
                waited = true;
                std::thread::sleep(UNLOCK_POLL);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(Error::new(ErrorKind::InUse, operation)
                    .with_engine(NAME)
                    .with_path(path)
                    .because("sled does not let go of it"));
            }
            Err(TryLockError::Error(error)) => return Err(error).during(operation, &path),
        }
    }
}

/// Tries again for as long as sled's threads hold the lock.
fn when_unlocked<T>(open: impl Fn() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        match open() {
            Err(error) if error.kind() == ErrorKind::InUse && start.elapsed() < UNLOCK_MAX => {
                std::thread::sleep(UNLOCK_POLL);
            }
            result => return result,
        }
    }
}

/// sled would make an empty database in place of a file that has gone or has lost its bytes. True where
/// there is none yet.
fn refuse_missing_file(dir: &Path) -> Result<bool> {
    let path = dir.join(FILE);
    let reason = match std::fs::metadata(&path) {
        Ok(file) if file.len() == 0 => "the file is empty",
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut entries = std::fs::read_dir(dir).during(OPEN, dir)?;
            if entries.next().is_none() {
                return Ok(true);
            }
            "the file is missing"
        }
        Err(error) => return Err(Error::io(error, OPEN).with_path(path)),
    };
    Err(Error::damaged(OPEN, reason)
        .with_engine(NAME)
        .with_path(path))
}

/// A key in the tree: the table's number, then the key's bytes.
pub(crate) fn tree_key(table: Table, key: Key) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(17);
    bytes.push(table.index() as u8);
    bytes.extend_from_slice(key.to_bytes(table).as_ref());
    bytes
}

/// The key that [`tree_key`] wrote, where it is one of `table`.
pub(crate) fn key_in(table: Table, bytes: &[u8]) -> Option<Key> {
    let (number, key) = bytes.split_first()?;
    (usize::from(*number) == table.index())
        .then(|| Key::from_bytes(table, key))
        .flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn what_still_closes_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        assert!(
            !await_unlocked(dir.path(), OPEN).unwrap(),
            "nothing is there"
        );
        let holder = File::create(dir.path().join(FILE)).unwrap();
        assert!(!await_unlocked(dir.path(), OPEN).unwrap());
        assert!(
            !await_unlocked(dir.path(), OPEN).unwrap(),
            "the lock was kept"
        );
        holder.lock().unwrap();
        let error = await_unlocked(dir.path(), OPEN).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InUse);
        let waiting = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| await_unlocked(dir.path(), OPEN));
            holder.unlock().unwrap();
            waiting.join().unwrap()
        });
        waiting.unwrap();
    }
}

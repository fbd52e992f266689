//! Compaction: what an engine that has one implements, and what implementations have in common.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use super::{EngineSnapshot, Key, Table};
use crate::error::{Error, ErrorKind, Result};

/// A rewrite of an engine's files without their unused space, in two phases: a long one under which
/// readers go on, and a short one.
///
/// The store calls [`Compact::rewrite`], then closes all engine snapshots and calls [`Compact::swap`];
/// where either fails, [`Compact::discard`]. Nothing is applied in between, and the calls come from
/// one thread at a time, as those of [`Engine::apply`](super::Engine::apply) do.
pub trait Compact {
    /// Builds a copy beside the files, durable and compared with them row by row, in place of any
    /// earlier copy. Snapshots may be open, be taken and be read meanwhile.
    ///
    /// `progress` is told bytes that are done and bytes in all, the second an estimate. The first never
    /// sinks and ends at the second.
    ///
    /// # Errors
    /// The engine is as it was and can be used on, whatever the kind. `Mismatch`: the copy does not
    /// hold what the engine holds.
    fn rewrite(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<()>;

    /// Puts the copy in the place of the files, durably, as a whole or not at all; called while no
    /// snapshot is open. Returns the bytes given back to the system.
    ///
    /// # Errors
    /// - [`ErrorKind::Usage`]: there is no copy, or something was applied after it was made.
    ///   [`ErrorKind::InUse`], [`ErrorKind::Full`]: it could not be done. In all three nothing was
    ///   changed, and the engine can be used on.
    /// - Any other: as for [`Engine::apply`](super::Engine::apply).
    fn swap(&self) -> Result<u64>;

    /// Removes a copy that is not to be used. One that stays behind, as after a kill, is removed by
    /// the next opening.
    fn discard(&self) -> Result<()>;
}

/// Compares all rows of all tables. `report` is told, again and again, the bytes compared so far.
///
/// # Errors
/// `Mismatch` where they differ; those of reading.
pub fn compare_rows(
    original: &dyn EngineSnapshot,
    copy: &dyn EngineSnapshot,
    report: &mut dyn FnMut(u64),
) -> Result<()> {
    let mut bytes = 0;
    let mut reported = 0;
    for table in Table::ALL {
        let mut left = original.cursor(table, Key::MIN)?;
        let mut right = copy.cursor(table, Key::MIN)?;
        loop {
            let (one, other) = (left.next()?, right.next()?);
            if one != other {
                let key = one.or(other).map(|(key, _)| key);
                return Err(not_equal(table, key));
            }
            let Some((_, value)) = one else { break };
            bytes += value.len() as u64 + KEY_BYTES;
            if bytes - reported >= REPORT_BYTES {
                reported = bytes;
                report(bytes);
            }
        }
    }
    Ok(())
}

fn not_equal(table: Table, key: Option<Key>) -> Error {
    let place = key.map_or(String::new(), |key| format!(" at {key:?}"));
    Error::new(ErrorKind::Mismatch, "compact the database").because(format!(
        "the copy differs from the original in the table `{}`{place}",
        table.name()
    ))
}

/// Runs `work`, which writes a file and cannot say how far it is, on a thread of its own, and tells
/// `report` how long the file is meanwhile.
///
/// # Errors
/// Those of `work`; `Other` where it panicked.
pub fn watch_file(
    path: &Path,
    report: &mut dyn FnMut(u64),
    work: impl FnOnce() -> Result<()> + Send,
) -> Result<()> {
    std::thread::scope(|scope| {
        let (done, ended) = channel::<()>();
        let worker = scope.spawn(move || {
            // Dropped at the end, also by a panic.
            let _done = done;
            work()
        });
        while ended.recv_timeout(WATCH_INTERVAL) == Err(RecvTimeoutError::Timeout) {
            // It may not be there yet.
            report(std::fs::metadata(path).map_or(0, |file| file.len()));
        }
        worker.join().unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Other, "compact the database")
                .because("the thread that copied it panicked"))
        })
    })
}

/// About what a row takes besides its value.
const KEY_BYTES: u64 = 16;

/// How often a comparison reports.
const REPORT_BYTES: u64 = 1 << 20;

const WATCH_INTERVAL: Duration = Duration::from_millis(100);

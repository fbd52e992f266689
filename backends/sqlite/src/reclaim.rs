//! Sizes, the length of the log, and space that goes back to the system.

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use durum_core::engine::{Durability, EngineStats, Reclaimed};
use durum_core::{Error, ErrorKind, Result, ResultExt as _};
use rusqlite::Connection;

use crate::engine::{SqliteEngine, Writer};
use crate::error::{convert, is_read_failure};
use crate::open::{BUSY_WAIT, Place, page_bytes, pragma_value};

/// Bytes of one of the blocks that the system counts, whatever the file system's block size.
const BLOCK_BYTES: u64 = 512;

/// A log this many times its limit is one that snapshots keep from being begun anew.
const LOG_LONG: u64 = 4;

/// How long a commit then waits for these snapshots to end.
const LOG_WAIT: Duration = Duration::from_millis(100);

/// Pages that are moved in one transaction.
const SLICE_PAGES: u64 = 64;

const RECLAIM: &str = "give space back";

/// Blocks of all files, and the database's free pages.
pub(crate) fn stats(engine: &SqliteEngine) -> Result<EngineStats> {
    let connection = engine.readers.take()?;
    let free = free_bytes(&connection);
    engine.readers.give_back(connection);
    let disk_bytes = disk_bytes(&engine.place)?;
    Ok(EngineStats {
        disk_bytes,
        reclaimable_bytes: free?.min(disk_bytes),
    })
}

/// Moves the last pages into free ones, slice by slice, then cuts the database and the log. Each slice
/// is a transaction of its own, and nothing waits for readers: what these still need of the log keeps
/// its place in the files until a later call.
pub(crate) fn reclaim(engine: &SqliteEngine, bytes_max: u64) -> Result<Reclaimed> {
    let mut writer = engine.write();
    writer.set_level(Durability::Process)?;
    let before = disk_bytes(&engine.place)?;
    writer.unsynced = true;
    let connection = writer.connection(RECLAIM)?;
    let mut pages = (bytes_max / page_bytes(connection)?).max(1);
    while pages > 0 && free_pages(connection)? > 0 {
        let slice = pages.min(SLICE_PAGES);
        vacuum_pages(connection, slice).at_path(engine.place.file())?;
        pages -= slice;
    }
    without_waiting(connection, Duration::ZERO, || {
        checkpoint(connection, "TRUNCATE")
    })
    .at_path(engine.place.file())?;
    Ok(Reclaimed {
        bytes: before.saturating_sub(disk_bytes(&engine.place)?),
        more: free_pages(connection)? > 0,
    })
}

/// Runs `work` with a writer that waits for readers and other programs no longer than `time`.
fn without_waiting<T>(
    connection: &Connection,
    time: Duration,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let wait = |time| {
        let set = connection.busy_timeout(time);
        set.map_err(|error| convert(error, "set a timeout"))
    };
    wait(time)?;
    let result = work();
    wait(BUSY_WAIT)?;
    result
}

/// Begins a log anew that overlapping snapshots have kept from it for long: SQLite itself never waits
/// for a moment without them.
pub(crate) fn keep_log_short(place: &Place, writer: &mut Writer) -> Result<()> {
    let limit = place.config.log_bytes.saturating_mul(LOG_LONG);
    let length = std::fs::metadata(place.log()).map_or(0, |log| log.len());
    if length <= limit.max(writer.log_bytes_kept) {
        return Ok(());
    }
    let connection = writer.connection("checkpoint the log")?;
    let result = without_waiting(connection, LOG_WAIT, || checkpoint(connection, "RESTART"));
    let done = match result {
        Ok(done) => done,
        // The batch is in the log, whatever becomes of it: this is for a later attempt to report.
        Err(error) if matches!(error.kind(), ErrorKind::Full | ErrorKind::InUse) => false,
        Err(error) => return Err(error),
    };
    // Not again before the log has grown once more by as much: each attempt may wait.
    writer.log_bytes_kept = if done {
        0
    } else {
        length.saturating_add(limit)
    };
    Ok(())
}

/// Copies the log into the database; says whether nobody kept it from doing all of it.
fn checkpoint(connection: &Connection, mode: &str) -> Result<bool> {
    connection
        .query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
            row.get(0).map(|busy: i64| busy == 0)
        })
        .map_err(|error| convert(error, "checkpoint the log"))
}

/// Moves pages, in a transaction that is undone where it fails.
fn vacuum_pages(connection: &Connection, pages: u64) -> Result<()> {
    move_pages(connection, pages).map_err(|error| {
        let read_failed = is_read_failure(&error);
        let error = convert(error, RECLAIM);
        if !connection.is_autocommit() {
            // It was not undone.
            return error.with_kind(ErrorKind::Io);
        }
        match read_failed {
            true => error.with_kind(ErrorKind::Unreadable),
            false => error,
        }
    })
}

fn move_pages(connection: &Connection, pages: u64) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
    // Every step moves a page.
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

fn free_bytes(connection: &Connection) -> Result<u64> {
    Ok(free_pages(connection)?.saturating_mul(page_bytes(connection)?))
}

/// Pages of the database that hold nothing.
pub(crate) fn free_pages(connection: &Connection) -> Result<u64> {
    pragma_value(connection, "freelist_count")
}

/// Bytes that all files of the database occupy.
pub(crate) fn disk_bytes(place: &Place) -> Result<u64> {
    let mut blocks = 0;
    for path in place.files() {
        match std::fs::metadata(&path) {
            Ok(file) => blocks += file.blocks(),
            // Log and index come and go.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io(error, "measure the database").with_path(path)),
        }
    }
    Ok(blocks * BLOCK_BYTES)
}

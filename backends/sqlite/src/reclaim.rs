//! Sizes, the length of the log, and space that goes back to the system.

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use durum_core::engine::{Compact, Durability, EngineStats, Reclaimed};
use durum_core::{Error, ErrorKind, Result, ResultExt as _};
use rusqlite::Connection;

use crate::engine::{SqliteEngine, Writer};
use crate::error::convert;
use crate::open::{BUSY_WAIT, Place, page_bytes, pragma_value};

/// Bytes of one of the blocks that the system counts, whatever the file system's block size.
const BLOCK_BYTES: u64 = 512;

/// A log this many times its limit is one that snapshots keep from being begun anew.
const LOG_LONG: u64 = 4;

/// How long a commit then waits for these snapshots to end.
const LOG_WAIT: Duration = Duration::from_millis(100);

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

/// Moves the last pages into free ones, cuts the database, and the log with it.
pub(crate) fn reclaim(engine: &SqliteEngine, bytes_max: u64) -> Result<Reclaimed> {
    let mut writer = engine.write();
    writer.set_level(Durability::Process)?;
    let before = disk_bytes(&engine.place)?;
    let connection = &writer.connection;
    let pages = (bytes_max / page_bytes(connection)?).clamp(1, i64::MAX as u64);
    vacuum_pages(connection, pages).at_path(engine.place.file())?;
    checkpoint(connection, "TRUNCATE").at_path(engine.place.file())?;
    let more = free_bytes(connection)? > 0;
    writer.unsynced = true;
    Ok(Reclaimed {
        bytes: before.saturating_sub(disk_bytes(&engine.place)?),
        more,
    })
}

impl Compact for SqliteEngine {
    fn compact(&self) -> Result<u64> {
        let mut writer = self.write();
        self.readers.refuse_if_open("compact the database")?;
        writer.set_level(Durability::Power)?;
        let before = disk_bytes(&self.place)?;
        writer
            .connection
            .execute_batch("VACUUM")
            .map_err(|error| convert(error, "compact the database"))
            .at_path(self.place.file())?;
        checkpoint(&writer.connection, "TRUNCATE").at_path(self.place.file())?;
        Ok(before.saturating_sub(disk_bytes(&self.place)?))
    }
}

/// Begins a log anew that overlapping snapshots have kept from it for long: SQLite itself never waits
/// for a moment without them.
pub(crate) fn keep_log_short(place: &Place, writer: &mut Writer) -> Result<()> {
    let limit = place.config.log_bytes.saturating_mul(LOG_LONG);
    let length = std::fs::metadata(place.log()).map_or(0, |log| log.len());
    if length <= limit.max(writer.log_bytes_kept) {
        return Ok(());
    }
    let wait = |time| {
        let set = writer.connection.busy_timeout(time);
        set.map_err(|error| convert(error, "set a timeout"))
    };
    wait(LOG_WAIT)?;
    let result = checkpoint(&writer.connection, "RESTART");
    wait(BUSY_WAIT)?;
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

fn vacuum_pages(connection: &Connection, pages: u64) -> Result<()> {
    let failed = |error| convert(error, RECLAIM);
    let mut statement = connection
        .prepare(&format!("PRAGMA incremental_vacuum({pages})"))
        .map_err(failed)?;
    // Every step moves a page.
    let mut rows = statement.query([]).map_err(failed)?;
    while rows.next().map_err(failed)?.is_some() {}
    Ok(())
}

fn free_bytes(connection: &Connection) -> Result<u64> {
    let pages = pragma_value(connection, "freelist_count")?;
    Ok(pages.saturating_mul(page_bytes(connection)?))
}

fn disk_bytes(place: &Place) -> Result<u64> {
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

//! Sizes, and space that is given back: rows in the log are written as a table, and tables are merged.
//!
//! Each step is bounded: it merges the new tables with the first level below, or one table with those that it
//! overlaps in the next level, down to the last. RocksDB does it on its threads while commits go on.

use std::fs;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use durum_core::engine::{EngineStats, Reclaimed, disk_bytes_below};
use durum_core::{Error, ErrorKind, Result};
use rocksdb::{
    BottommostLevelCompaction, CompactOptions, LiveFile, WaitForCompactOptions, properties,
};

use crate::NAME;
use crate::database::Db;
use crate::note::logs;

const MEASURE: &str = "measure the database";
const RECLAIM: &str = "give space back";

/// So many bytes of log are worth a table.
const LOG_BYTES_MIN: u64 = 512 << 10;
/// Tables are merged while more than one byte of so many is dead.
const DEAD_PART_MAX: u64 = 8;
/// What is not worth it.
const DEAD_BYTES_MIN: u64 = 256 << 10;

/// How long a call waits for a step.
const WAIT_MAX: Duration = Duration::from_millis(20);
/// How long a step waits until RocksDB has removed what it has merged.
const REMOVAL_WAIT_MICROS: u64 = 1_000_000;

/// The sizes of the files, and what of them is dead by RocksDB's account.
pub(crate) fn stats(db: &Db) -> Result<EngineStats> {
    let disk_bytes = disk_bytes_below(&db.dir)?;
    // Tables that overlap may hold different rows: what is dead is not told by that.
    let dead = log_garbage(db)? + Tables::read(db)?.deleted_in_all();
    Ok(EngineStats {
        disk_bytes,
        reclaimable_bytes: dead.min(disk_bytes),
    })
}

/// Gives space back, step by step.
#[derive(Debug, Default)]
pub(crate) struct Reclaimer {
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    step: Step,
    ended: Receiver<Result<(), rocksdb::Error>>,
    disk_bytes_before: u64,
}

impl Reclaimer {
    /// Begins a step if there is something to do; else waits a little for the end of the one that was begun.
    pub(crate) fn step(&mut self, db: &Arc<Db>) -> Result<Reclaimed> {
        let Some(running) = self.running.take() else {
            self.running = next_step(db)?.map(|step| begin(db, step)).transpose()?;
            return Ok(Reclaimed {
                bytes: 0,
                more: self.running.is_some(),
            });
        };
        let result = match running.ended.recv_timeout(WAIT_MAX) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => {
                self.running = Some(running);
                return Ok(Reclaimed {
                    bytes: 0,
                    more: true,
                });
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::new(ErrorKind::Other, RECLAIM)
                    .with_engine(NAME)
                    .because("the thread that did it panicked"));
            }
        };
        db.write(RECLAIM, |_| result)?;
        let bytes = running
            .disk_bytes_before
            .saturating_sub(disk_bytes_below(&db.dir)?);
        Ok(Reclaimed {
            bytes,
            // A step that changed nothing, as where a snapshot was taken meanwhile, is not taken again.
            more: bytes > 0 || next_step(db)?.is_some_and(|next| next != running.step),
        })
    }

    /// Waits for the end of a step.
    pub(crate) fn finish(&mut self) {
        if let Some(running) = self.running.take() {
            let _result = running.ended.recv();
        }
    }
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// Write what is in the log as a table.
    Flush,
    /// Merge the tables with this key down to the last level.
    Merge(Vec<u8>),
    /// Rewrite the table of the last level with this key.
    Rewrite(Vec<u8>),
}

fn next_step(db: &Db) -> Result<Option<Step>> {
    if log_bytes(db)? >= LOG_BYTES_MIN {
        return Ok(Some(Step::Flush));
    }
    Ok(Tables::read(db)?.next_step())
}

fn begin(db: &Arc<Db>, step: Step) -> Result<Running> {
    let disk_bytes_before = disk_bytes_below(&db.dir)?;
    let (sender, ended) = channel();
    let work = {
        let (db, step) = (Arc::clone(db), step.clone());
        move || {
            let result = carry_out(&db, &step);
            // Who waits may be about to close it.
            drop(db);
            // Nobody needs to wait any more.
            let _sent = sender.send(result);
        }
    };
    let started = std::thread::Builder::new()
        .name("durum-rocksdb".to_owned())
        .spawn(work);
    match started {
        Ok(_) => Ok(Running {
            step,
            ended,
            disk_bytes_before,
        }),
        Err(error) => Err(Error::io(error, RECLAIM)
            .with_engine(NAME)
            .with_kind(ErrorKind::InUse)),
    }
}

fn carry_out(db: &Db, step: &Step) -> Result<(), rocksdb::Error> {
    match step {
        Step::Flush => db.rocks().flush()?,
        Step::Merge(key) => merge(db, key, BottommostLevelCompaction::Skip),
        Step::Rewrite(key) => merge(db, key, BottommostLevelCompaction::Force),
    }
    let mut options = WaitForCompactOptions::default();
    options.set_timeout(REMOVAL_WAIT_MICROS);
    // This also tells whether merging has failed.
    match db.rocks().wait_for_compact(&options) {
        Err(error) if error.kind() == rocksdb::ErrorKind::TimedOut => Ok(()),
        waited => waited,
    }
}

fn merge(db: &Db, key: &[u8], last: BottommostLevelCompaction) {
    let mut options = CompactOptions::default();
    options.set_exclusive_manual_compaction(false);
    options.set_bottommost_level_compaction(last);
    db.rocks().compact_range_opt(Some(key), Some(key), &options);
}

/// What is known of the tables.
#[derive(Debug, Default)]
struct Tables {
    files: Vec<LiveFile>,
    /// Bytes of tables that no table of a higher level overlaps.
    live: u64,
    /// Rows that the memtables delete.
    deletes_to_come: u64,
    /// Whether somebody may need what is dead.
    is_read: bool,
}

impl Tables {
    fn read(db: &Db) -> Result<Tables> {
        Ok(Tables {
            files: db.read(MEASURE, db.rocks().live_files())?,
            live: number(db, properties::ESTIMATE_LIVE_DATA_SIZE)?,
            deletes_to_come: log_deletes(db)?,
            is_read: number(db, properties::NUM_SNAPSHOTS)? > 0,
        })
    }

    fn sum(&self, of: impl Fn(&LiveFile) -> u64) -> u64 {
        self.files.iter().map(of).sum()
    }

    fn bytes(&self) -> u64 {
        self.sum(|file| file.size as u64)
    }

    /// About what so many deletes make dead: each a row in a lower level, and they take next to nothing
    /// themselves.
    fn deleted(&self, deletes: u64) -> u64 {
        let rows = self.sum(|file| file.num_entries.saturating_sub(file.num_deletions));
        deletes.min(rows) * (self.bytes() / rows.max(1))
    }

    fn deleted_in_all(&self) -> u64 {
        self.deleted(self.sum(|file| file.num_deletions) + self.deletes_to_come)
    }

    /// Bytes that are dead, at most: of tables that overlap all rows could be the same.
    fn dead(&self) -> u64 {
        let bytes = self.bytes();
        (bytes.saturating_sub(self.live) + self.deleted_in_all()).min(bytes)
    }

    fn is_much(&self, dead: u64) -> bool {
        dead > DEAD_BYTES_MIN && dead > self.bytes() / DEAD_PART_MAX
    }

    fn next_step(&self) -> Option<Step> {
        if !self.is_much(self.dead()) {
            return None;
        }
        if self.is_much(self.deleted(self.deletes_to_come)) {
            return Some(Step::Flush);
        }
        let last = self.files.iter().map(|file| file.level).max().unwrap_or(0);
        let is_new = |file: &&LiveFile| file.level < last || file.level == 0;
        let next = self
            .files
            .iter()
            .filter(is_new)
            .max_by_key(|file| (file.level == 0, file.num_deletions, file.size));
        if let Some(file) = next {
            return file.start_key.clone().map(Step::Merge);
        }
        // Deletes are in the last level only where a snapshot needed what they delete when it was merged.
        let next = self.files.iter().max_by_key(|file| file.num_deletions);
        next.filter(|file| file.num_deletions > 0 && !self.is_read)
            .and_then(|file| file.start_key.clone().map(Step::Rewrite))
    }
}

fn log_bytes(db: &Db) -> Result<u64> {
    let sizes = logs(&db.dir)?.into_iter().map(|path| {
        // RocksDB removes them.
        fs::metadata(path).map_or(0, |file| file.len())
    });
    Ok(sizes.sum())
}

fn log_deletes(db: &Db) -> Result<u64> {
    Ok(number(db, properties::NUM_DELETES_ACTIVE_MEM_TABLE)?
        + number(db, properties::NUM_DELETES_IMM_MEM_TABLES)?)
}

/// Bytes of the log whose rows were deleted later in it, at most.
fn log_garbage(db: &Db) -> Result<u64> {
    let rows = number(db, properties::NUM_ENTRIES_ACTIVE_MEM_TABLE)?
        + number(db, properties::NUM_ENTRIES_IMM_MEM_TABLES)?;
    let dead = u128::from(log_bytes(db)?) * u128::from(rows.min(log_deletes(db)? * 2));
    Ok((dead / u128::from(rows.max(1))) as u64)
}

fn number(db: &Db, property: &properties::PropName) -> Result<u64> {
    let value = db.rocks().property_int_value(property);
    Ok(db.read(MEASURE, value)?.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(level: i32, size: usize, num_entries: u64, num_deletions: u64, key: u8) -> LiveFile {
        LiveFile {
            column_family_name: "default".to_owned(),
            name: String::new(),
            size,
            level,
            start_key: Some(vec![key]),
            end_key: Some(vec![key]),
            num_entries,
            num_deletions,
        }
    }

    fn next(files: &[LiveFile], live: u64) -> Option<Step> {
        let files = files.to_vec();
        Tables {
            files,
            live,
            ..Tables::default()
        }
        .next_step()
    }

    #[test]
    fn new_tables_are_merged_first_and_the_last_level_at_the_end() {
        let mib = 1 << 20;
        let merged = [file(6, 10 * mib, 100, 0, 1), file(6, mib, 10, 5, 2)];
        assert_eq!(next(&merged, 11 << 20), None);
        let mut files = merged.to_vec();
        files.push(file(6, 2 * mib, 50, 30, 3));
        assert_eq!(next(&files, 13 << 20), Some(Step::Rewrite(vec![3])));
        let read = Tables {
            files: files.clone(),
            live: 13 << 20,
            deletes_to_come: 0,
            is_read: true,
        };
        assert_eq!(read.next_step(), None);
        files.push(file(5, 3 * mib, 30, 0, 4));
        files.push(file(5, 2 * mib, 30, 20, 5));
        assert_eq!(next(&files, 13 << 20), Some(Step::Merge(vec![5])));
        files.push(file(0, mib, 30, 0, 6));
        assert_eq!(next(&files, 13 << 20), Some(Step::Merge(vec![6])));
        assert_eq!(next(&[], 0), None);
    }

    #[test]
    fn little_is_left_as_it_is() {
        let large = file(6, 100 << 20, 1000, 0, 1);
        let files = [large.clone(), file(0, 1 << 20, 10, 0, 2)];
        assert_eq!(next(&files, 100 << 20), None);
        let deleted = [large.clone(), file(0, 1 << 10, 500, 500, 2)];
        assert_eq!(next(&deleted, 100 << 20), Some(Step::Merge(vec![2])));
        let soon = |deletes_to_come| Tables {
            files: vec![large.clone()],
            live: 100 << 20,
            deletes_to_come,
            is_read: false,
        };
        assert_eq!(soon(50).next_step(), None);
        assert_eq!(soon(500).next_step(), Some(Step::Flush));
    }
}

//! Rows that were read a page at a time, in each table the last one.
//!
//! Who reads rows singly with ascending keys, as a collection does with objects that were made one after the other, would
//! wait for the server each time; so would who looks for the first row of a queue again and again.

use std::collections::HashMap;
use std::sync::Arc;

use durum_core::Result;
use durum_core::engine::{Key, Table};
use tokio_postgres::Row;

use crate::cursor::{Start, key, read_rows};
use crate::source::Source;

/// Keys that are no further apart than this are one after the other.
const DISTANCE_MAX: u64 = 64;

/// So many single reads begin a run.
const SINGLE_MAX: u32 = 2;

/// Rows that a run reads first; then twice as many each time.
const ROWS_FIRST: i64 = 16;
const ROWS_MAX: i64 = 512;

/// Larger values are left to single reads.
const VALUE_BYTES_MAX: i32 = 16 << 10;

/// The runs of a view, one in each table.
#[derive(Default)]
pub(crate) struct Runs(HashMap<Table, Run>);

/// What was read last of a table.
struct Run {
    last: Key,
    /// Reads that came one after the other so far.
    reads: u32,
    page_rows: i64,
    /// All rows from the first key on, up to below the second, if there is one, are among `rows`.
    known: Option<(Key, Option<Key>)>,
    rows: Vec<(Key, Arc<Row>)>,
}

/// What is known of a row.
pub(crate) enum Known {
    There(Arc<Row>),
    Absent,
    Unknown,
}

/// What is known of the rows from a key on.
pub(crate) enum First {
    /// The first of them.
    Row(Key, Arc<Row>),
    /// That it is too large to be among them.
    Large,
    /// That there is none up to below this key, or none at all.
    Behind(Option<Key>),
    Unknown,
}

impl Runs {
    /// What is known of a row that is wanted; reads it with those behind it where it is one of a run.
    ///
    /// # Errors
    /// Those of reading.
    pub(crate) fn get(&mut self, source: &Source, table: Table, key: Key) -> Result<Known> {
        let run = self.run(table, key);
        if !run.covers(key) {
            run.count(key);
            if run.reads <= SINGLE_MAX {
                return Ok(Known::Unknown);
            }
            run.read(source, table, key)?;
        }
        run.last = key;
        let found = run.rows.binary_search_by_key(&key, |(key, _)| *key);
        let row = found.ok().and_then(|index| run.rows.get(index));
        Ok(match row {
            None => Known::Absent,
            Some((_, row)) if is_large(row) => Known::Unknown,
            Some((_, row)) => Known::There(Arc::clone(row)),
        })
    }

    /// What is known of the rows from `from` on.
    pub(crate) fn first(&mut self, table: Table, from: Key) -> First {
        let run = self.run(table, from);
        let Some((_, to)) = run.known.filter(|_| run.covers(from)) else {
            return First::Unknown;
        };
        let index = run.rows.partition_point(|(key, _)| *key < from);
        match run.rows.get(index) {
            None => First::Behind(to),
            Some((_, row)) if is_large(row) => First::Large,
            Some((key, row)) => {
                run.last = *key;
                First::Row(*key, Arc::clone(row))
            }
        }
    }

    /// Reads the first rows from `from` on: more of them where that is behind what was looked at before.
    ///
    /// # Errors
    /// Those of reading.
    pub(crate) fn read(&mut self, source: &Source, table: Table, from: Key) -> Result<()> {
        let run = self.run(table, from);
        run.count(from);
        run.read(source, table, from)
    }

    /// Forgets what was read.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    fn run(&mut self, table: Table, key: Key) -> &mut Run {
        self.0.entry(table).or_insert_with(|| Run {
            last: key,
            reads: 0,
            page_rows: ROWS_FIRST,
            known: None,
            rows: Vec::new(),
        })
    }
}

fn is_large(row: &Row) -> bool {
    row.get::<_, Option<&[u8]>>(2).is_none()
}

impl Run {
    fn covers(&self, key: Key) -> bool {
        self.known
            .is_some_and(|(from, to)| key >= from && to.is_none_or(|to| key < to))
    }

    fn count(&mut self, key: Key) {
        let is_next = match key.first == self.last.first {
            true => key.second.wrapping_sub(self.last.second) <= DISTANCE_MAX,
            false => key.first.wrapping_sub(self.last.first) <= DISTANCE_MAX,
        };
        (self.reads, self.page_rows) = match is_next {
            true => (self.reads + 1, self.page_rows),
            false => (0, ROWS_FIRST),
        };
        self.last = key;
    }

    fn read(&mut self, source: &Source, table: Table, from: Key) -> Result<()> {
        let page_rows = self.page_rows;
        let rows = read_rows(source, table, Start { from, page_rows }, VALUE_BYTES_MAX)?;
        let is_end = (rows.len() as i64) < page_rows;
        let rows: Result<Vec<_>> = rows
            .into_iter()
            .map(|row| Ok((key(table, &row)?, Arc::new(row))))
            .collect();
        self.rows = rows?;
        let last = self.rows.last().filter(|_| !is_end);
        self.known = Some((from, last.and_then(|(last, _)| last.successor(table))));
        self.page_rows = (page_rows * 2).min(ROWS_MAX);
        Ok(())
    }
}

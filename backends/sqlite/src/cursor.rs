//! A cursor that reads rows in chunks: a running statement cannot be kept beside its connection
//! without a struct that refers to itself.

use durum_core::Result;
use durum_core::engine::sql::{key_integers_from, key_of_integers};
use durum_core::engine::{Cursor, Key, Table};
use rusqlite::{Row, params};

use crate::NAME;
use crate::error::convert;
use crate::schema;
use crate::snapshot::{SqliteSnapshot, not_bytes};

const NEXT: &str = "move a cursor";

/// Rows of the first chunk; later ones double, so that short scans read little.
const CHUNK_ROWS_FIRST: usize = 16;
const CHUNK_ROWS_MAX: usize = 1024;

/// A chunk ends with the row that passes this.
const CHUNK_BYTES: usize = 1 << 20;

/// Walks over the rows of a table.
pub(crate) struct SqliteCursor<'a> {
    snapshot: &'a SqliteSnapshot,
    table: Table,
    /// The smallest key that is still to be fetched; `None` at the end.
    from: Option<Key>,
    chunk_rows: usize,
    /// Keys of the fetched rows, and where their values end in `bytes`.
    rows: Vec<(Key, usize)>,
    bytes: Vec<u8>,
    /// How many of `rows` were returned.
    returned: usize,
}

impl<'a> SqliteCursor<'a> {
    pub(crate) fn new(snapshot: &'a SqliteSnapshot, table: Table, from: Key) -> SqliteCursor<'a> {
        SqliteCursor {
            snapshot,
            table,
            from: Some(from),
            chunk_rows: CHUNK_ROWS_FIRST,
            rows: Vec::new(),
            bytes: Vec::new(),
            returned: 0,
        }
    }

    fn fetch(&mut self) -> Result<()> {
        self.rows.clear();
        self.bytes.clear();
        self.returned = 0;
        let from = self.from.take();
        let Some((first, second)) = from.and_then(|from| key_integers_from(self.table, from))
        else {
            return Ok(());
        };
        let failed = |error| convert(error, NEXT);
        let mut statement = self
            .snapshot
            .connection(NEXT)?
            .prepare_cached(&schema::of(self.table)?.scan)
            .map_err(failed)?;
        let limit = self.chunk_rows as i64;
        let pair = self.table.is_pair();
        let rows = if pair {
            statement.query(params![first, second, limit])
        } else {
            statement.query(params![first, limit])
        };
        let mut rows = rows.map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let (key, value) = row_of(row, pair)?;
            self.bytes.extend_from_slice(value);
            self.rows.push((key, self.bytes.len()));
            if self.bytes.len() >= CHUNK_BYTES {
                break;
            }
        }
        let full = self.rows.len() == self.chunk_rows || self.bytes.len() >= CHUNK_BYTES;
        self.from = match self.rows.last() {
            Some((last, _)) if full => last.successor(self.table),
            _ => None,
        };
        self.chunk_rows = (self.chunk_rows * 2).min(CHUNK_ROWS_MAX);
        Ok(())
    }
}

/// Shows the rows from `from` on where SQLite has them, for as long as `visit` says that it goes on; whether
/// it went on to the end.
pub(crate) fn walk(
    snapshot: &SqliteSnapshot,
    table: Table,
    from: Key,
    visit: &mut dyn FnMut(Key, &[u8]) -> bool,
) -> Result<bool> {
    /// What SQL takes for no limit.
    const ALL: i64 = -1;
    let Some((first, second)) = key_integers_from(table, from) else {
        return Ok(true);
    };
    let failed = |error| convert(error, NEXT);
    let mut statement = snapshot
        .connection(NEXT)?
        .prepare_cached(&schema::of(table)?.scan)
        .map_err(failed)?;
    let pair = table.is_pair();
    let rows = if pair {
        statement.query(params![first, second, ALL])
    } else {
        statement.query(params![first, ALL])
    };
    let mut rows = rows.map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let (key, value) = row_of(row, pair)?;
        if !visit(key, value) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The key of a row, and its value.
fn row_of<'a>(row: &'a Row<'_>, pair: bool) -> Result<(Key, &'a [u8])> {
    let failed = |error| convert(error, NEXT);
    let first = row.get(1).map_err(failed)?;
    let second = if pair { row.get(2).map_err(failed)? } else { 0 };
    let value = row.get_ref(0).map_err(failed)?;
    let value = value.as_blob().map_err(|_| not_bytes(NEXT))?;
    Ok((
        key_of_integers(first, second).map_err(|error| error.with_engine(NAME))?,
        value,
    ))
}

impl Cursor for SqliteCursor<'_> {
    fn next(&mut self) -> Result<Option<(Key, &[u8])>> {
        if self.returned == self.rows.len() {
            self.fetch()?;
        }
        let Some(&(key, end)) = self.rows.get(self.returned) else {
            return Ok(None);
        };
        let before = self
            .returned
            .checked_sub(1)
            .and_then(|at| self.rows.get(at));
        let start = before.map_or(0, |(_, end)| *end);
        self.returned += 1;
        Ok(Some((key, self.bytes.get(start..end).unwrap_or_default())))
    }
}

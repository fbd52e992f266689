//! A cursor that reads rows in pages, so that no connection waits while nobody asks for more.
//!
//! Who walks far has the next page read by a thread meanwhile: server and client work at the same time then. Core walks
//! in chunks, each with a cursor of its own, so what is left of one is kept for the next.

use std::cell::RefCell;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use durum_core::engine::sql::{key_integers_from, key_of_integers};
use durum_core::engine::{Cursor, Key, Table};
use durum_core::{Error, ErrorKind, Result};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::NAME;
use crate::run::{First, Runs};
use crate::schema::Verb;
use crate::source::Source;

/// Who has seen so many rows walks far.
const SHORT_ROWS: usize = 48;

/// Rows of a long walk's first page; later ones double.
const PAGE_ROWS_FIRST: i64 = 64;
const PAGE_ROWS_MAX: i64 = 2048;

/// Pages have about so many bytes, as far as that can be known from the page before.
const PAGE_BYTES: i64 = 1 << 20;

/// And no more than this, as long as there are no single rows that are larger.
const PAGE_BYTES_MAX: i64 = 32 << 20;

/// From so many rows on, the next page is read while one is used.
const PAGE_ROWS_AHEAD: i64 = 128;

/// What a walk has read beyond is not used later than that: this process may have been replaced as the writer.
const PARKED_MAX: Duration = Duration::from_millis(100);

const MOVE: &str = "move a cursor";

/// What a view has read beyond what was wanted.
#[derive(Default)]
pub(crate) struct Seen {
    /// The walk that a cursor has left last.
    parked: Option<Parked>,
    pub(crate) runs: Runs,
}

/// Walks over the rows of a table, and leaves what it has read beyond to the next one that goes on there.
pub(crate) struct PostgresCursor<'a> {
    source: &'a Arc<Source>,
    table: Table,
    /// The rows from this key on are still to be shown; `None` when all have been.
    from: Option<Key>,
    /// From the row on at which this turned out to be a long walk.
    walk: Option<Walk>,
    shown: usize,
    current: Option<Arc<Row>>,
    seen: &'a RefCell<Seen>,
}

/// A walk that was left.
struct Parked {
    /// Where it goes on.
    from: Key,
    since: Instant,
    walk: Walk,
}

/// A walk, and what is read of it already.
struct Walk {
    source: Arc<Source>,
    table: Table,
    rows: std::vec::IntoIter<Row>,
    next: Next,
}

/// The page that comes next.
enum Next {
    /// It is still to be read.
    From(Start),
    /// It is being read.
    Reading(JoinHandle<Result<Page>>),
    End,
}

/// Where a page begins, and how many rows it has.
#[derive(Clone, Copy)]
pub(crate) struct Start {
    pub(crate) from: Key,
    pub(crate) page_rows: i64,
}

struct Page {
    rows: Vec<Row>,
    next: Option<Start>,
}

impl Walk {
    fn new(source: Arc<Source>, table: Table, from: Key) -> Walk {
        Walk {
            source,
            table,
            rows: Vec::new().into_iter(),
            next: Next::From(Start {
                from,
                page_rows: PAGE_ROWS_FIRST,
            }),
        }
    }

    fn step(&mut self) -> Result<Option<(Key, Row)>> {
        if self.rows.as_slice().is_empty() {
            self.fetch()?;
        }
        let row = self.rows.next();
        row.map(|row| Ok((key(self.table, &row)?, row))).transpose()
    }

    fn fetch(&mut self) -> Result<()> {
        let page = match std::mem::replace(&mut self.next, Next::End) {
            Next::End => return Ok(()),
            Next::From(start) => read_page(&self.source, self.table, start)?,
            Next::Reading(thread) => thread.join().unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::Other, MOVE).because("the thread that reads has ended"))
            })?,
        };
        self.rows = page.rows.into_iter();
        self.next = match page.next {
            None => Next::End,
            Some(start) if start.page_rows < PAGE_ROWS_AHEAD => Next::From(start),
            Some(start) => {
                let (source, table) = (Arc::clone(&self.source), self.table);
                let thread = std::thread::Builder::new().name("durum-postgres".to_owned());
                let reading = thread.spawn(move || read_page(&source, table, start));
                // Without a thread it is read when it is needed.
                reading.map_or(Next::From(start), Next::Reading)
            }
        };
        Ok(())
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        // Nothing uses the store behind the back of who closes it.
        if let Next::Reading(thread) = std::mem::replace(&mut self.next, Next::End) {
            drop(thread.join());
        }
    }
}

fn read_page(source: &Source, table: Table, start: Start) -> Result<Page> {
    let Start { from, page_rows } = start;
    let mut rows = read_rows(source, table, start, (PAGE_BYTES_MAX / page_rows) as i32)?;
    let (mut last, mut bytes, mut complete) = (None, 0, 0);
    for row in &rows {
        let key = key(table, row)?;
        if last.map_or(key < from, |last| last >= key) {
            return Err(Error::damaged(MOVE, "the rows are not in order").with_engine(NAME));
        }
        let Some(value) = row.get::<_, Option<&[u8]>>(2) else {
            break;
        };
        last = Some(key);
        bytes += value.len() as i64;
        complete += 1;
    }
    let next = |last: Option<Key>, page_rows| {
        let from = last?.successor(table)?;
        Some(Start { from, page_rows })
    };
    if complete == 0 && !rows.is_empty() {
        // The first one is large: it comes alone. Should many be, the pages become small enough for them.
        let alone = Start { from, page_rows: 1 };
        let most = i32::try_from(crate::VALUE_BYTES_MAX).unwrap_or(i32::MAX);
        let rows = read_rows(source, table, alone, most)?;
        let last = rows.first().map(|row| key(table, row)).transpose()?;
        let next = next(last, (page_rows / 2).max(1));
        return Ok(Page { rows, next });
    }
    // Fewer than were asked for are the last.
    let is_end = complete == rows.len() && (complete as i64) < page_rows;
    let suitable = PAGE_BYTES * complete as i64 / bytes.max(1);
    let page_rows = match complete == rows.len() {
        true => (page_rows * 2).min(suitable),
        false => page_rows.min(suitable),
    };
    let page_rows = page_rows.clamp(1, PAGE_ROWS_MAX);
    rows.truncate(complete);
    Ok(Page {
        rows,
        next: next(last.filter(|_| !is_end), page_rows),
    })
}

/// Rows in ascending order, values of more than `value_bytes_max` bytes left out.
///
/// # Errors
/// `InUse` where another is the writer; those of the server.
pub(crate) fn read_rows(
    source: &Source,
    table: Table,
    start: Start,
    value_bytes_max: i32,
) -> Result<Vec<Row>> {
    let Some((first, second)) = key_integers_from(table, start.from) else {
        return Ok(Vec::new());
    };
    let all: [&(dyn ToSql + Sync); 4] = [&first, &start.page_rows, &value_bytes_max, &second];
    let parameters = match table.is_pair() {
        true => &all[..],
        false => &all[..3],
    };
    let mut rows = source.readers.read(MOVE, |connection| {
        let statement = connection.prepare(&source.schema, table, Verb::Page)?;
        connection.run(async |client| client.query(&statement, parameters).await)
    })?;
    source.check_fence(rows.first())?;
    // Where there is nothing, the fence comes alone.
    rows.retain(|row| row.get::<_, Option<i64>>(1).is_some());
    Ok(rows)
}

impl<'a> PostgresCursor<'a> {
    pub(crate) fn new(
        source: &'a Arc<Source>,
        table: Table,
        from: Key,
        seen: &'a RefCell<Seen>,
    ) -> PostgresCursor<'a> {
        let goes_on = |parked: &mut Parked| {
            let is_next = parked.walk.table == table && parked.from == from;
            is_next && parked.since.elapsed() < PARKED_MAX
        };
        let parked = seen.borrow_mut().parked.take_if(goes_on);
        PostgresCursor {
            source,
            table,
            from: Some(from),
            walk: parked.map(|parked| parked.walk),
            shown: 0,
            current: None,
            seen,
        }
    }

    /// The next row, if there is one.
    fn step(&mut self) -> Result<Option<(Key, Arc<Row>)>> {
        while let Some(from) = self.from {
            if let Some(walk) = &mut self.walk {
                let found = walk.step()?;
                return Ok(found.map(|(key, row)| (key, Arc::new(row))));
            }
            let runs = &mut self.seen.borrow_mut().runs;
            match runs.first(self.table, from) {
                First::Row(key, row) => return Ok(Some((key, row))),
                First::Behind(to) => self.from = to,
                First::Unknown if self.shown < SHORT_ROWS => {
                    runs.read(self.source, self.table, from)?;
                }
                First::Large | First::Unknown => {
                    let source = Arc::clone(self.source);
                    self.walk = Some(Walk::new(source, self.table, from));
                }
            }
        }
        Ok(None)
    }
}

impl Cursor for PostgresCursor<'_> {
    fn next(&mut self) -> Result<Option<(Key, &[u8])>> {
        let Some((key, row)) = self.step()? else {
            self.from = None;
            return Ok(None);
        };
        self.shown += 1;
        self.from = key.successor(self.table);
        Ok(Some((key, self.current.insert(row).get(2))))
    }
}

impl Drop for PostgresCursor<'_> {
    fn drop(&mut self) {
        let has_more = |walk: &Walk| !matches!(walk.next, Next::End) || walk.rows.len() > 0;
        if let (Some(from), Some(walk)) = (self.from, self.walk.take().filter(has_more)) {
            let since = Instant::now();
            let left = Parked { from, since, walk };
            let before = self.seen.borrow_mut().parked.replace(left);
            // It may wait for a thread.
            drop(before);
        }
    }
}

/// The key of a row that was read.
pub(crate) fn key(table: Table, row: &Row) -> Result<Key> {
    let second = match table.is_pair() {
        true => row.get(3),
        false => 0,
    };
    key_of_integers(row.get(1), second).map_err(|error| error.with_engine(NAME))
}

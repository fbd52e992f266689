//! A cursor that reads rows in pages, so that no connection waits while nobody asks for more.

use durum_core::Result;
use durum_core::engine::sql::{key_integers_from, key_of_integers};
use durum_core::engine::{Cursor, Key, Table};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::NAME;
use crate::database::Database;
use crate::schema::Verb;

/// Rows of the first page; later ones double, so that short scans read little.
const PAGE_ROWS_FIRST: i64 = 16;
const PAGE_ROWS_MAX: i64 = 8192;

/// A page ends with the row that passes this.
const PAGE_BYTES: i64 = 1 << 20;

/// Walks over the rows of a table.
pub(crate) struct PostgresCursor<'a> {
    database: &'a Database,
    table: Table,
    /// The smallest key that is still to be fetched; `None` at the end.
    from: Option<Key>,
    page_rows: i64,
    rows: std::vec::IntoIter<Row>,
    current: Option<Row>,
}

impl PostgresCursor<'_> {
    pub(crate) fn new(database: &Database, table: Table, from: Key) -> PostgresCursor<'_> {
        PostgresCursor {
            database,
            table,
            from: Some(from),
            page_rows: PAGE_ROWS_FIRST,
            rows: Vec::new().into_iter(),
            current: None,
        }
    }

    fn fetch(&mut self) -> Result<()> {
        let from = self.from.take();
        let Some((first, second)) = from.and_then(|from| key_integers_from(self.table, from))
        else {
            return Ok(());
        };
        let all: [&(dyn ToSql + Sync); 4] = [&first, &self.page_rows, &PAGE_BYTES, &second];
        let parameters = match self.table.is_pair() {
            true => &all[..],
            false => &all[..3],
        };
        let (schema, table) = (&self.database.schema, self.table);
        let rows = self.database.readers.read("move a cursor", |connection| {
            let statement = connection.prepare(schema, table, Verb::Page)?;
            connection.run(async |client| client.query(&statement, parameters).await)
        })?;
        self.database.check_fence(rows.first())?;
        if rows
            .first()
            .and_then(|row| row.get::<_, Option<i64>>(1))
            .is_none()
        {
            return Ok(());
        }
        let bytes: usize = rows.iter().map(|row| row.get::<_, &[u8]>(2).len()).sum();
        // Fewer than were asked for are the last, unless the page was full.
        let is_last = (rows.len() as i64) < self.page_rows && (bytes as i64) < PAGE_BYTES;
        if let Some(last) = rows.last().filter(|_| !is_last) {
            self.from = key(table, last)?.successor(table);
        }
        self.page_rows = (self.page_rows * 2).min(PAGE_ROWS_MAX);
        self.rows = rows.into_iter();
        Ok(())
    }
}

impl Cursor for PostgresCursor<'_> {
    fn next(&mut self) -> Result<Option<(Key, &[u8])>> {
        if self.rows.as_slice().is_empty() {
            self.fetch()?;
        }
        self.current = self.rows.next();
        let Some(row) = &self.current else {
            return Ok(None);
        };
        Ok(Some((key(self.table, row)?, row.get(2))))
    }
}

fn key(table: Table, row: &Row) -> Result<Key> {
    let second = match table.is_pair() {
        true => row.get(3),
        false => 0,
    };
    key_of_integers(row.get(1), second).map_err(|error| error.with_engine(NAME))
}

//! Views: single statements, each of which sees what is newest; or, where another process writes, what their
//! transaction sees.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use durum_core::Result;
use durum_core::engine::sql::key_integers;
use durum_core::engine::{Cursor, EngineSnapshot, Key, Table};
use futures_util::future::try_join_all;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::cursor::{PostgresCursor, Seen};
use crate::run::Known;
use crate::schema::Verb;
use crate::source::Source;

/// Rows are read ahead until there are so many bytes of them.
const AHEAD_BYTES_MAX: usize = 8 << 20;

/// So many keys at a time.
const AHEAD_KEYS: usize = 4000;

/// Larger values are not read ahead.
const AHEAD_VALUE_BYTES_MAX: i32 = 8 << 10;

/// Rows that were read ahead, and keys that are known to have none.
type Ahead = HashMap<(Table, Key), Option<Row>>;

/// A view of what is newest, or was since it was opened; or of what was newest when its transaction began.
pub(crate) struct PostgresSnapshot {
    source: Arc<Source>,
    ahead: RefCell<Ahead>,
    seen: RefCell<Seen>,
    /// Whether reads may be answered from what was read before, as where that cannot change. Else each sees whether
    /// this process is still the writer.
    keeps: Cell<bool>,
}

impl PostgresSnapshot {
    pub(crate) fn new(source: Arc<Source>) -> PostgresSnapshot {
        let keeps = Cell::new(source.is_fixed());
        PostgresSnapshot {
            source,
            ahead: RefCell::default(),
            seen: RefCell::default(),
            keeps,
        }
    }

    /// Reads rows of some tables, each with its keys.
    fn read_many(&self, tables: &[(Table, Vec<i64>)]) -> Result<Vec<Vec<Row>>> {
        let source = &self.source;
        source.readers.read("read rows", |connection| {
            let mut statements = Vec::with_capacity(tables.len());
            for (table, _) in tables {
                statements.push(connection.prepare(&source.schema, *table, Verb::Many)?);
            }
            connection.run(async |client| {
                let parameters: Vec<[&(dyn ToSql + Sync); 2]> = tables
                    .iter()
                    .map(|(_, keys)| [keys as _, &AHEAD_VALUE_BYTES_MAX as _])
                    .collect();
                let pairs = statements.iter().zip(&parameters);
                try_join_all(pairs.map(|(statement, values)| client.query(statement, values))).await
            })
        })
    }

    /// Reads rows of single keys; the bytes of their values.
    fn read_part(&self, wanted: &[(Table, i64)], ahead: &mut Ahead) -> Result<usize> {
        let mut tables: Vec<(Table, Vec<i64>)> = Vec::new();
        for (table, number) in wanted {
            match tables.iter_mut().find(|(other, _)| other == table) {
                Some((_, keys)) => keys.push(*number),
                None => tables.push((*table, vec![*number])),
            }
        }
        let found = self.read_many(&tables)?;
        let mut bytes = 0;
        for ((table, keys), rows) in tables.into_iter().zip(found) {
            self.source.check_fence(rows.first())?;
            let key = |number: i64| (table, Key::from(number.cast_unsigned()));
            ahead.extend(keys.into_iter().map(|number| (key(number), None)));
            for row in rows {
                let Some(number) = row.get::<_, Option<i64>>(1) else {
                    continue;
                };
                match row.get::<_, Option<&[u8]>>(2) {
                    Some(value) => {
                        bytes += value.len();
                        ahead.insert(key(number), Some(row));
                    }
                    // It is large, and is read when it is asked for.
                    None => drop(ahead.remove(&key(number))),
                }
            }
        }
        Ok(bytes)
    }
}

impl EngineSnapshot for PostgresSnapshot {
    fn get(&self, table: Table, key: Key, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        if let Some(known) = self.ahead.borrow().get(&(table, key)) {
            return Ok(known.as_ref().map(|row| visit(row.get(2))).is_some());
        }
        let Some((first, second)) = key_integers(key) else {
            return Ok(false);
        };
        if self.keeps.get() {
            let known = self.seen.borrow_mut().runs.get(&self.source, table, key);
            match known? {
                Known::There(row) => {
                    visit(row.get(2));
                    return Ok(true);
                }
                Known::Absent => return Ok(false),
                Known::Unknown => {}
            }
        }
        let both: [&(dyn ToSql + Sync); 2] = [&first, &second];
        let keys = match table.is_pair() {
            true => &both[..],
            false => &both[..1],
        };
        let schema = &self.source.schema;
        let row = self.source.readers.read("read a row", |connection| {
            let statement = connection.prepare(schema, table, Verb::Get)?;
            connection.run(async |client| client.query_opt(&statement, keys).await)
        })?;
        self.source.check_fence(row.as_ref())?;
        let value = row.as_ref().and_then(|row| row.get(1));
        Ok(value.map(visit).is_some())
    }

    fn keep_rows(&self) {
        self.keeps.set(true);
    }

    fn has_latency(&self) -> bool {
        true
    }

    fn read_ahead(&self, rows: &[(Table, Key)]) -> Result<()> {
        let mut ahead = Ahead::new();
        let mut bytes = 0;
        let wanted = rows.iter().filter(|(table, _)| !table.is_pair());
        let wanted: Vec<(Table, i64)> = wanted
            .filter_map(|(table, key)| Some((*table, key_integers(*key)?.0)))
            .collect();
        for part in wanted.chunks(AHEAD_KEYS) {
            bytes += self.read_part(part, &mut ahead)?;
            if bytes >= AHEAD_BYTES_MAX {
                break;
            }
        }
        *self.ahead.borrow_mut() = ahead;
        Ok(())
    }

    fn cursor<'a>(&'a self, table: Table, from: Key) -> Result<Box<dyn Cursor + 'a>> {
        if !self.keeps.get() {
            self.seen.borrow_mut().runs.clear();
        }
        Ok(Box::new(PostgresCursor::new(
            &self.source,
            table,
            from,
            &self.seen,
        )))
    }
}

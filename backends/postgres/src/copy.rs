//! Bulk loads: rows that are not there yet, by `COPY`.
//!
//! `COPY` takes about half the time of an `INSERT`, but refuses keys that are there. What an import writes, and most of
//! what a store writes later, goes behind all other rows of its table; where that is so is known to the one that writes
//! without asking. Tables that are being filled have no keys to refuse: see `keys.rs`.

use std::collections::HashMap;
use std::pin::pin;

use durum_core::engine::Table;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Statement};

use crate::arrays::Arrays;
use crate::connection::Connection;
use crate::error::Failure;
use crate::schema::{Schema, Verb};

/// From this size on a statement's rows are copied. A copy waits twice for an answer, which arrays do not.
const BYTES_MIN: usize = 1 << 20;

/// What a row takes beside its value, about.
const ROW_BYTES: usize = 32;

/// A key as the server has it.
type Integers = (i64, i64);

/// Where rows can be copied to.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    /// Keys that are not below any of their tables, as far as anybody has asked.
    known: HashMap<Table, Integers>,
    /// Tables that have no primary key: nothing but a copy puts rows there.
    keyless: Vec<Table>,
}

impl Ends {
    /// From now on these have no primary keys.
    pub(crate) fn without_keys(&mut self, tables: &[Table]) {
        self.keyless.extend(tables);
        self.known.retain(|table, _| !tables.contains(table));
    }

    /// Those of the tables that have no primary keys.
    pub(crate) fn keyless_of(&self, tables: &[Table]) -> Vec<Table> {
        let keyless = tables.iter().filter(|table| self.keyless.contains(table));
        keyless.copied().collect()
    }

    /// From now on these have primary keys.
    pub(crate) fn with_keys(&mut self, tables: &[Table]) {
        self.keyless.retain(|table| !tables.contains(table));
    }

    /// Takes out what can be copied, and remembers up to where the tables will reach.
    ///
    /// # Errors
    /// Those of the server.
    pub(crate) fn split<'a, 'b>(
        &mut self,
        session: &mut Connection,
        schema: &Schema,
        statements: &'a [Arrays<'b>],
    ) -> Result<Split<'a, 'b>, Failure> {
        let mut split = Split::default();
        for arrays in statements {
            let is_copy = match self.keyless.contains(&arrays.table) {
                true => arrays.verb == Verb::Put,
                false => is_large(arrays) && self.is_behind(session, schema, arrays)?,
            };
            // Those of the same table that follow have larger keys.
            self.raise(arrays);
            let (verb, kind) = match is_copy {
                true => (Verb::Copy, &mut split.copies),
                false => (arrays.verb, &mut split.others),
            };
            kind.push((session.prepare(schema, arrays.table, verb)?, arrays));
        }
        Ok(split)
    }

    /// Whether all rows come behind those of the table.
    fn is_behind(
        &mut self,
        session: &mut Connection,
        schema: &Schema,
        arrays: &Arrays<'_>,
    ) -> Result<bool, Failure> {
        let end = match self.known.get(&arrays.table) {
            Some(end) => *end,
            None => {
                let statement = session.prepare(schema, arrays.table, Verb::Last)?;
                let row = session.run(async |client| client.query_opt(&statement, &[]).await)?;
                let end = row.map_or((-1, -1), |row| (row.get(0), row.get(1)));
                self.known.insert(arrays.table, end);
                end
            }
        };
        Ok(keys(arrays).next().is_some_and(|first| first > end))
    }

    fn raise(&mut self, arrays: &Arrays<'_>) {
        if arrays.verb == Verb::Put
            && let Some(end) = self.known.get_mut(&arrays.table)
        {
            *end = keys(arrays).next_back().map_or(*end, |last| last.max(*end));
        }
    }
}

/// Prepared statements, each with its rows.
#[derive(Default)]
pub(crate) struct Split<'a, 'b> {
    pub(crate) copies: Vec<(Statement, &'a Arrays<'b>)>,
    pub(crate) others: Vec<(Statement, &'a Arrays<'b>)>,
}

/// Sends the rows, and waits until the server has them.
///
/// # Errors
/// Those of the server, which has nothing of the transaction then.
pub(crate) async fn copy(
    client: &Client,
    statement: &Statement,
    arrays: &Arrays<'_>,
) -> Result<(), tokio_postgres::Error> {
    let types = match arrays.table.is_pair() {
        true => &[Type::INT8, Type::INT8, Type::BYTEA][..],
        false => &[Type::INT8, Type::BYTEA],
    };
    let mut writer = pin!(BinaryCopyInWriter::new(
        client.copy_in(statement).await?,
        types
    ));
    for ((first, second), value) in keys(arrays).zip(&arrays.values) {
        let row: [&(dyn ToSql + Sync); 3] = [&first, &second, value];
        let [first, _, value] = row;
        match arrays.table.is_pair() {
            true => writer.as_mut().write(&row).await?,
            false => writer.as_mut().write(&[first, value]).await?,
        }
    }
    writer.finish().await.map(drop)
}

fn is_large(arrays: &Arrays<'_>) -> bool {
    let bytes = |value: &&[u8]| value.len() + ROW_BYTES;
    arrays.verb == Verb::Put && arrays.values.iter().map(bytes).sum::<usize>() >= BYTES_MIN
}

fn keys(arrays: &Arrays<'_>) -> impl DoubleEndedIterator<Item = Integers> + ExactSizeIterator {
    let both = arrays.first.iter().zip(&arrays.second);
    both.map(|(first, second)| (*first, *second))
}

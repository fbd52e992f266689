//! Views: single statements, each of which sees what is newest.

use std::sync::Arc;

use durum_core::Result;
use durum_core::engine::sql::key_integers;
use durum_core::engine::{Cursor, EngineSnapshot, Key, Table};
use tokio_postgres::types::ToSql;

use crate::cursor::PostgresCursor;
use crate::database::Database;
use crate::schema::Verb;

/// A view of the newest state.
#[derive(Debug)]
pub(crate) struct PostgresSnapshot {
    pub(crate) database: Arc<Database>,
}

impl PostgresSnapshot {
    pub(crate) fn new(database: Arc<Database>) -> PostgresSnapshot {
        PostgresSnapshot { database }
    }
}

impl EngineSnapshot for PostgresSnapshot {
    fn get(&self, table: Table, key: Key, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let Some((first, second)) = key_integers(key) else {
            return Ok(false);
        };
        let both: [&(dyn ToSql + Sync); 2] = [&first, &second];
        let keys = match table.is_pair() {
            true => &both[..],
            false => &both[..1],
        };
        let schema = &self.database.schema;
        let row = self.database.readers.read("read a row", |connection| {
            let statement = connection.prepare(schema, table, Verb::Get)?;
            connection.run(async |client| client.query_opt(&statement, keys).await)
        })?;
        if let Some(row) = &row {
            visit(row.get(0));
        }
        Ok(row.is_some())
    }

    fn cursor<'a>(&'a self, table: Table, from: Key) -> Result<Box<dyn Cursor + 'a>> {
        Ok(Box::new(PostgresCursor::new(&self.database, table, from)))
    }
}

//! Primary keys, which tables that are filled in bulk get when all their rows are there.
//!
//! To bring each row into an index takes the server more than half of the time of a `COPY`; to sort the keys of all
//! rows at once takes a fourth of that. A table without its key is of a store that is still being built: before that
//! gets its name, and before it is gone on with after it was cut off, all tables have theirs again. That a key comes
//! twice, which the server refuses otherwise when it does, is found when the keys are added.

use durum_core::engine::Table;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use crate::connection::Connection;
use crate::error::Failure;
use crate::schema::{Schema, quoted};

pub(crate) const ADD: &str = "add the key of a table";
pub(crate) const DROP: &str = "begin to fill the tables";

/// Adds the key of a table. That it has one is no failure: another session may have added it whose client has lost it.
///
/// # Errors
/// Those of the server, which has changed nothing then; that a key is there twice is damage.
pub(crate) fn add(session: &mut Connection, schema: &Schema, table: Table) -> Result<(), Failure> {
    let (name, key) = (schema.table(table.name()), Schema::key(table));
    let sql = format!("ALTER TABLE {name} ADD PRIMARY KEY ({key})");
    match session.run(async |client| client.batch_execute(&sql).await) {
        Err(failure) if failure.code() == Some(&SqlState::INVALID_TABLE_DEFINITION) => Ok(()),
        done => done,
    }
}

/// Adds the keys of all tables that have none.
///
/// # Errors
/// As [`add`].
pub(crate) fn add_all(session: &mut Connection, schema: &Schema) -> Result<(), Failure> {
    let sql = "SELECT relname::text FROM pg_class WHERE relnamespace = to_regnamespace($1) AND relkind = 'r' \
        AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = pg_class.oid AND indisprimary)";
    let name = schema.quoted();
    let rows = session.run(async |client| client.query(sql, &[&name]).await)?;
    let keyless = |table: &Table| rows.iter().any(|row| row.get::<_, &str>(0) == table.name());
    let mut keyless = Table::ALL.into_iter().filter(keyless);
    keyless.try_for_each(|table| add(session, schema, table))
}

/// Drops the keys of those of the tables in which nothing is, and adds the keys of the others. `claim` fails in the
/// transaction where this is not the writer. Which have none then.
///
/// # Errors
/// Those of the server.
pub(crate) fn drop_of_empty(
    session: &mut Connection,
    schema: &Schema,
    claim: &str,
    tables: &[Table],
) -> Result<Vec<Table>, Failure> {
    let mut keyless = Vec::with_capacity(tables.len());
    let mut sql = format!("BEGIN; {claim}");
    for found in states(session, schema, tables)? {
        let table = found.table;
        match (found.is_empty, found.has_key) {
            (false, true) => continue,
            (false, false) => {
                add(session, schema, table)?;
                continue;
            }
            (true, has_key) => {
                keyless.push(table);
                if has_key {
                    let name = schema.table(table.name());
                    let key = quoted(&format!("{}_pkey", table.name()));
                    sql.push_str(&format!("; ALTER TABLE {name} DROP CONSTRAINT {key}"));
                }
            }
        }
    }
    sql.push_str("; COMMIT");
    let done = session.run(async |client| client.batch_execute(&sql).await);
    if done.is_err() && session.is_open() {
        // Of no use where the connection is lost, with which the transaction is.
        let _ = session.run(async |client| client.batch_execute("ROLLBACK").await);
    }
    done.map(|()| keyless)
}

struct State {
    table: Table,
    is_empty: bool,
    has_key: bool,
}

fn states(
    session: &mut Connection,
    schema: &Schema,
    tables: &[Table],
) -> Result<Vec<State>, Failure> {
    let names: Vec<String> = tables
        .iter()
        .map(|table| schema.table(table.name()))
        .collect();
    let one = |(at, name): (usize, &String)| {
        let number = at + 1;
        format!(
            "SELECT {at}, NOT EXISTS (SELECT FROM {name}), EXISTS (SELECT FROM pg_index \
             WHERE indrelid = to_regclass(${number}::text) AND indisprimary)"
        )
    };
    let sql: Vec<String> = names.iter().enumerate().map(one).collect();
    let sql = format!("{} ORDER BY 1", sql.join(" UNION ALL "));
    let parameters: Vec<&(dyn ToSql + Sync)> = names.iter().map(|name| name as _).collect();
    let rows = session.run(async |client| client.query(&sql, &parameters).await)?;
    let state = |(table, row): (&Table, &tokio_postgres::Row)| State {
        table: *table,
        is_empty: row.get(1),
        has_key: row.get(2),
    };
    Ok(tables.iter().zip(&rows).map(state).collect())
}

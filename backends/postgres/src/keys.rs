//! Primary keys, which tables that are filled in bulk get when all their rows are there.
//!
//! To bring each row into an index takes the server more than half of the time of a `COPY`; to sort the keys of all
//! rows at once takes a fourth of that. A table without its key is of a store that is still being built: before that
//! gets its name, and before it is gone on with after it was cut off, all tables have theirs again. That a key comes
//! twice, which the server refuses otherwise when it does, is found when the keys are added.

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use durum_core::engine::Table;
use durum_core::{Error, ErrorKind, Result};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use crate::connection::Connection;
use crate::error::Failure;
use crate::readers::Readers;
use crate::schema::{Schema, quoted};

const ADD: &str = "add the key of a table";
const STOP: &str = "stop adding the key of a table";
pub(crate) const DROP: &str = "begin to fill the tables";

/// How often it is asked whether a key is wanted still.
const NAP: Duration = Duration::from_millis(50);

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

/// As [`add`], on a connection for reading, until `check` fails: the server is told to stop then.
///
/// # Errors
/// As [`add`], and those of `check`.
pub(crate) fn add_watched(
    readers: &Readers,
    schema: &Schema,
    table: Table,
    check: &dyn Fn() -> Result<()>,
) -> Result<()> {
    let session = &AtomicI32::new(0);
    let (end, ended) = channel::<()>();
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            // Whatever ends this, it is noticed.
            let _end = end;
            readers.read(ADD, |connection| {
                session.store(connection.number()?, Ordering::Relaxed);
                add(connection, schema, table)
            })
        });
        let (mut checked, mut stopper) = (Ok(()), None);
        while ended.recv_timeout(NAP) == Err(RecvTimeoutError::Timeout) {
            checked = checked.and_then(|()| check());
            if checked.is_err() {
                // Again and again: it may not have begun yet.
                stop(readers, &mut stopper, session.load(Ordering::Relaxed));
            }
        }
        let failed = |_| Err(Error::new(ErrorKind::Other, ADD).because("a thread failed"));
        let added = thread.join().unwrap_or_else(failed);
        checked.and(added)
    })
}

/// Has the server stop what a session does, by another one.
fn stop(readers: &Readers, stopper: &mut Option<Connection>, session: i32) {
    let sql = "SELECT pg_cancel_backend($1)";
    let stopped = stopper.take().map_or_else(|| readers.another(), Ok);
    let stopped = stopped.and_then(|mut connection| {
        let done = connection.run(async |client| client.query(sql, &[&session]).await);
        done.map_err(|failure| failure.during(STOP))?;
        Ok(connection)
    });
    match stopped {
        Ok(connection) => *stopper = Some(connection),
        Err(error) => tracing::debug!(%error, "the server goes on with what nobody wants any more"),
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

//! Primary keys, which tables that are filled in bulk get when all their rows are there.
//!
//! To bring each row into an index takes the server more than half of the time of a `COPY`; to sort the keys of all
//! rows at once takes a fourth of that. A table without its key is of a store that is still being built: before that
//! gets its name, and before it is gone on with after it was cut off, all tables have theirs again. That a key comes
//! twice, which the server refuses otherwise when it does, is found when the keys are added.

use durum_core::engine::Table;

use crate::connection::Connection;
use crate::error::Failure;
use crate::schema::{Schema, quoted};

pub(crate) const ADD: &str = "add the key of a table";
pub(crate) const DROP: &str = "begin to fill the tables";

/// Whether a table, named by the parameter, has a key.
const HAS_KEY: &str =
    "SELECT EXISTS (SELECT FROM pg_index WHERE indrelid = to_regclass($1) AND indisprimary)";

/// Adds the key of a table that has none.
///
/// # Errors
/// Those of the server, which has changed nothing then; that a key is there twice is damage.
pub(crate) fn add(session: &mut Connection, schema: &Schema, table: Table) -> Result<(), Failure> {
    let name = schema.table(table.name());
    // Nobody adds it meanwhile: another session may be at it whose client has lost it.
    let begin = format!("BEGIN; LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE");
    let add = format!(
        "ALTER TABLE {name} ADD PRIMARY KEY ({})",
        Schema::key(table)
    );
    let done = session.run(async |client| {
        client.batch_execute(&begin).await?;
        let found = client.query_one(HAS_KEY, &[&name]).await?;
        if !found.get::<_, bool>(0) {
            client.batch_execute(&add).await?;
        }
        client.batch_execute("COMMIT").await
    });
    undo(session, done)
}

/// Adds the keys of all tables that have none.
///
/// # Errors
/// As [`add`].
pub(crate) fn add_all(session: &mut Connection, schema: &Schema) -> Result<(), Failure> {
    for table in Table::ALL {
        if !state(session, schema, table)?.has_key {
            add(session, schema, table)?;
        }
    }
    Ok(())
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
    for table in tables {
        let found = state(session, schema, *table)?;
        match found.is_empty {
            false if found.has_key => {}
            false => add(session, schema, *table)?,
            true => keyless.push(*table),
        }
        if found.is_empty && found.has_key {
            let (name, key) = (schema.table(table.name()), format!("{}_pkey", table.name()));
            sql.push_str(&format!(
                "; ALTER TABLE {name} DROP CONSTRAINT {}",
                quoted(&key)
            ));
        }
    }
    sql.push_str("; COMMIT");
    let done = session.run(async |client| client.batch_execute(&sql).await);
    undo(session, done).map(|()| keyless)
}

struct State {
    is_empty: bool,
    has_key: bool,
}

fn state(session: &mut Connection, schema: &Schema, table: Table) -> Result<State, Failure> {
    let name = schema.table(table.name());
    let is_empty = format!("SELECT NOT EXISTS (SELECT FROM {name})");
    session.run(async |client| {
        let is_empty = client.query_one(&is_empty, &[]).await?.get(0);
        let has_key = client.query_one(HAS_KEY, &[&name]).await?.get(0);
        Ok(State { is_empty, has_key })
    })
}

/// Leaves no transaction open that has failed.
fn undo(session: &mut Connection, done: Result<(), Failure>) -> Result<(), Failure> {
    if done.is_err() && session.is_open() {
        // Of no use where the connection is lost, with which the transaction is.
        let _ = session.run(async |client| client.batch_execute("ROLLBACK").await);
    }
    done
}

//! PostgreSQL through tokio-postgres: prepared statements, arrays, and as few round trips as can be.
//!
//! A [`Connection`] is that of one thread, whose runtime runs while an operation is waited for. A [`Table`] has rows
//! of a number and bytes; its sessions are set to what Durum's are, so that the server plans the same way.

use std::fmt;
use std::pin::pin;
use std::time::Duration;

use durum_core::{Error, ErrorKind, Result};
use futures_util::TryStreamExt as _;
use futures_util::future::{OptionFuture, join5};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::binary_copy::{BinaryCopyInWriter, BinaryCopyOutStream};
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, NoTls, Statement};

use crate::{DOING, Load, Rows};

const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);

/// The columns of a table, for copies.
const COLUMNS: [Type; 2] = [Type::INT8, Type::BYTEA];

/// A commit that was confirmed is on the disk; plans are made once, and for an index.
const SETTINGS: &str = "SET synchronous_commit = on; SET statement_timeout = 0; SET lock_timeout = 0; \
    SET client_min_messages = warning; SET jit = off; SET enable_seqscan = off; \
    SET plan_cache_mode = force_generic_plan";

/// A connection, not encrypted, for one thread at a time.
pub struct Connection {
    client: Client,
    runtime: Runtime,
}

impl fmt::Debug for Connection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects to `//USER@HOST:PORT/DATABASE`, the first of several that can be written to, with the password in
    /// `PGPASSWORD` where there is one.
    ///
    /// # Errors
    /// `Usage` for an address that is none, `Unreachable` where nobody answers or lets it in.
    pub fn open(address: &str) -> Result<Connection> {
        let mut config: Config = format!("postgresql:{address}")
            .parse()
            .map_err(|error| of_server(&error).with_kind(ErrorKind::Usage))?;
        if let Ok(password) = std::env::var("PGPASSWORD") {
            config.password(password);
        }
        config
            .ssl_mode(SslMode::Disable)
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .connect_timeout(CONNECT_TIME_MAX)
            .application_name("durum-raw");
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Error::io(error, DOING))?;
        let connected = runtime.block_on(config.connect(NoTls));
        let (client, driver) =
            connected.map_err(|error| of_server(&error).with_kind(ErrorKind::Unreachable))?;
        // It runs while something is waited for; when it ends, whoever waits is told.
        runtime.spawn(async move { driver.await.unwrap_or_default() });
        let connection = Connection { client, runtime };
        connection.execute(SETTINGS)?;
        Ok(connection)
    }

    fn run<T>(&self, work: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T> {
        self.runtime
            .block_on(work)
            .map_err(|error| of_server(&error))
    }

    /// Runs SQL that returns nothing.
    ///
    /// # Errors
    /// Those of the server, as `Other`.
    pub fn execute(&self, sql: &str) -> Result<()> {
        self.run(self.client.batch_execute(sql))
    }

    /// Runs SQL that returns one row with one text.
    ///
    /// # Errors
    /// As [`Connection::execute`], also where it returns anything else.
    pub fn text(&self, sql: &str) -> Result<String> {
        self.run(async { self.client.query_one(sql, &[]).await?.try_get(0) })
    }

    /// One round trip that makes the server do nothing.
    ///
    /// # Errors
    /// As [`Connection::execute`].
    pub fn round_trip(&self) -> Result<()> {
        self.run(self.client.simple_query("")).map(drop)
    }

    /// Makes a schema, which must not exist, with an empty table.
    ///
    /// # Errors
    /// As [`Connection::execute`].
    pub fn create(&self, schema: &str) -> Result<()> {
        let (schema, table) = (quoted(schema), table(schema));
        self.execute(&format!(
            "CREATE SCHEMA {schema}; CREATE TABLE {table} (id bigint PRIMARY KEY, value bytea NOT NULL); \
             ALTER TABLE {table} ALTER COLUMN value SET STORAGE EXTERNAL"
        ))
    }

    /// Drops schemas whose names begin so, with all that is in them.
    ///
    /// # Errors
    /// As [`Connection::execute`].
    pub fn drop_schemas(&self, prefix: &str) -> Result<()> {
        let sql = "SELECT nspname::text FROM pg_namespace WHERE starts_with(nspname::text, $1)";
        let found = self.run(self.client.query(sql, &[&prefix]))?;
        for row in found {
            self.execute(&format!("DROP SCHEMA {} CASCADE", quoted(row.get(0))))?;
        }
        Ok(())
    }

    /// Bytes that the tables of a schema take, with their indexes.
    ///
    /// # Errors
    /// As [`Connection::execute`].
    pub fn schema_bytes(&self, schema: &str) -> Result<u64> {
        let sql = "SELECT coalesce(sum(pg_total_relation_size(class.oid)), 0)::bigint FROM pg_class class \
            JOIN pg_namespace space ON space.oid = class.relnamespace WHERE nspname = $1 AND relkind = 'r'";
        let row = self.run(self.client.query_one(sql, &[&schema]))?;
        Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or_default())
    }

    /// Begins a load of the schema's table: one transaction, in which all rows that are written at once are one binary
    /// `COPY`, so that the server has them when they are written.
    ///
    /// # Errors
    /// As [`Connection::execute`].
    pub fn load(self, schema: &str) -> Result<Box<dyn Load>> {
        self.execute("BEGIN")?;
        Ok(Box::new(PostgresLoad {
            copy: format!("COPY {} (id, value) FROM STDIN BINARY", table(schema)),
            connection: self,
        }))
    }

    /// The schema's table, for reads and writes.
    ///
    /// # Errors
    /// As [`Connection::execute`].
    pub fn table(self, schema: &str) -> Result<Table> {
        let name = table(schema);
        let prepare =
            |sql: String, types: &[Type]| self.run(self.client.prepare_typed(&sql, types));
        let rows = [Type::INT8_ARRAY, Type::BYTEA_ARRAY];
        Ok(Table {
            get: prepare(
                format!("SELECT value FROM {name} WHERE id = $1"),
                &COLUMNS[..1],
            )?,
            get_many: prepare(
                format!("SELECT id, value FROM {name} WHERE id = ANY ($1)"),
                &rows[..1],
            )?,
            insert: prepare(
                format!("INSERT INTO {name} (id, value) SELECT * FROM unnest($1, $2)"),
                &rows,
            )?,
            update: prepare(
                format!(
                    "UPDATE {name} AS old SET value = new.value FROM unnest($1, $2) AS new (id, value) \
                     WHERE old.id = new.id"
                ),
                &rows,
            )?,
            delete: prepare(
                format!("DELETE FROM {name} WHERE id = ANY ($1)"),
                &rows[..1],
            )?,
            scan: format!("COPY {name} (id, value) TO STDOUT BINARY"),
            connection: self,
        })
    }
}

/// A load of a new table.
struct PostgresLoad {
    copy: String,
    connection: Connection,
}

impl Load for PostgresLoad {
    fn write(&mut self, rows: &Rows) -> Result<()> {
        self.connection.run(async {
            let sink = self.connection.client.copy_in(self.copy.as_str()).await?;
            let mut writer = pin!(BinaryCopyInWriter::new(sink, &COLUMNS));
            for (key, value) in rows.iter() {
                let row: [&(dyn ToSql + Sync); 2] = [&key.cast_signed(), &value];
                writer.as_mut().write(&row).await?;
            }
            writer.finish().await.map(drop)
        })
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.connection.execute("COMMIT")
    }
}

/// A table of numbers and bytes, with what is prepared for it.
pub struct Table {
    connection: Connection,
    get: Statement,
    get_many: Statement,
    insert: Statement,
    update: Statement,
    delete: Statement,
    scan: String,
}

impl fmt::Debug for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Table").finish_non_exhaustive()
    }
}

impl Table {
    /// The connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Shows a row; false where there is none. One round trip.
    ///
    /// # Errors
    /// As [`Connection::execute`].
    pub fn get(&self, key: u64, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let Connection { client, .. } = &self.connection;
        let key = key.cast_signed();
        let row = self.connection.run(client.query_opt(&self.get, &[&key]))?;
        Ok(row.map(|row| visit(row.get(0))).is_some())
    }

    /// Shows the rows of these keys that there are, in any order. One round trip.
    ///
    /// # Errors
    /// As [`Connection::execute`].
    pub fn get_many(&self, keys: &[u64], visit: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        let Connection { client, .. } = &self.connection;
        let keys: Vec<i64> = keys.iter().map(|key| key.cast_signed()).collect();
        let found = self
            .connection
            .run(client.query(&self.get_many, &[&keys]))?;
        for row in &found {
            visit(row.get::<_, i64>(0).cast_unsigned(), row.get(1));
        }
        Ok(())
    }

    /// Shows all rows, by one binary `COPY`.
    ///
    /// # Errors
    /// As [`Connection::execute`].
    pub fn scan(&self, visit: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        self.connection.run(async {
            let stream = self.connection.client.copy_out(self.scan.as_str()).await?;
            let mut rows = pin!(BinaryCopyOutStream::new(stream, &COLUMNS));
            while let Some(row) = rows.try_next().await? {
                visit(row.try_get::<i64>(0)?.cast_unsigned(), row.try_get(1)?);
            }
            Ok(())
        })
    }

    /// Inserts rows, replaces others and deletes others in one transaction, which the disk has confirmed then. One
    /// round trip: a single statement is a transaction, and several are sent with its begin and its commit.
    ///
    /// # Errors
    /// As [`Connection::execute`].
    pub fn write(&self, inserts: &Rows, updates: &Rows, deletes: &[u64]) -> Result<()> {
        let client = &self.connection.client;
        let (inserted, updated) = (arrays(inserts), arrays(updates));
        let deleted: Vec<i64> = deletes.iter().map(|key| key.cast_signed()).collect();
        let some = [
            !inserted.0.is_empty(),
            !updated.0.is_empty(),
            !deleted.is_empty(),
        ];
        let many = some.iter().filter(|some| **some).count() > 1;
        let insert: [&(dyn ToSql + Sync); 2] = [&inserted.0, &inserted.1];
        let update: [&(dyn ToSql + Sync); 2] = [&updated.0, &updated.1];
        let delete: [&(dyn ToSql + Sync); 1] = [&deleted];
        let optional = |is: bool, statement, values| {
            OptionFuture::from(is.then(|| client.execute(statement, values)))
        };
        let command = |sql| OptionFuture::from(many.then(|| client.batch_execute(sql)));
        self.connection.run(async {
            // They are sent in the order in which they are first polled.
            let done = join5(
                command("BEGIN"),
                optional(some[0], &self.insert, &insert[..]),
                optional(some[1], &self.update, &update[..]),
                optional(some[2], &self.delete, &delete[..]),
                command("COMMIT"),
            );
            let (begun, inserted, updated, deleted, committed) = done.await;
            begun.transpose()?;
            for done in [inserted, updated, deleted] {
                done.transpose()?;
            }
            committed.transpose().map(drop)
        })
    }
}

/// Rows as two arrays.
fn arrays(rows: &Rows) -> (Vec<i64>, Vec<&[u8]>) {
    rows.iter()
        .map(|(key, value)| (key.cast_signed(), value))
        .unzip()
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn table(schema: &str) -> String {
    format!("{}.objects", quoted(schema))
}

/// An error with what the server says, which is its cause.
fn of_server(error: &tokio_postgres::Error) -> Error {
    let mut reason = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(found) = cause {
        reason.push_str(&format!(": {found}"));
        cause = found.source();
    }
    Error::new(ErrorKind::Other, DOING).because(reason)
}

//! Where stores lie: a schema each, with an identity, a lock and a writer.
//!
//! A new store is built in a schema of its own, `NAME.new-` and a number, and gets its name and its identity in
//! one transaction. What a killed creation leaves behind is taken up again where somebody asks for that, and else
//! removed by the next one. A schema that is being built has a table `staged` in the place of `identity`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use durum_core::engine::{Engine, Options};
use durum_core::place::{Identity, RemotePlace, RemotePlaces, RemoteStagedPlace};
use durum_core::{Error, ErrorKind, Result, StoreId};
use tokio_postgres::error::SqlState;

use crate::config::Address;
use crate::connection::Connection;
use crate::database::Database;
use crate::engine::PostgresEngine;
use crate::error::Failure;
use crate::follow::FollowedPlace;
use crate::keys;
use crate::schema::{Schema, quoted};
use crate::writer::{Writer, in_use, take_lock};
use crate::{NAME, PostgresBackend};

const OPEN: &str = "open the store";
const CREATE: &str = "create the store";
const PUBLISH: &str = "put the new store in its place";

/// The version of all that this crate writes.
const FORMAT: i32 = 1;

/// The server notices only then that a process has ended when it has done what that had asked for last.
const LOCK_WAIT: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The place of an open store.
#[derive(Debug)]
struct PostgresPlace {
    database: Arc<Database>,
    identity: Identity,
}

/// A place that is being built.
#[derive(Debug)]
struct StagedSchema {
    /// `None` once it is published or left.
    database: Option<Arc<Database>>,
    address: Address,
    identity: Identity,
}

impl RemotePlaces for PostgresBackend {
    fn open(&self, address: &Path, options: &Options) -> Result<Box<dyn RemotePlace>> {
        let address = Address::new(address, options)?;
        let schema = Schema::new(&address.schema);
        let mut session = Connection::open(&address)?;
        let identity = read_identity(&mut session, &schema)?;
        let lock = lock_of(identity.store_id);
        wait_for_lock(&mut session, &schema, lock)?;
        // Read again now that nobody can replace it.
        if read_identity(&mut session, &schema)? != identity {
            return Err(Error::new(ErrorKind::InUse, OPEN)
                .with_engine(NAME)
                .because("it was just replaced by another"));
        }
        let database = begin(address, schema, lock, session)?;
        Ok(Box::new(PostgresPlace { database, identity }))
    }

    fn follow(&self, address: &Path, options: &Options) -> Result<Box<dyn RemotePlace>> {
        let address = Address::new(address, options)?;
        let schema = Schema::new(&address.schema);
        let identity = read_identity(&mut Connection::open(&address)?, &schema)?;
        Ok(Box::new(FollowedPlace::new(address, schema, identity)))
    }

    fn create(&self, address: &Path, options: &Options) -> Result<Box<dyn RemoteStagedPlace>> {
        let address = Address::new(address, options)?;
        let mut session = Connection::open(&address)?;
        refuse_existing(&mut session, &address.schema)?;
        remove_abandoned(&mut session, &address.schema)?;
        let store_id = StoreId::random()?;
        let lock = lock_of(store_id);
        let schema = Schema::new(&staging_name(&address.schema, lock));
        // Before there is anything: what is not locked looks abandoned.
        wait_for_lock(&mut session, &schema, lock)?;
        let sql = format!(
            "BEGIN; {} CREATE TABLE {staged} (store_id text NOT NULL, marked boolean NOT NULL); \
             INSERT INTO {staged} VALUES ('{store_id}', false); COMMIT",
            schema.creation(),
            staged = schema.table("staged"),
        );
        run(&mut session, &sql, CREATE)?;
        let database = begin(address.clone(), schema, lock, session)?;
        Ok(Box::new(StagedSchema {
            database: Some(database),
            address,
            identity: identity(store_id),
        }))
    }

    fn probe(&self, address: &Path, options: &Options) -> Result<()> {
        let address = Address::new(address, options)?;
        let mut session = Connection::open(&address)?;
        refuse_existing(&mut session, &address.schema)?;
        let sql = "SELECT has_database_privilege(current_database(), 'CREATE')";
        let allowed = session.run(async |client| client.query_one(sql, &[]).await);
        match allowed.map_err(|failure| failure.during(CREATE))?.get(0) {
            true => Ok(()),
            false => Err(not_allowed()),
        }
    }

    fn find(
        &self,
        address: &Path,
        options: &Options,
    ) -> Result<Option<Box<dyn RemoteStagedPlace>>> {
        const DOING: &str = "go on with an unfinished store";
        let address = Address::new(address, options)?;
        let mut session = Connection::open(&address)?;
        refuse_existing(&mut session, &address.schema)?;
        let mut found = Vec::new();
        for (name, lock) in unfinished(&mut session, &address.schema)? {
            let schema = Schema::new(&name);
            let sql = format!("SELECT store_id, marked FROM {}", schema.table("staged"));
            let row = match session.run(async |client| client.query_opt(&sql, &[]).await) {
                // It was removed, or has got its name.
                Err(failure) if failure.code() == Some(&SqlState::UNDEFINED_TABLE) => continue,
                row => row.map_err(|failure| failure.during(DOING))?,
            };
            if let Some(row) = row.filter(|row| row.get(1)) {
                found.push((schema, lock, row.get::<_, String>(0)));
            }
        }
        if found.len() > 1 {
            let names: Vec<_> = found.iter().map(|(schema, ..)| schema.quoted()).collect();
            return Err(Error::new(ErrorKind::Usage, DOING)
                .with_engine(NAME)
                .because(format!("there are {} unfinished ones: {}", names.len(), names.join(", ")))
                .hint("Drop the schemas of all but the one to go on with, or begin anew, which drops them all."));
        }
        let Some((schema, lock, store_id)) = found.pop() else {
            return Ok(None);
        };
        wait_for_lock(&mut session, &schema, lock)?;
        let identity = identity(store_id.parse()?);
        keys::add_all(&mut session, &schema).map_err(|failure| failure.during(DOING))?;
        let database = begin(address.clone(), schema, lock, session)?;
        Ok(Some(Box::new(StagedSchema {
            database: Some(database),
            address,
            identity,
        })))
    }
}

impl RemotePlace for PostgresPlace {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn open_engine(&self) -> Result<Box<dyn Engine>> {
        Ok(Box::new(PostgresEngine::new(Arc::clone(&self.database))))
    }

    fn remove(self: Box<Self>) -> Result<()> {
        const DOING: &str = "remove the store";
        self.database.source.readers.close();
        let sql = drop_schema(self.database.schema().name());
        run(self.database.writer().session(DOING)?, &sql, DOING)
    }
}

impl StagedSchema {
    fn database(&self, operation: &'static str) -> Result<&Arc<Database>> {
        self.database.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Other, operation)
                .with_engine(NAME)
                .because("it is no longer being built")
        })
    }

    fn is_marked(&self) -> Result<bool> {
        const DOING: &str = "leave an unfinished store";
        let database = self.database(DOING)?;
        let sql = format!("SELECT marked FROM {}", database.schema().table("staged"));
        let row = database
            .writer()
            .session(DOING)?
            .run(async |client| client.query_one(&sql, &[]).await);
        Ok(row.map_err(|failure| failure.during(DOING))?.get(0))
    }

    fn try_publish(&mut self, database: &Database) -> Result<()> {
        let target = quoted(&self.address.schema);
        let staging = database.schema();
        let mut writer = database.writer();
        let session = writer.session(PUBLISH)?;
        refuse_existing(session, &self.address.schema)?;
        keys::add_all(session, staging).map_err(|failure| failure.during(PUBLISH))?;
        let sql = format!(
            "BEGIN; SET LOCAL client_min_messages = error; DROP SCHEMA IF EXISTS {target} RESTRICT; \
             INSERT INTO {identity} VALUES ({FORMAT}, '{NAME}', '{id}'); \
             DROP TABLE {staged}; ALTER SCHEMA {from} RENAME TO {target}; COMMIT",
            identity = staging.table("identity"),
            id = self.identity.store_id,
            staged = staging.table("staged"),
            from = staging.quoted(),
        );
        let done = session.run(async |client| client.batch_execute(&sql).await);
        let Err(failure) = done else { return Ok(()) };
        if failure.is_lost() {
            return self.was_published(failure);
        }
        // The connection is still in the transaction that has failed.
        run(session, "ROLLBACK", PUBLISH)?;
        // Another one that has just got the name makes it fail in more ways than one.
        refuse_existing(session, &self.address.schema)?;
        Err(failure.during(PUBLISH))
    }

    /// Whether the transaction was committed on a connection that was lost.
    fn was_published(&self, failure: Failure) -> Result<()> {
        let mut session = Connection::open(&self.address)?;
        match read_identity(&mut session, &Schema::new(&self.address.schema)) {
            Ok(found) if found == self.identity => Ok(()),
            _ => Err(failure.during(PUBLISH)),
        }
    }
}

impl RemoteStagedPlace for StagedSchema {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn open_engine(&self) -> Result<Box<dyn Engine>> {
        let database = self.database("open the database")?;
        Ok(Box::new(PostgresEngine::new(Arc::clone(database))))
    }

    fn mark(&self) -> Result<()> {
        const DOING: &str = "mark an unfinished store";
        let database = self.database(DOING)?;
        let mut writer = database.writer();
        writer.sync()?;
        let sql = format!(
            "UPDATE {} SET marked = true",
            database.schema().table("staged")
        );
        run(writer.session(DOING)?, &sql, DOING)
    }

    fn leave(mut self: Box<Self>) -> Option<PathBuf> {
        // Where the server does not answer it is left as it is; the next creation removes what is not marked.
        if !self.is_marked().unwrap_or(true) {
            return None;
        }
        let database = self.database.take()?;
        Some(PathBuf::from(format!(
            "schema {}",
            database.schema().quoted()
        )))
    }

    fn publish(mut self: Box<Self>) -> Result<Box<dyn RemotePlace>> {
        let database = self.database.take();
        let Some(database) = database.and_then(Arc::into_inner) else {
            return Err(Error::new(ErrorKind::InUse, PUBLISH)
                .with_engine(NAME)
                .because("its engine is still open"));
        };
        database.source.readers.close();
        if let Err(error) = self.try_publish(&database) {
            self.database = Some(Arc::new(database));
            if self.is_marked().unwrap_or(true) {
                // What is complete is worth keeping.
                self.database = None;
            }
            return Err(error);
        }
        let session = database.into_writer().into_session();
        let Some(mut session) = session.filter(Connection::is_open) else {
            // The connection was lost when all was done.
            let identity = self.identity.clone();
            return reopen(&self.address, identity);
        };
        session.forget_statements();
        let schema = Schema::new(&self.address.schema);
        let lock = lock_of(self.identity.store_id);
        let database = begin(self.address.clone(), schema, lock, session)?;
        Ok(Box::new(PostgresPlace {
            database,
            identity: self.identity.clone(),
        }))
    }
}

impl Drop for StagedSchema {
    fn drop(&mut self) {
        let Some(database) = self.database.take() else {
            return;
        };
        const DOING: &str = "remove an unfinished store";
        database.source.readers.close();
        let sql = drop_schema(database.schema().name());
        let removed = database
            .writer()
            .session(DOING)
            .and_then(|session| run(session, &sql, DOING));
        if let Err(error) = removed {
            tracing::warn!(schema = database.schema().name(), %error, "left an unfinished store behind");
        }
    }
}

/// Opens what was published on a connection that was lost.
fn reopen(address: &Address, identity: Identity) -> Result<Box<dyn RemotePlace>> {
    let schema = Schema::new(&address.schema);
    let mut session = Connection::open(address)?;
    let lock = lock_of(identity.store_id);
    wait_for_lock(&mut session, &schema, lock)?;
    let database = begin(address.clone(), schema, lock, session)?;
    Ok(Box::new(PostgresPlace { database, identity }))
}

/// Becomes the writer of what the session has the lock of.
fn begin(
    address: Address,
    schema: Schema,
    lock: i64,
    session: Connection,
) -> Result<Arc<Database>> {
    let mut writer = Writer::new(address.clone(), schema.clone(), lock, session);
    writer.claim()?;
    Ok(Arc::new(Database::new(address, schema, writer)))
}

fn identity(store_id: StoreId) -> Identity {
    Identity {
        engine: NAME.to_owned(),
        store_id,
    }
}

/// The number of a store's lock: half of its identity, which is random.
fn lock_of(store_id: StoreId) -> i64 {
    let (half, _) = store_id
        .0
        .split_first_chunk::<8>()
        .unwrap_or((&[0; 8], &[]));
    i64::from_be_bytes(*half)
}

fn staging_prefix(schema: &str) -> String {
    format!("{schema}.new-")
}

fn staging_name(schema: &str, lock: i64) -> String {
    format!("{}{lock:016x}", staging_prefix(schema))
}

fn drop_schema(name: &str) -> String {
    let name = quoted(name);
    format!(
        "SET client_min_messages = error; DROP SCHEMA IF EXISTS {name} CASCADE; SET client_min_messages = warning"
    )
}

fn run(session: &mut Connection, sql: &str, operation: &'static str) -> Result<()> {
    let done = session.run(async |client| client.batch_execute(sql).await);
    done.map_err(|failure| {
        let denied = failure.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE);
        match denied && operation == CREATE {
            true => not_allowed(),
            false => failure.during(operation),
        }
    })
}

fn not_allowed() -> Error {
    Error::new(ErrorKind::ReadOnly, CREATE)
        .with_engine(NAME)
        .because("the user may not create schemas in the database")
        .hint("Let an administrator run `GRANT CREATE ON DATABASE ... TO ...`.")
}

fn wait_for_lock(session: &mut Connection, schema: &Schema, lock: i64) -> Result<()> {
    let began = Instant::now();
    loop {
        let taken = take_lock(session, lock).map_err(|failure| failure.during("lock the store"))?;
        if taken {
            return Ok(());
        }
        if began.elapsed() > LOCK_WAIT {
            return Err(in_use(session, schema));
        }
        std::thread::sleep(LOCK_PAUSE);
    }
}

/// What a schema says of itself.
fn read_identity(session: &mut Connection, schema: &Schema) -> Result<Identity> {
    let failed = |failure: Failure| failure.during(OPEN);
    let name = schema.name();
    let sql = "SELECT 1 FROM pg_namespace WHERE nspname = $1";
    let there = session.run(async |client| client.query_opt(sql, &[&name]).await);
    if there.map_err(failed)?.is_none() {
        return Err(Error::new(ErrorKind::NotFound, OPEN)
            .with_engine(NAME)
            .because(format!(
                "there is no schema {} in the database",
                schema.quoted()
            )));
    }
    let sql = format!(
        "SELECT format, engine, store_id FROM {}",
        schema.table("identity")
    );
    let rows = match session.run(async |client| client.query(&sql, &[]).await) {
        Err(failure) if failure.code() == Some(&SqlState::UNDEFINED_TABLE) => {
            return Err(Error::new(ErrorKind::Unreadable, OPEN)
                .with_engine(NAME)
                .because(format!("the schema {} is no Durum store", schema.quoted())));
        }
        rows => rows.map_err(failed)?,
    };
    let [row] = rows.as_slice() else {
        return Err(Error::damaged(OPEN, "its table `identity` has not one row").with_engine(NAME));
    };
    let (format, engine): (i32, &str) = (row.get(0), row.get(1));
    if format != FORMAT || engine != NAME {
        return Err(Error::new(ErrorKind::Unreadable, OPEN)
            .with_engine(NAME)
            .because(format!(
                "its format is {format} on {engine}, and this version reads format {FORMAT} on {NAME}"
            ))
            .hint("Use the version of Durum that wrote it, or a newer one."));
    }
    Ok(identity(row.get::<_, &str>(2).parse()?))
}

/// Fails where the schema has anything in it.
fn refuse_existing(session: &mut Connection, schema: &str) -> Result<()> {
    let sql = "SELECT relname = 'identity' FROM pg_class WHERE relnamespace = to_regnamespace($1) \
        ORDER BY 1 DESC LIMIT 1";
    let name = quoted(schema);
    let found = session.run(async |client| client.query_opt(sql, &[&name]).await);
    let Some(row) = found.map_err(|failure| failure.during(CREATE))? else {
        return Ok(());
    };
    let why = match row.get(0) {
        true => format!("a store is in the schema {name} already"),
        false => format!("the schema {name} is not empty"),
    };
    Err(Error::new(ErrorKind::Exists, CREATE)
        .with_engine(NAME)
        .because(why)
        .hint("Choose another one with ?schema=NAME, or drop what is there."))
}

/// Schemas of stores that were begun for `schema` and not published, those that are being built included, with
/// the numbers of their locks.
fn unfinished(session: &mut Connection, schema: &str) -> Result<Vec<(String, i64)>> {
    let prefix = staging_prefix(schema);
    let sql = "SELECT nspname::text FROM pg_namespace WHERE starts_with(nspname::text, $1)";
    let rows = session.run(async |client| client.query(sql, &[&prefix]).await);
    let rows = rows.map_err(|failure| failure.during("look for unfinished stores"))?;
    let found = rows.iter().filter_map(|row| {
        let name: String = row.get(0);
        let number = u64::from_str_radix(name.strip_prefix(&prefix)?, 16).ok()?;
        Some((name, number.cast_signed()))
    });
    Ok(found.collect())
}

/// Removes what killed creations left. Those that still run hold their lock and stay.
fn remove_abandoned(session: &mut Connection, schema: &str) -> Result<()> {
    for (name, lock) in unfinished(session, schema)? {
        if !take_lock(session, lock).map_err(|failure| failure.during(CREATE))? {
            continue;
        }
        tracing::info!(schema = name, "removing an unfinished store");
        run(session, &drop_schema(&name), CREATE)?;
        run(
            session,
            &format!("SELECT pg_advisory_unlock({lock})"),
            CREATE,
        )?;
    }
    Ok(())
}

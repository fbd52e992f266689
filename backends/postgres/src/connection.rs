//! A connection, and what is prepared on it.
//!
//! Each has a runtime of its own that runs on whatever thread uses it: an answer is waited for where it is needed,
//! without waking another thread, and connections need no thread at all between uses. Where that thread runs tasks of
//! another runtime, as those of a storage server do, others take its tasks over meanwhile; a runtime of one thread only
//! cannot wait for the database.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

use durum_core::engine::Table;
use durum_core::{Error, ErrorKind, Result};
use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};
use tokio::task::block_in_place;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Socket, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::NAME;
use crate::config::{Address, CONNECT_TIMEOUT};
use crate::error::Failure;
use crate::schema::{Schema, Verb};

/// Moves bytes between the client and the server while it is polled.
type Driver = Pin<Box<dyn Future<Output = Result<(), tokio_postgres::Error>> + Send>>;

/// What every session is set to: as servers come, whatever an administrator has made the default for people.
/// A server finds out in about ten seconds that a client's machine is gone, with what that has locked.
const SETTINGS: &str = "SET statement_timeout = 0; SET lock_timeout = 0; \
    SET idle_in_transaction_session_timeout = 0; \
    SET default_transaction_isolation = 'read committed'; \
    SET client_min_messages = warning; SET jit = off; SET enable_seqscan = off; SET enable_material = off; \
    SET plan_cache_mode = force_generic_plan; \
    SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3";

const CONNECT: &str = "connect to the database";

/// The oldest version that has all that is used here.
const VERSION_MIN: i32 = 120_000;

/// An open connection, for one thread at a time.
pub(crate) struct Connection {
    statements: HashMap<(Table, Verb), Statement>,
    client: Client,
    /// `None` once the connection has ended.
    driver: Option<Driver>,
    runtime: OwnRuntime,
}

/// The runtime of a connection.
struct OwnRuntime(Option<Runtime>);

impl OwnRuntime {
    fn new() -> std::io::Result<OwnRuntime> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(OwnRuntime(Some(runtime)))
    }

    /// Runs a future to its end, on this thread; `None` only while this is being dropped.
    fn wait<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let runtime = self.0.as_ref()?;
        let flavor = Handle::try_current().map(|handle| handle.runtime_flavor());
        Some(match flavor {
            Ok(RuntimeFlavor::MultiThread) => block_in_place(|| runtime.block_on(future)),
            _ => runtime.block_on(future),
        })
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        // Without waiting, which a thread that runs tasks must not do.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

type Connected = (
    Client,
    tokio_postgres::Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>,
);

/// Connects to the first server that can be written to, each within a limited time: one that hangs, or its machine, may
/// still take connections.
async fn connect(address: &Address, tls: MakeRustlsConnect) -> Result<Connected> {
    let mut why = Error::new(ErrorKind::Unreachable, CONNECT);
    for server in &address.servers {
        why = match timeout(CONNECT_TIMEOUT, server.connect(tls.clone())).await {
            Ok(Ok(connected)) => return Ok(connected),
            Ok(Err(error)) => Failure::from(error).during(CONNECT),
            Err(Elapsed { .. }) => Error::new(ErrorKind::Unreachable, CONNECT)
                .with_engine(NAME)
                .because("it takes connections, and says nothing"),
        };
    }
    Err(why)
}

impl Connection {
    /// Connects to the first of the servers that can be written to.
    ///
    /// # Errors
    /// `Unreachable`, `Refused`, `NotFound` (the database); `Unsupported` for a server that is too old or loses
    /// what it acknowledges.
    pub(crate) fn open(address: &Address) -> Result<Connection> {
        let tls = match &address.tls {
            Some(files) => files.load()?,
            // Never used: the connection is plain.
            None => rustls::ClientConfig::builder_with_provider(
                rustls::crypto::ring::default_provider().into(),
            )
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::new(ErrorKind::Other, CONNECT).because(error.to_string()))?
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth(),
        };
        let runtime = OwnRuntime::new().map_err(|error| Error::io(error, CONNECT))?;
        let connected = runtime.wait(connect(address, MakeRustlsConnect::new(tls)));
        let (client, driver) =
            connected.unwrap_or_else(|| Err(Error::new(ErrorKind::Other, CONNECT)))?;
        let mut connection = Connection {
            statements: HashMap::new(),
            client,
            driver: Some(Box::pin(driver)),
            runtime,
        };
        connection
            .set_up()
            .map_err(|failure| failure.during(CONNECT))?;
        connection.check_server()?;
        Ok(connection)
    }

    fn set_up(&mut self) -> Result<(), Failure> {
        self.run(async |client| client.batch_execute(SETTINGS).await)?;
        Ok(())
    }

    fn check_server(&mut self) -> Result<()> {
        const DOING: &str = "look at the server";
        let row = self
            .run(async |client| {
                let settings = "SELECT current_setting('server_version_num')::int, \
                    current_setting('server_version'), current_setting('fsync') = 'on', \
                    current_setting('synchronous_commit')";
                client.query_one(settings, &[]).await
            })
            .map_err(|failure| failure.during(DOING))?;
        let unsupported = |why: String| {
            Error::new(ErrorKind::Unsupported, DOING)
                .with_engine(NAME)
                .because(why)
        };
        let (version, name): (i32, &str) = (row.get(0), row.get(1));
        if version < VERSION_MIN {
            return Err(unsupported(format!("it is PostgreSQL {name}"))
                .hint("Use PostgreSQL 12 or a later one."));
        }
        if !row.get::<_, bool>(2) {
            return Err(unsupported(
                "it runs with `fsync` off, and may lose everything with the power".into(),
            )
            .hint("Switch `fsync` on in postgresql.conf."));
        }
        if row.get::<_, &str>(3) == "off" {
            let set = "SET synchronous_commit = on";
            self.run(async |client| client.batch_execute(set).await)
                .map_err(|failure| failure.during(DOING))?;
        }
        Ok(())
    }

    /// Runs `work`, which asks the server, to its end.
    pub(crate) fn run<T>(
        &mut self,
        work: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, Failure> {
        let (client, driver) = (&self.client, &mut self.driver);
        let work = async {
            let mut work = pin!(work(client));
            poll_fn(|context| {
                if let Some(running) = driver
                    && running.as_mut().poll(context).is_ready()
                {
                    // What waits for an answer is told when this is gone.
                    *driver = None;
                }
                match work.as_mut().poll(context) {
                    Poll::Pending => {
                        // What has just been asked is sent now.
                        if let Some(running) = driver
                            && running.as_mut().poll(context).is_ready()
                        {
                            *driver = None;
                            return work.as_mut().poll(context);
                        }
                        Poll::Pending
                    }
                    done => done,
                }
            })
            .await
        };
        match self.runtime.wait(work) {
            Some(done) => Ok(done?),
            None => Err(Failure::Closed),
        }
    }

    /// The number by which the server knows the session.
    pub(crate) fn number(&mut self) -> Result<i32, Failure> {
        let row = self.run(async |client| client.query_one("SELECT pg_backend_pid()", &[]).await);
        Ok(row?.get(0))
    }

    /// Has something done, and waits for no answer: what comes next is done behind it.
    pub(crate) fn send(&mut self, sql: &str) {
        let (client, driver) = (&self.client, &mut self.driver);
        self.runtime.wait(async {
            let mut asked = pin!(client.batch_execute(sql));
            poll_fn(|context| {
                // The first poll puts it into the queue, out of which the driver sends it. A connection that is lost is
                // found so by who uses it next.
                let _ = asked.as_mut().poll(context);
                if let Some(running) = driver
                    && running.as_mut().poll(context).is_ready()
                {
                    *driver = None;
                }
                Poll::Ready(())
            })
            .await;
        });
    }

    /// Whether the connection can be used again.
    pub(crate) fn is_open(&self) -> bool {
        self.driver.is_some() && !self.client.is_closed()
    }

    /// Prepares what is not prepared yet.
    pub(crate) fn prepare(
        &mut self,
        schema: &Schema,
        table: Table,
        verb: Verb,
    ) -> Result<Statement, Failure> {
        if let Some(statement) = self.statements.get(&(table, verb)) {
            return Ok(statement.clone());
        }
        let sql = schema.statement(table, verb);
        let types = Schema::types(table, verb);
        let statement = self.run(async |client| client.prepare_typed(&sql, &types).await)?;
        self.statements.insert((table, verb), statement.clone());
        Ok(statement)
    }

    /// Forgets what is prepared, where the schema gets another name.
    pub(crate) fn forget_statements(&mut self) {
        self.statements.clear();
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Connection")
            .field("open", &self.is_open())
            .finish_non_exhaustive()
    }
}

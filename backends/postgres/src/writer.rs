//! The one connection that writes, and how it is made sure that there is one.
//!
//! A session that has the advisory lock of the store is its writer. With the lock it takes a *fencing number*, one
//! more than the last writer's, and each of its transactions begins with
//! `UPDATE writer SET claimed = <its number>, batch = <number of the batch>`, which a constraint refuses unless that
//! is still the fencing number of the row. So whoever has lost the lock without knowing, stopped for a while or cut
//! off, cannot write over what another has written since. (Kleppmann, "How to do distributed locking", 2016.)
//!
//! A connection that is lost in a commit leaves it open whether that was done. The next session of the same writer
//! takes the lock, which it gets when the server has ended the old session, and looks at the number of the batch:
//! it is the one that was being written, which was committed then, or the one before, and the batch is written
//! again. One that is found is not acknowledged before another, empty one was committed behind it: a server that was
//! started again shows what its synchronous standbys may not have yet, and a failover would lose. Anything else means
//! that the server has lost what it had acknowledged, as where a standby server was promoted that was behind, and
//! nothing more is written.

use durum_core::engine::{Durability, Op, Table};
use durum_core::{Error, ErrorKind, Result};
use futures_util::future::{join_all, join3, join4};
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use crate::NAME;
use crate::arrays::{Arrays, arrays};
use crate::config::Address;
use crate::connection::Connection;
use crate::copy::{Ends, Split, copy};
use crate::error::Failure;
use crate::keys;
use crate::readers::Retry;
use crate::schema::{FENCE, Schema};

pub(crate) const APPLY: &str = "apply a batch";

/// The connection that writes.
#[derive(Debug)]
pub(crate) struct Writer {
    address: Address,
    schema: Schema,
    /// The number of the advisory lock.
    lock: i64,
    /// `None` while it is lost.
    session: Option<Connection>,
    /// The fencing number; 0 before it was taken.
    fence: i64,
    /// The last batch that was committed.
    batch: i64,
    /// Whether commits were made that a loss of power would undo.
    unsynced: bool,
    /// Up to where the tables reach.
    ends: Ends,
    /// Why nothing is written any more.
    ended: Option<String>,
}

/// How an attempt to write ended.
enum Attempt {
    Committed,
    /// It was refused, and changed nothing.
    Refused(Failure),
    /// The connection was lost, and it is not known whether it was committed.
    Lost(Failure),
    /// Somebody else is the writer now.
    Fenced,
}

impl Writer {
    /// A writer on a session that has the lock with the number `lock`, and has not claimed to write yet.
    pub(crate) fn new(address: Address, schema: Schema, lock: i64, session: Connection) -> Writer {
        Writer {
            address,
            schema,
            lock,
            session: Some(session),
            fence: 0,
            batch: 0,
            unsynced: false,
            ends: Ends::default(),
            ended: None,
        }
    }

    /// Becomes the writer: whoever was it before is refused from now on.
    ///
    /// # Errors
    /// Those of the server.
    pub(crate) fn claim(&mut self) -> Result<()> {
        const DOING: &str = "become the writer of the store";
        // Waits for a transaction of the last writer that is still being committed.
        let sql = format!(
            "UPDATE {} SET fence = fence + 1, claimed = fence + 1, holder = $1, since = now() \
             RETURNING fence, batch",
            self.schema.table("writer")
        );
        let holder = holder();
        let row = self
            .session(DOING)?
            .run(async |client| client.query_one(&sql, &[&holder]).await)
            .map_err(|failure| failure.during(DOING))?;
        (self.fence, self.batch) = (row.get(0), row.get(1));
        Ok(())
    }

    /// The fencing number.
    pub(crate) fn fence(&self) -> i64 {
        self.fence
    }

    /// The session, where it is not lost.
    pub(crate) fn session(&mut self, operation: &'static str) -> Result<&mut Connection> {
        self.session.as_mut().ok_or_else(|| {
            Error::new(ErrorKind::Unreachable, operation)
                .with_engine(NAME)
                .because("the connection that writes was lost")
        })
    }

    /// The session alone: the lock with it.
    pub(crate) fn into_session(self) -> Option<Connection> {
        self.session
    }

    /// Writes a batch as one transaction.
    ///
    /// # Errors
    /// As [`Engine::apply`](durum_core::engine::Engine::apply): `InUse` where another writes now.
    pub(crate) fn apply(&mut self, ops: &[Op<'_>], durability: Durability) -> Result<Durability> {
        let statements = arrays(ops)?;
        let mut retry = Retry::new(self.address.reconnect);
        let (mut tried, mut found, mut left) = (false, false, &statements[..]);
        loop {
            self.check()?;
            if self.session.is_none() {
                match self.connect_again() {
                    Ok(true) if tried && durability == Durability::Relaxed => {
                        return Ok(self.committed(durability));
                    }
                    // It is there, but synchronous standbys may not have it yet: an empty one behind it waits for them.
                    Ok(true) if tried => {
                        self.batch += 1;
                        (found, left) = (true, &[]);
                    }
                    // An earlier one, of which it was not known.
                    Ok(true) => self.batch += 1,
                    Ok(false) => {}
                    Err(error) => {
                        retry.again(error)?;
                        continue;
                    }
                }
            }
            tried = true;
            match self.write(left, durability) {
                Attempt::Committed => return Ok(self.committed(durability)),
                // Not to be taken for one that has changed nothing.
                Attempt::Refused(failure) if found => {
                    return Err(failure.during(APPLY).with_kind(ErrorKind::Other));
                }
                Attempt::Refused(failure) => return Err(failure.during(APPLY)),
                Attempt::Fenced => return Err(self.end(FENCED)),
                Attempt::Lost(failure) => {
                    self.session = None;
                    retry.again(failure.during(APPLY))?;
                }
            }
        }
    }

    /// Drops the primary keys of those of the tables in which nothing is yet, and adds those of the others.
    ///
    /// # Errors
    /// `InUse` where another writes now; those of the server.
    pub(crate) fn leave_keys_out(&mut self, tables: &[Table]) -> Result<()> {
        self.check()?;
        let (schema, fence) = (self.schema.clone(), self.fence);
        let claim = format!("UPDATE {} SET claimed = {fence}", schema.table("writer"));
        let dropped = keys::drop_of_empty(self.session(keys::DROP)?, &schema, &claim, tables);
        match dropped {
            Ok(keyless) => {
                self.ends.with_keys(tables);
                self.ends.without_keys(&keyless);
                Ok(())
            }
            Err(failure) if failure.constraint() == Some(FENCE) => Err(self.end(FENCED)),
            Err(failure) => Err(failure.during(keys::DROP)),
        }
    }

    /// Those of the tables that have no keys.
    pub(crate) fn keyless(&self, tables: &[Table]) -> Vec<Table> {
        self.ends.keyless_of(tables)
    }

    /// Notes that these tables have their keys.
    pub(crate) fn has_keys(&mut self, tables: &[Table]) {
        self.ends.with_keys(tables);
    }

    /// Makes all that was written as durable as the server can.
    ///
    /// # Errors
    /// As [`Writer::apply`].
    pub(crate) fn sync(&mut self) -> Result<()> {
        match self.unsynced {
            true => self.apply(&[], Durability::Power).map(drop),
            false => self.check(),
        }
    }

    fn committed(&mut self, durability: Durability) -> Durability {
        self.batch += 1;
        // A commit that is synced syncs what was written to the log before.
        self.unsynced = durability == Durability::Relaxed;
        durability
    }

    fn check(&self) -> Result<()> {
        match &self.ended {
            None => Ok(()),
            Some(reason) => Err(ended(APPLY, reason)),
        }
    }

    fn end(&mut self, reason: &str) -> Error {
        self.session = None;
        self.ended = Some(reason.to_owned());
        ended(APPLY, reason)
    }

    fn write(&mut self, statements: &[Arrays<'_>], durability: Durability) -> Attempt {
        match self.try_write(statements, durability) {
            Ok(()) => Attempt::Committed,
            Err(failure) if failure.constraint() == Some(FENCE) => Attempt::Fenced,
            Err(failure) if failure.is_lost() => Attempt::Lost(failure),
            Err(failure) => match &self.session {
                // The server has answered, and the transaction was undone with that.
                Some(session) if session.is_open() => Attempt::Refused(failure),
                _ => Attempt::Lost(failure),
            },
        }
    }

    fn try_write(
        &mut self,
        statements: &[Arrays<'_>],
        durability: Durability,
    ) -> Result<(), Failure> {
        let (schema, fence, batch) = (&self.schema, self.fence, self.batch + 1);
        let Some(session) = self.session.as_mut() else {
            return Ok(());
        };
        let split = self.ends.split(session, schema, statements)?;
        let begin = match durability {
            Durability::Relaxed => "BEGIN; SET LOCAL synchronous_commit = off",
            Durability::Process | Durability::Power => "BEGIN",
        };
        let claim = format!(
            "UPDATE {} SET claimed = {fence}, batch = {batch}",
            schema.table("writer")
        );
        session.run(async |client| transact(client, begin, &claim, &split).await)
    }

    /// Opens a session again after one was lost, as the same writer. Whether the batch that was being written
    /// was committed.
    fn connect_again(&mut self) -> Result<bool> {
        const DOING: &str = "connect to the database again";
        let mut session = Connection::open(&self.address)?;
        // Whoever has claimed to write since need not be waited for.
        self.read_row(&mut session)?;
        let taken = take_lock(&mut session, self.lock);
        if !taken.map_err(|failure| failure.during(DOING))? {
            // The server may not have ended the old session yet.
            return Err(in_use(&mut session, &self.schema));
        }
        let batch = self.read_row(&mut session)?;
        let committed = match batch - self.batch {
            0 => false,
            1 => true,
            _ if self.unsynced => return Err(self.end(UNWRITTEN)),
            _ => return Err(self.end(SET_BACK)),
        };
        self.session = Some(session);
        Ok(committed)
    }

    /// The number of the last batch that was committed, by this writer.
    fn read_row(&mut self, session: &mut Connection) -> Result<i64> {
        let sql = format!("SELECT fence, batch FROM {}", self.schema.table("writer"));
        let row = session.run(async |client| client.query_one(&sql, &[]).await);
        let row = row.map_err(|failure| failure.during("see who writes"))?;
        match row.get::<_, i64>(0) == self.fence {
            true => Ok(row.get(1)),
            false => Err(self.end(FENCED)),
        }
    }
}

const FENCED: &str = "another process has become the writer of the store";
const SET_BACK: &str = "the server has lost commits that it had acknowledged, as a standby server may \
    have that is promoted without having all";

const UNWRITTEN: &str =
    "the server has ended without having written the last commits, which were not waited for";

/// The error of whoever is no longer the writer.
pub(crate) fn replaced(operation: &'static str) -> Error {
    ended(operation, FENCED)
}

fn ended(operation: &'static str, reason: &str) -> Error {
    Error::new(ErrorKind::InUse, operation)
        .with_engine(NAME)
        .because(reason)
        .hint("Close the store; open it again when nobody else has it open.")
}

/// Takes the lock, if nobody has it.
pub(crate) fn take_lock(session: &mut Connection, lock: i64) -> Result<bool, Failure> {
    session.run(async |client| {
        let row = client
            .query_one("SELECT pg_try_advisory_lock($1)", &[&lock])
            .await?;
        Ok(row.get(0))
    })
}

/// The error where somebody else has the lock; it names who has written last.
pub(crate) fn in_use(session: &mut Connection, schema: &Schema) -> Error {
    let sql = format!("SELECT holder FROM {}", schema.table("writer"));
    let found = session.run(async |client| client.query_opt(&sql, &[]).await);
    let holder: String = match found {
        Ok(Some(row)) => row.get(0),
        _ => String::new(),
    };
    let who = match holder.as_str() {
        "" => "another process".to_owned(),
        holder => holder.to_owned(),
    };
    Error::new(ErrorKind::InUse, "lock the store")
        .with_engine(NAME)
        .because(format!("{who} has it open"))
        .hint("Wait for it to end, or go through its server.")
}

/// Who this process is, for others to read.
fn holder() -> String {
    let system = rustix::system::uname();
    let machine = system.nodename().to_string_lossy();
    format!("process {} on {machine}", std::process::id())
}

/// Runs a transaction.
async fn transact(
    client: &Client,
    begin: &str,
    claim: &str,
    split: &Split<'_, '_>,
) -> Result<(), tokio_postgres::Error> {
    // One after the other on the server, but nothing waits for an answer here: they are sent in the order in which they
    // are first polled. What follows a statement that fails is refused, and the transaction undone by the `COMMIT`.
    let parameters: Vec<Vec<&(dyn ToSql + Sync)>> = split
        .others
        .iter()
        .map(|(_, arrays)| arrays.parameters())
        .collect();
    let writes = split.others.iter().zip(&parameters);
    let begun = client.batch_execute(begin);
    let claimed = client.batch_execute(claim);
    let written = join_all(
        writes.map(async |((statement, _), values)| client.execute(statement, values).await),
    );
    let commit = client.batch_execute("COMMIT");
    if split.copies.is_empty() {
        let (begun, claimed, written, committed) = join4(begun, claimed, written, commit).await;
        begun?;
        claimed?;
        written.into_iter().collect::<Result<Vec<_>, _>>()?;
        return committed;
    }
    let done = async {
        let (begun, claimed, written) = join3(begun, claimed, written).await;
        begun?;
        claimed?;
        written.into_iter().collect::<Result<Vec<_>, _>>()?;
        for (statement, arrays) in &split.copies {
            copy(client, statement, arrays).await?;
        }
        commit.await
    };
    let done = done.await;
    if done.is_err() {
        // Of no use where the connection is lost, with which the transaction is.
        let _ = client.batch_execute("ROLLBACK").await;
    }
    done
}

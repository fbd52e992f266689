//! Stores that another process writes: views are transactions that read, each on a connection of its own.
//!
//! `REPEATABLE READ` has all statements of a transaction see what its first one saw, so that a view needs no help of
//! the writer, of which the store knows nothing. Whoever reads so long keeps PostgreSQL from removing dead rows; core
//! sees to it that views end.

use std::sync::Arc;

use durum_core::engine::{Durability, Engine, EngineSnapshot, EngineStats, Op, Reclaimed};
use durum_core::place::{Identity, RemotePlace};
use durum_core::{Error, ErrorKind, Result};

use crate::NAME;
use crate::config::Address;
use crate::readers::Readers;
use crate::reclaim;
use crate::schema::Schema;
use crate::snapshot::PostgresSnapshot;
use crate::source::Source;

const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// The place of a store that another process may write.
#[derive(Debug)]
pub(crate) struct FollowedPlace {
    address: Address,
    schema: Schema,
    identity: Identity,
}

/// Reads what another process writes.
#[derive(Debug)]
struct FollowedEngine {
    schema: Schema,
    readers: Arc<Readers>,
}

impl FollowedPlace {
    pub(crate) fn new(address: Address, schema: Schema, identity: Identity) -> FollowedPlace {
        FollowedPlace {
            address,
            schema,
            identity,
        }
    }
}

impl RemotePlace for FollowedPlace {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn open_engine(&self) -> Result<Box<dyn Engine>> {
        Ok(Box::new(FollowedEngine {
            schema: self.schema.clone(),
            readers: Arc::new(Readers::new(self.address.clone())),
        }))
    }

    fn remove(self: Box<Self>) -> Result<()> {
        Err(read_only("remove the store"))
    }
}

fn read_only(operation: &'static str) -> Error {
    Error::new(ErrorKind::ReadOnly, operation)
        .with_engine(NAME)
        .because("it was opened only to be read")
}

impl Engine for FollowedEngine {
    fn snapshot(&self) -> Result<Box<dyn EngineSnapshot>> {
        // Awaited, so that a connection that was lost while it lay idle is not taken.
        let connection = self.readers.take_out("begin to read", |connection| {
            connection.run(async |client| client.batch_execute(BEGIN).await)
        })?;
        let source = Source::fixed(self.schema.clone(), &self.readers, connection);
        Ok(Box::new(PostgresSnapshot::new(Arc::new(source))))
    }

    fn apply(&self, _ops: &[Op<'_>], _durability: Durability) -> Result<Durability> {
        Err(read_only("apply a batch"))
    }

    fn sync(&self) -> Result<Durability> {
        Err(read_only("make everything durable"))
    }

    fn make_room(&self, _bytes: u64) -> Result<()> {
        Err(read_only("make room"))
    }

    fn stats(&self) -> Result<EngineStats> {
        reclaim::stats(&self.schema, &self.readers)
    }

    fn reclaim(&self, _bytes_max: u64) -> Result<Reclaimed> {
        Err(read_only("give space back"))
    }
}

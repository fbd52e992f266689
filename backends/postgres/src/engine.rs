//! The engine: one connection that writes, and some that read.

use std::sync::Arc;

use durum_core::Result;
use durum_core::engine::{Durability, Engine, EngineSnapshot, EngineStats, Op, Reclaimed};

use crate::database::Database;
use crate::reclaim;
use crate::snapshot::PostgresSnapshot;

/// PostgreSQL as an engine.
#[derive(Debug)]
pub(crate) struct PostgresEngine {
    database: Arc<Database>,
}

impl PostgresEngine {
    pub(crate) fn new(database: Arc<Database>) -> PostgresEngine {
        PostgresEngine { database }
    }
}

impl Engine for PostgresEngine {
    fn snapshot(&self) -> Result<Box<dyn EngineSnapshot>> {
        Ok(Box::new(PostgresSnapshot::new(Arc::clone(
            &self.database.source,
        ))))
    }

    fn apply(&self, ops: &[Op<'_>], durability: Durability) -> Result<Durability> {
        self.database.writer().apply(ops, durability)
    }

    fn sync(&self) -> Result<Durability> {
        self.database.writer().sync()?;
        Ok(Durability::Power)
    }

    fn make_room(&self, _bytes: u64) -> Result<()> {
        // `apply` never asks for it.
        Ok(())
    }

    fn stats(&self) -> Result<EngineStats> {
        reclaim::stats(&self.database.source.schema, &self.database.source.readers)
    }

    fn reclaim(&self, _bytes_max: u64) -> Result<Reclaimed> {
        // The server's own vacuum does it.
        Ok(Reclaimed::default())
    }

    fn bulk_bytes(&self) -> usize {
        4 << 20
    }
}

//! The engine: one connection that writes, and some that read.

use std::sync::Arc;

use durum_core::Result;
use durum_core::engine::{Durability, Engine, EngineSnapshot, EngineStats, Op, Reclaimed, Table};

use crate::database::Database;
use crate::snapshot::PostgresSnapshot;
use crate::source::Source;
use crate::{keys, reclaim};

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
        8 << 20
    }

    fn bulk_durability(&self) -> Durability {
        // The server writes its log while the next batch comes, and does not let it pile up. Where it is killed
        // before, it is the last batches that are lost.
        Durability::Relaxed
    }

    fn begin_bulk(&self, tables: &[Table]) -> Result<()> {
        self.database.writer().leave_keys_out(tables)
    }

    fn end_bulk(&self, tables: &[Table], check: &dyn Fn() -> Result<()>) -> Result<()> {
        let Source {
            readers, schema, ..
        } = &*self.database.source;
        let keyless = self.database.writer().keyless(tables);
        for table in &keyless {
            // The connection that writes goes on with others meanwhile.
            keys::add_watched(readers, schema, *table, check)?;
        }
        self.database.writer().has_keys(&keyless);
        Ok(())
    }
}

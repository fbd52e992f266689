//! The engine: one connection that writes, and some that read.

use std::sync::Arc;

use durum_core::Result;
use durum_core::engine::{Durability, Engine, EngineSnapshot, EngineStats, Op, Reclaimed};

use crate::database::Database;
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
        Ok(Box::new(PostgresSnapshot::new(Arc::clone(&self.database))))
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
        let sql = "SELECT coalesce(sum(pg_total_relation_size(class.oid)), 0)::bigint, \
            coalesce(sum(pg_relation_size(class.oid) * coalesce(n_dead_tup, 0) / \
                greatest(coalesce(n_live_tup + n_dead_tup, 0), 1)), 0)::bigint \
            FROM pg_class class JOIN pg_namespace space ON space.oid = class.relnamespace \
            LEFT JOIN pg_stat_all_tables USING (relname) \
            WHERE nspname = $1 AND class.relkind = 'r' AND schemaname = nspname";
        let name = self.database.schema.name();
        let row = self.database.readers.read("measure the database", |connection| {
            connection.run(async |client| client.query_one(sql, &[&name]).await)
        })?;
        let bytes = |number: i64| u64::try_from(number).unwrap_or_default();
        let (disk, dead) = (bytes(row.get(0)), bytes(row.get(1)));
        Ok(EngineStats {
            disk_bytes: disk,
            // An estimate from what the server counts, which lags behind.
            reclaimable_bytes: dead.min(disk),
        })
    }

    fn reclaim(&self, _bytes_max: u64) -> Result<Reclaimed> {
        // The server's own vacuum does it.
        Ok(Reclaimed::default())
    }

    fn bulk_bytes(&self) -> usize {
        4 << 20
    }
}

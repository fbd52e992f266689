//! Snapshots: read transactions of LMDB.

use std::sync::Arc;

use durum_core::Result;
use durum_core::engine::{Cursor, EngineSnapshot, Key, Table};
use heed::{RoTxn, WithoutTls};

use crate::cursor::LmdbCursor;
use crate::engine::Gate;
use crate::environment::Environment;
use crate::error::convert;

/// A read transaction. It ends before its pass through the gate is given back: fields are dropped in
/// this order.
pub(crate) struct LmdbSnapshot {
    transaction: RoTxn<'static, WithoutTls>,
    environment: Arc<Environment>,
    _pass: Pass,
}

/// Counts a snapshot among the open ones.
struct Pass(Arc<Gate>);

impl LmdbSnapshot {
    pub(crate) fn open(gate: &Arc<Gate>) -> Result<LmdbSnapshot> {
        const OPEN: &str = "take a snapshot";
        // Held until the transaction has begun, so that the map is not changed meanwhile.
        let mut inside = gate.enter();
        let environment = Arc::clone(inside.environment(OPEN)?);
        let transaction = environment
            .env
            .clone()
            .static_read_txn()
            .map_err(|error| convert(error, OPEN))?;
        inside.snapshots += 1;
        Ok(LmdbSnapshot {
            transaction,
            environment,
            _pass: Pass(Arc::clone(gate)),
        })
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.enter().snapshots -= 1;
    }
}

impl EngineSnapshot for LmdbSnapshot {
    fn get(&self, table: Table, key: Key, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let rows = self.environment.rows(table)?;
        let value = rows
            .get(&self.transaction, key.to_bytes(table).as_ref())
            .map_err(|error| convert(error, "read a row"))?;
        if let Some(value) = value {
            visit(value);
        }
        Ok(value.is_some())
    }

    fn walk(
        &self,
        table: Table,
        from: Key,
        visit: &mut dyn FnMut(Key, &[u8]) -> bool,
    ) -> Result<bool> {
        let rows = self.environment.rows(table)?;
        LmdbCursor::open(&self.transaction, table, rows, from)?.walk(visit)
    }

    fn cursor<'a>(&'a self, table: Table, from: Key) -> Result<Box<dyn Cursor + 'a>> {
        let rows = self.environment.rows(table)?;
        Ok(Box::new(LmdbCursor::open(
            &self.transaction,
            table,
            rows,
            from,
        )?))
    }
}

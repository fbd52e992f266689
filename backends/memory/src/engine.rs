//! The engine: tables behind a lock.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use durum_core::engine::{
    Durability, Engine, EngineSnapshot, EngineStats, Key, Op, Reclaimed, Table,
};
use durum_core::{Error, ErrorKind, Result};

use crate::NAME;
use crate::reclaim;
use crate::snapshot::MemorySnapshot;

/// Values are shared, so that a reader holds one without holding the lock.
type Rows = BTreeMap<Key, Arc<[u8]>>;

/// The rows of all tables.
#[derive(Default)]
pub(crate) struct Tables {
    rows: [Rows; Table::ALL.len()],
}

/// Tables as engine and snapshots share them.
#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<RwLock<Tables>>);

/// The in-memory engine.
#[derive(Default)]
pub(crate) struct MemoryEngine {
    tables: Shared,
}

impl Tables {
    /// The rows of one table.
    pub(crate) fn table(&self, table: Table) -> Option<&Rows> {
        self.rows.get(table.index())
    }

    fn apply(&mut self, op: &Op<'_>) {
        let (table, key) = op.row();
        let Some(rows) = self.rows.get_mut(table.index()) else {
            return;
        };
        match op {
            Op::Put { value, .. } => rows.insert(key, Arc::from(*value)),
            Op::Delete { .. } => rows.remove(&key),
        };
    }
}

impl Shared {
    /// Locks the tables for reading; never held across a caller's code.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Tables> {
        // Only a failed allocation can panic under the lock, and that ends the process.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for MemoryEngine {
    fn snapshot(&self) -> Result<Box<dyn EngineSnapshot>> {
        Ok(Box::new(MemorySnapshot::new(self.tables.clone())))
    }

    fn apply(&self, ops: &[Op<'_>], durability: Durability) -> Result<Durability> {
        if durability > Durability::Relaxed {
            return Err(Error::new(ErrorKind::Unsupported, "apply a batch")
                .with_engine(NAME)
                .because(format!(
                    "memory cannot give the durability `{}`",
                    durability.name()
                ))
                .hint("Use `relaxed`, or an engine that stores on disk."));
        }
        let mut tables = self
            .tables
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        for op in ops {
            tables.apply(op);
        }
        Ok(Durability::Relaxed)
    }

    fn sync(&self) -> Result<Durability> {
        Ok(Durability::Relaxed)
    }

    fn make_room(&self, _bytes: u64) -> Result<()> {
        // `apply` never asks for it.
        Ok(())
    }

    fn stats(&self) -> Result<EngineStats> {
        Ok(reclaim::stats())
    }

    fn reclaim(&self, _bytes_max: u64) -> Result<Reclaimed> {
        Ok(reclaim::reclaim())
    }
}

impl fmt::Debug for MemoryEngine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("MemoryEngine").finish_non_exhaustive()
    }
}

//! An engine around an engine that counts what is written to each table, and the rows that are read.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use durum_core::Result;
use durum_core::engine::{
    Backend, Capabilities, Compact, Cursor, Durability, Engine, EngineSnapshot, EngineStats, Key,
    Op, OptionSpec, Options, Reclaimed, Table,
};

/// What went through an engine since it was opened.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    written: [AtomicU64; Table::ALL.len()],
    reads: AtomicU64,
}

impl Counts {
    /// Rows that were read: looked up, or stepped over by a cursor.
    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Bytes of the keys and values of all operations.
    pub(crate) fn bytes(&self) -> u64 {
        self.sum(|_| true)
    }

    /// Of these, what a store without a collector would write as well.
    pub(crate) fn bytes_without_collector(&self) -> u64 {
        use Table::{Changes, Dictionaries, Meta, Objects, Recent};
        self.sum(|table| matches!(table, Objects | Changes | Meta | Recent | Dictionaries))
    }

    fn sum(&self, counts: impl Fn(Table) -> bool) -> u64 {
        let tables = Table::ALL.iter().zip(&self.written);
        let counted = tables.filter(|(table, _)| counts(**table));
        counted
            .map(|(_, bytes)| bytes.load(Ordering::Relaxed))
            .sum()
    }

    fn read(&self) {
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    fn wrote(&self, op: &Op<'_>) {
        let (table, key) = op.row();
        let value = match op {
            Op::Put { value, .. } => value.len(),
            Op::Delete { .. } => 0,
        };
        if let Some(bytes) = self.written.get(table.index()) {
            let length = key.to_bytes(table).as_ref().len() + value;
            bytes.fetch_add(length as u64, Ordering::Relaxed);
        }
    }
}

/// Opens engines that count.
#[derive(Debug)]
pub(crate) struct CountingBackend {
    pub(crate) inner: Arc<dyn Backend>,
    pub(crate) counts: Arc<Counts>,
}

impl Backend for CountingBackend {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn options(&self) -> &'static [OptionSpec] {
        self.inner.options()
    }

    fn open(&self, dir: &Path, options: &Options) -> Result<Box<dyn Engine>> {
        Ok(Box::new(CountingEngine {
            inner: self.inner.open(dir, options)?,
            counts: self.counts.clone(),
        }))
    }
}

#[derive(Debug)]
struct CountingEngine {
    inner: Box<dyn Engine>,
    counts: Arc<Counts>,
}

impl Engine for CountingEngine {
    fn snapshot(&self) -> Result<Box<dyn EngineSnapshot>> {
        Ok(Box::new(CountingSnapshot {
            inner: self.inner.snapshot()?,
            counts: self.counts.clone(),
        }))
    }

    fn apply(&self, ops: &[Op<'_>], durability: Durability) -> Result<Durability> {
        let achieved = self.inner.apply(ops, durability)?;
        ops.iter().for_each(|op| self.counts.wrote(op));
        Ok(achieved)
    }

    fn sync(&self) -> Result<Durability> {
        self.inner.sync()
    }

    fn make_room(&self, bytes: u64) -> Result<()> {
        self.inner.make_room(bytes)
    }

    fn stats(&self) -> Result<EngineStats> {
        self.inner.stats()
    }

    fn reclaim(&self, bytes_max: u64) -> Result<Reclaimed> {
        self.inner.reclaim(bytes_max)
    }

    fn bulk_bytes(&self) -> usize {
        self.inner.bulk_bytes()
    }

    fn bulk_durability(&self) -> Durability {
        self.inner.bulk_durability()
    }

    fn begin_bulk(&self, tables: &[Table]) -> Result<()> {
        self.inner.begin_bulk(tables)
    }

    fn end_bulk(&self, tables: &[Table], check: &dyn Fn() -> Result<()>) -> Result<()> {
        self.inner.end_bulk(tables, check)
    }

    fn compact(&self) -> Option<&dyn Compact> {
        self.inner.compact()
    }
}

struct CountingSnapshot {
    inner: Box<dyn EngineSnapshot>,
    counts: Arc<Counts>,
}

impl EngineSnapshot for CountingSnapshot {
    fn get(&self, table: Table, key: Key, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        self.counts.read();
        self.inner.get(table, key, visit)
    }

    fn cursor<'a>(&'a self, table: Table, from: Key) -> Result<Box<dyn Cursor + 'a>> {
        Ok(Box::new(CountingCursor {
            inner: self.inner.cursor(table, from)?,
            counts: &self.counts,
        }))
    }
}

struct CountingCursor<'a> {
    inner: Box<dyn Cursor + 'a>,
    counts: &'a Counts,
}

impl Cursor for CountingCursor<'_> {
    fn next(&mut self) -> Result<Option<(Key, &[u8])>> {
        self.counts.read();
        self.inner.next()
    }
}

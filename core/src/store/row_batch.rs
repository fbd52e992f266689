//! Writing any number of rows below the commits, in batches of the size that the engine prefers.

use super::local::Shared;
use super::row_buffer::RowBuffer;
use super::table_rows::TableWalk;
use super::writer::Writer;
use crate::engine::{Durability, Key, Table};
use crate::error::Result;
use crate::watch::{Steps, Watch};

impl Shared {
    /// What a row counts in a batch of many small ones.
    pub(super) fn row_bytes(&self, value: Option<&[u8]>) -> usize {
        self.engine.bulk_row_bytes() + value.map_or(0, <[u8]>::len)
    }

    /// The durability of batches that nobody waits for. At `Process` an engine hands its writes to the
    /// system batch by batch; below it they may pile up in memory where the disk is slower, unless the engine
    /// says that they do not.
    pub(super) fn bulk_durability(&self) -> Result<Durability> {
        let best = self.capabilities.durability.iter().max().copied();
        let wanted = self.engine.bulk_durability();
        self.offered_durability(wanted.min(best.unwrap_or_default()))
    }
}

/// Gathers rows, each of which is named once, and writes them.
pub(super) struct RowBatch<'a> {
    shared: &'a Shared,
    writer: &'a mut Writer,
    durability: Durability,
    rows: RowBuffer,
    bytes: usize,
    bytes_max: usize,
}

impl<'a> RowBatch<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        writer: &'a mut Writer,
        durability: Durability,
    ) -> RowBatch<'a> {
        RowBatch {
            shared,
            writer,
            durability,
            rows: RowBuffer::default(),
            bytes: 0,
            bytes_max: shared.engine.bulk_bytes(),
        }
    }

    /// Puts the row, or deletes it where there is no value.
    pub(super) fn push(&mut self, table: Table, key: Key, value: Option<&[u8]>) -> Result<()> {
        self.bytes += self.shared.row_bytes(value);
        self.rows.push(table, key, value);
        if self.bytes < self.bytes_max {
            return Ok(());
        }
        self.flush()
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        self.rows.sort();
        let (bytes, ops) = (self.bytes as u64, self.rows.ops());
        self.shared
            .apply_ops(self.writer, &ops, bytes, self.durability)?;
        drop(ops);
        self.rows.clear(self.bytes_max);
        self.bytes = 0;
        Ok(())
    }

    /// Deletes all rows of a table of which the key is not `kept`.
    pub(super) fn clear(
        &mut self,
        table: Table,
        watch: &Watch<'_>,
        kept: impl Fn(Key) -> bool,
    ) -> Result<()> {
        let (mut walk, mut steps) = (TableWalk::new(table), Steps::new(watch));
        while let Some((key, value)) = walk.next(self.shared)? {
            if !kept(key) {
                self.push(table, key, None)?;
            }
            steps.other(value.len())?;
        }
        self.flush()
    }
}

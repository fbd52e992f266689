//! Rows that are gathered, to be given to the engine together.

use std::ops::Range;

use crate::engine::{Key, Op, Table};

/// Rows of any tables, to be put or to be deleted.
#[derive(Debug, Default)]
pub(super) struct RowBuffer {
    rows: Vec<Row>,
    /// Their values, one behind the other: to allocate each took a tenth of an import's time.
    values: Vec<u8>,
}

#[derive(Debug)]
struct Row {
    table: Table,
    key: Key,
    /// Where its value lies; a row without one is to be deleted.
    value: Option<Range<usize>>,
}

impl RowBuffer {
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Puts the row, or deletes it where there is no value.
    pub(super) fn push(&mut self, table: Table, key: Key, value: Option<&[u8]>) {
        let value = value.map(|value| {
            let start = self.values.len();
            self.values.extend_from_slice(value);
            start..self.values.len()
        });
        self.rows.push(Row { table, key, value });
    }

    /// Puts the row with what `encode` appends as its value. Returns the length of that.
    pub(super) fn push_encoded(
        &mut self,
        table: Table,
        key: Key,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> usize {
        let start = self.values.len();
        encode(&mut self.values);
        let value = start..self.values.len();
        let length = value.len();
        let value = Some(value);
        self.rows.push(Row { table, key, value });
        length
    }

    /// Takes the last row back.
    pub(super) fn pop(&mut self) {
        if let Some(Row {
            value: Some(it), ..
        }) = self.rows.pop()
        {
            self.values.truncate(it.start);
        }
    }

    /// Brings the rows into the order of tables and keys, as engines like them.
    pub(super) fn sort(&mut self) {
        // Not the unstable one: this one finds what ascends already, which is nearly all.
        self.rows.sort_by_key(|row| (row.table, row.key));
    }

    pub(super) fn ops(&self) -> Vec<Op<'_>> {
        let ops = self.rows.iter().map(|row| match &row.value {
            Some(value) => Op::Put {
                table: row.table,
                key: row.key,
                value: self.values.get(value.clone()).unwrap_or_default(),
            },
            None => Op::Delete {
                table: row.table,
                key: row.key,
            },
        });
        ops.collect()
    }

    /// Forgets all rows, and keeps memory for values of up to `kept_bytes`.
    pub(super) fn clear(&mut self, kept_bytes: usize) {
        self.rows.clear();
        self.values.clear();
        self.values.shrink_to(kept_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_out_in_order_with_their_values() {
        let mut rows = RowBuffer::default();
        rows.push(Table::Orphans, Key::from(1), Some(b"orphan"));
        rows.push(Table::Objects, Key::from(9), None);
        let length = rows.push_encoded(Table::Objects, Key::from(3), |out| out.extend([1, 2]));
        rows.push(Table::Objects, Key::from(4), Some(b"too much"));
        rows.pop();
        rows.push(Table::Objects, Key::from(5), Some(b""));
        assert_eq!((length, rows.is_empty()), (2, false));
        rows.sort();
        let found: Vec<_> = rows.ops().iter().map(|op| format!("{op:?}")).collect();
        let put = |table, key, value| Op::Put { table, key, value };
        let expected = [
            put(Table::Objects, Key::from(3), &[1, 2]),
            put(Table::Objects, Key::from(5), &[]),
            Op::Delete {
                table: Table::Objects,
                key: Key::from(9),
            },
            put(Table::Orphans, Key::from(1), b"orphan"),
        ];
        assert_eq!(found, expected.map(|op| format!("{op:?}")));
        rows.clear(0);
        assert!(rows.is_empty() && rows.ops().is_empty());
    }
}

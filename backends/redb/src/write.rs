//! Batches of changes in a write transaction.

use std::ops::Bound;

use durum_core::engine::{Key, Op, Table};
use redb::{ReadableTable as _, WriteTransaction};

use crate::base::{Rows, pair, single};

/// Makes all changes, which come sorted by table and key.
pub(crate) fn write(transaction: &WriteTransaction, ops: &[Op<'_>]) -> Result<(), redb::Error> {
    for run in ops.chunk_by(|left, right| left.row().0 == right.row().0) {
        let Some(table) = run.first().map(|op| op.row().0) else {
            continue;
        };
        match table.is_pair() {
            false => write_rows(transaction, single(table.name()), table, run)?,
            true => write_rows(transaction, pair(table.name()), table, run)?,
        }
    }
    Ok(())
}

fn write_rows<const N: usize>(
    transaction: &WriteTransaction,
    rows: Rows<N>,
    table: Table,
    ops: &[Op<'_>],
) -> Result<(), redb::Error> {
    let mut rows = transaction.open_table(rows)?;
    let last = rows.last()?.map(|(key, _)| *key.value());
    let within = ops.partition_point(|op| {
        let key = op.row().1.to_bytes(table);
        last.is_some_and(|last| key.as_ref() <= last.as_slice())
    });
    let (within, behind) = ops.split_at(within);
    for op in within {
        match *op {
            Op::Put { key, value, .. } => drop(rows.insert(&array(table, key), value)?),
            Op::Delete { key, .. } => drop(rows.remove(&array(table, key))?),
        }
    }
    // Behind the last row there is nothing to delete, and a cursor fills pages without splitting them.
    if behind.iter().any(|op| matches!(op, Op::Put { .. })) {
        let mut end = rows.upper_bound_mut(Bound::<&[u8; N]>::Unbounded)?;
        for op in behind {
            if let Op::Put { key, value, .. } = *op {
                end.insert_before(&array(table, key), value)?;
            }
        }
        end.close()?;
    }
    Ok(())
}

/// The key as bytes that sort as the keys do; `N` is the length that the table's keys have.
pub(crate) fn array<const N: usize>(table: Table, key: Key) -> [u8; N] {
    let bytes = key.to_bytes(table);
    let mut array = [0; N];
    array
        .iter_mut()
        .zip(bytes.as_ref())
        .for_each(|(to, from)| *to = *from);
    array
}

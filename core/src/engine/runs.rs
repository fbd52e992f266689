//! Large batches of new rows: what engines have in common that write these as tables of their own.
//!
//! Engines with sorted tables can take such a table in at once, past their log and what they keep in memory.
//! It is there as a whole or not at all, but a batch has rows of several tables of a store, of which some
//! have to be in the log. So that all of a batch is there or nothing:
//! 1. A batch in the log says which ranges of keys will be filled: [`encode_runs`]. They are empty. It is synced.
//! 2. The ranges are filled, one after the other.
//! 3. A batch in the log brings the other rows, and takes back what the first one said.
//!
//! An engine that is opened and finds what the first one said empties the ranges: [`decode_runs`].

use std::ops::RangeInclusive;

use super::{Key, Op, Table};
use crate::error::Result;

/// A range of keys: its first and its last row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Whose rows they are.
    pub table: Table,
    /// The first one's key.
    pub first: Key,
    /// The last one's.
    pub last: Key,
}

impl Run {
    /// The keys in an engine that keeps all tables in one; see [`Key::to_row_bytes`].
    pub fn row_keys(&self) -> RangeInclusive<Vec<u8>> {
        let bytes = |key: Key| key.to_row_bytes(self.table).as_ref().to_vec();
        bytes(self.first)..=bytes(self.last)
    }

    /// The range that rows of one table take; `None` where one of them is deleted.
    fn of(ops: &[Op<'_>]) -> Option<Run> {
        let ((table, first), (_, last)) = (ops.first()?.row(), ops.last()?.row());
        let are_put = ops.iter().all(|op| matches!(op, Op::Put { .. }));
        are_put.then_some(Run { table, first, last })
    }
}

/// A batch of which some is to be written as tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    /// What is, each of one table.
    pub runs: Vec<(Run, &'a [Op<'a>])>,
    /// What is not.
    pub rest: Vec<Op<'a>>,
}

impl<'a> Parts<'a> {
    /// Splits a batch: at least `bytes_min` bytes of rows of a table are written as one, where `is_empty` says
    /// that there are none in their range. `None` where there is nothing of that sort. [`Table::Meta`] is
    /// never among it: it says how far a batch is.
    ///
    /// # Errors
    /// Those of `is_empty`.
    pub fn split(
        ops: &'a [Op<'a>],
        bytes_min: u64,
        mut is_empty: impl FnMut(&Run) -> Result<bool>,
    ) -> Result<Option<Parts<'a>>> {
        if bytes(ops) < bytes_min {
            return Ok(None);
        }
        let (mut runs, mut rest) = (Vec::new(), Vec::new());
        for ops in ops.chunk_by(|left, right| left.row().0 == right.row().0) {
            let run = Run::of(ops).filter(|run| run.table != Table::Meta);
            match run.filter(|_| bytes(ops) >= bytes_min) {
                Some(run) if is_empty(&run)? => runs.push((run, ops)),
                _ => rest.extend(ops),
            }
        }
        Ok((!runs.is_empty()).then_some(Parts { runs, rest }))
    }

    /// The ranges alone.
    pub fn ranges(&self) -> Vec<Run> {
        self.runs.iter().map(|(run, _)| *run).collect()
    }
}

fn bytes(ops: &[Op<'_>]) -> u64 {
    let bytes = ops.iter().map(|op| match op {
        Op::Put { value, .. } => value.len() as u64 + ROW_BYTES,
        Op::Delete { .. } => 0,
    });
    bytes.sum()
}

/// About what a row takes beside its value.
const ROW_BYTES: u64 = 16;

/// Bytes of a run: the number of its table, and two keys of two numbers.
const RUN_BYTES: usize = 33;

/// The ranges as bytes.
pub fn encode_runs(runs: &[Run]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(runs.len() * RUN_BYTES);
    for run in runs {
        bytes.push(run.table.index() as u8);
        for key in [run.first, run.last] {
            bytes.extend(key.first.to_be_bytes());
            bytes.extend(key.second.to_be_bytes());
        }
    }
    bytes
}

/// What [`encode_runs`] wrote; `None` where it is not that.
pub fn decode_runs(bytes: &[u8]) -> Option<Vec<Run>> {
    let (runs, rest) = bytes.as_chunks::<RUN_BYTES>();
    let run = |bytes: &[u8; RUN_BYTES]| {
        let (table, keys) = bytes.split_first()?;
        let (numbers, _) = keys.as_chunks::<8>();
        let &[first, first_second, last, last_second] = numbers else {
            return None;
        };
        let key = |first, second| Key::pair(u64::from_be_bytes(first), u64::from_be_bytes(second));
        Some(Run {
            table: Table::from_index(usize::from(*table))?,
            first: key(first, first_second),
            last: key(last, last_second),
        })
    };
    let runs: Option<Vec<Run>> = runs.iter().map(run).collect();
    runs.filter(|_| rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(table: Table, first: Key, last: Key) -> Run {
        Run { table, first, last }
    }

    #[test]
    fn ranges_are_read_as_they_were_written() {
        let runs = vec![
            run(Table::Objects, Key::MIN, Key::from(u64::MAX >> 1)),
            run(Table::Superseded, Key::pair(3, 4), Key::pair(5, 6)),
        ];
        assert_eq!(decode_runs(&encode_runs(&runs)), Some(runs.clone()));
        assert_eq!(decode_runs(&encode_runs(&runs)[1..]), None);
        let mut unknown = encode_runs(&runs);
        unknown[0] = 99;
        assert_eq!(decode_runs(&unknown), None);
    }

    #[test]
    fn what_is_much_and_new_is_split_off() {
        let put = |table, key, value| {
            let key = Key::from(key);
            Op::Put { table, key, value }
        };
        let value = [1; 84];
        let delete = Op::Delete {
            table: Table::Orphans,
            key: Key::from(3),
        };
        let ops = [
            put(Table::Objects, 1, &value),
            put(Table::Objects, 9, &value),
            put(Table::Referrers, 5, &value[..20]),
            put(Table::Orphans, 2, &value),
            delete,
            put(Table::Orphans, 4, &value),
            put(Table::Irregular, 2, &value),
            put(Table::Irregular, 3, &value),
            put(Table::Meta, 1, &value),
            put(Table::Meta, 2, &value),
        ];
        let is_empty = |run: &Run| Ok(run.table != Table::Irregular);
        let parts = Parts::split(&ops, 200, is_empty).unwrap().unwrap();
        let objects = run(Table::Objects, Key::from(1), Key::from(9));
        assert_eq!(parts.runs, [(objects, &ops[..2])]);
        assert_eq!(parts.ranges(), [objects]);
        assert_eq!(parts.rest, ops[2..]);
        assert_eq!(Parts::split(&ops, 201, is_empty).unwrap(), None);
        let all = Parts::split(&ops, 36, is_empty).unwrap().unwrap();
        assert_eq!(all.runs.len(), 2);
    }
}

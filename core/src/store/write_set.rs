//! The rows that a group of commits is going to write, readable before they are written.

use std::collections::{BTreeMap, HashSet, VecDeque};

use crate::engine::{EngineSnapshot, Key, Op, Table};
use crate::error::Result;

/// Keys that are read ahead at most.
const AHEAD_MAX: usize = 64;

/// Keys that the engine has, read ahead for a walk.
struct Ahead {
    table: Table,
    /// All keys of the engine from here on that are not in `keys` come after them.
    from: Key,
    keys: VecDeque<Key>,
    /// So many were wanted; where the walk goes on, twice as many.
    wanted: usize,
}

/// Pending rows over an engine snapshot: reading sees them first.
pub(super) struct WriteSet {
    view: Option<Box<dyn EngineSnapshot>>,
    rows: BTreeMap<(Table, Key), Option<Vec<u8>>>,
    /// Pending rows of which the engine has none: when they are deleted again nothing is to be written.
    fresh: HashSet<(Table, Key)>,
    ahead: Option<Ahead>,
    /// Rows of objects, ascending, which are not read any more.
    records: Vec<(Key, Option<Vec<u8>>)>,
}

impl WriteSet {
    pub(super) fn new(view: Box<dyn EngineSnapshot>) -> WriteSet {
        WriteSet {
            view: Some(view),
            rows: BTreeMap::new(),
            fresh: HashSet::new(),
            ahead: None,
            records: Vec::new(),
        }
    }

    /// Calls `visit` with the row's value, if there is one, and says whether there was.
    pub(super) fn get(&self, table: Table, key: Key, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        match (self.rows.get(&(table, key)), &self.view) {
            (Some(Some(value)), _) => {
                visit(value);
                Ok(true)
            }
            (Some(None), _) | (None, None) => Ok(false),
            (None, Some(view)) => view.get(table, key, visit),
        }
    }

    /// Calls `visit` with the record that the engine has of an object, for a caller that verifies it, and says
    /// whether there was one.
    pub(super) fn get_record(&self, key: Key, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        match &self.view {
            Some(view) => view.get_unverified(Table::Objects, key, visit),
            None => Ok(false),
        }
    }

    pub(super) fn put(&mut self, table: Table, key: Key, value: Vec<u8>) {
        self.rows.insert((table, key), Some(value));
    }

    /// As [`WriteSet::put`], where there is no such row now.
    pub(super) fn put_new(&mut self, table: Table, key: Key, value: Vec<u8>) {
        // Where the engine has one a deletion of it is pending.
        if self.rows.insert((table, key), Some(value)).is_none() {
            self.fresh.insert((table, key));
        }
    }

    pub(super) fn delete(&mut self, table: Table, key: Key) {
        if self.fresh.remove(&(table, key)) {
            self.rows.remove(&(table, key));
        } else {
            self.rows.insert((table, key), None);
        }
    }

    /// Puts all rows of the table of objects that there are, ascending, or deletes those without a value;
    /// from here on only [`WriteSet::ops`] makes sense.
    pub(super) fn put_records(&mut self, records: Vec<(Key, Option<Vec<u8>>)>) {
        self.records = records;
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The first of the pending rows of `table` from `from` on.
    pub(super) fn next_pending(&self, table: Table, from: Key) -> Option<(Key, &Vec<u8>)> {
        self.rows
            .range((table, from)..)
            .take_while(|((found, _), _)| *found == table)
            .find_map(|((_, key), value)| Some((*key, value.as_ref()?)))
    }

    /// Whether there is a pending row.
    pub(super) fn is_pending(&self, table: Table, key: Key) -> bool {
        matches!(self.rows.get(&(table, key)), Some(Some(_)))
    }

    /// The first row of `table` from `from` on.
    pub(super) fn next(&self, table: Table, from: Key) -> Result<Option<(Key, Vec<u8>)>> {
        let pending = self.next_pending(table, from);
        let mut stored = None;
        if let Some(view) = &self.view {
            let mut cursor = view.cursor(table, from)?;
            while let Some((key, value)) = cursor.next()? {
                if pending.is_some_and(|(first, _)| first <= key) {
                    break;
                }
                if !self.rows.contains_key(&(table, key)) {
                    stored = Some((key, value.to_vec()));
                    break;
                }
            }
        }
        Ok(stored.or_else(|| pending.map(|(key, value)| (key, value.clone()))))
    }

    /// The first key of `table` from `from` on, for walks: engines open a cursor at some cost, so that from
    /// the second step on more is read than is asked for.
    pub(super) fn next_key(&mut self, table: Table, from: Key) -> Result<Option<Key>> {
        let pending = self.next_pending(table, from).map(|(key, _)| key);
        let (mut from, mut stored) = (from, None);
        while let Some(key) = self.next_stored(table, from)? {
            if !self.rows.contains_key(&(table, key)) {
                stored = Some(key);
                break;
            }
            match key.successor(table) {
                Some(next) => from = next,
                None => break,
            }
        }
        Ok(stored.into_iter().chain(pending).min())
    }

    fn next_stored(&mut self, table: Table, from: Key) -> Result<Option<Key>> {
        let Some(view) = &self.view else {
            return Ok(None);
        };
        let mut wanted = 1;
        if let Some(ahead) = &mut self.ahead
            && ahead.table == table
            && ahead.from <= from
        {
            while ahead.keys.front().is_some_and(|key| *key < from) {
                ahead.keys.pop_front();
            }
            if let Some(key) = ahead.keys.front() {
                ahead.from = from;
                return Ok(Some(*key));
            }
            if ahead.from.first == from.first {
                wanted = (ahead.wanted * 2).min(AHEAD_MAX);
            }
        }
        let mut keys = VecDeque::with_capacity(wanted);
        let mut cursor = view.cursor(table, from)?;
        while keys.len() < wanted
            && let Some((key, _)) = cursor.next()?
        {
            keys.push_back(key);
        }
        let first = keys.front().copied();
        self.ahead = Some(Ahead {
            table,
            from,
            keys,
            wanted,
        });
        Ok(first)
    }

    /// The engine snapshot underneath, without the pending rows.
    pub(super) fn view(&self) -> Option<&dyn EngineSnapshot> {
        self.view.as_deref()
    }

    /// Closes the engine snapshot; from here on only [`WriteSet::ops`] makes sense.
    pub(super) fn close_view(&mut self) {
        self.view = None;
    }

    /// All rows that are to be written; those of objects are the first table's.
    fn all(&self) -> impl Iterator<Item = ((Table, Key), Option<&Vec<u8>>)> {
        let records = self.records.iter();
        let records = records.map(|(key, value)| ((Table::Objects, *key), value.as_ref()));
        let rows = self.rows.iter();
        records.chain(rows.map(|(row, value)| (*row, value.as_ref())))
    }

    /// The pending rows as operations in the order that engines expect.
    pub(super) fn ops(&self) -> Vec<Op<'_>> {
        let mut ops = Vec::with_capacity(self.records.len() + self.rows.len());
        ops.extend(self.all().map(|((table, key), value)| match value {
            Some(value) => Op::Put { table, key, value },
            None => Op::Delete { table, key },
        }));
        ops
    }

    /// The bytes of all pending values, for making room.
    pub(super) fn value_bytes(&self) -> u64 {
        let values = self.all().filter_map(|(_, value)| value);
        values.map(|value| value.len() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Cursor;

    /// An engine's view with one row in the queue.
    struct One;

    impl EngineSnapshot for One {
        fn get(&self, _: Table, key: Key, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
            let found = key == Key::from(7);
            if found {
                visit(b"stored");
            }
            Ok(found)
        }

        fn cursor<'a>(&'a self, _: Table, from: Key) -> Result<Box<dyn Cursor + 'a>> {
            Ok(Box::new(Rest(from <= Key::from(7))))
        }
    }

    struct Rest(bool);

    impl Cursor for Rest {
        fn next(&mut self) -> Result<Option<(Key, &[u8])>> {
            let more = std::mem::take(&mut self.0);
            Ok(more.then_some((Key::from(7), b"stored")))
        }
    }

    #[test]
    fn a_row_that_comes_and_goes_is_not_written() {
        let table = Table::Orphans;
        let (stored, other) = (Key::from(7), Key::from(9));
        let mut rows = WriteSet::new(Box::new(One));
        rows.put_new(table, other, b"new".to_vec());
        assert!(rows.get(table, other, &mut |_| {}).unwrap());
        rows.delete(table, other);
        assert!(rows.is_empty());
        assert!(!rows.get(table, other, &mut |_| {}).unwrap());

        // One that the engine has is deleted, however often it comes again before that.
        rows.delete(table, stored);
        rows.put_new(table, stored, b"new".to_vec());
        assert_eq!(
            rows.next(table, Key::MIN).unwrap(),
            Some((stored, b"new".to_vec()))
        );
        rows.delete(table, stored);
        assert_eq!(rows.ops(), [Op::Delete { table, key: stored }]);

        // A walk sees the same.
        rows.put_new(table, other, b"new".to_vec());
        assert_eq!(rows.next_key(table, Key::MIN).unwrap(), Some(other));
        assert_eq!(rows.next_key(table, Key::from(10)).unwrap(), None);
        rows.put(table, stored, b"new".to_vec());
        assert_eq!(rows.next_key(table, Key::MIN).unwrap(), Some(stored));
        rows.delete(table, other);
        rows.delete(table, stored);
        assert_eq!(rows.next_key(table, Key::MIN).unwrap(), None);

        // What is put again after it has gone is new once more.
        rows.put_new(table, other, b"new".to_vec());
        rows.put(table, other, b"newer".to_vec());
        rows.delete(table, other);
        assert_eq!(rows.ops().len(), 1);
        assert_eq!(rows.next(table, Key::MIN).unwrap(), None);
    }
}

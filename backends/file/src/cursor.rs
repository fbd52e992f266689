//! Walking over a table: recent changes and the index side by side.

use std::borrow::Cow;

use durum_core::Result;
use durum_core::engine::{Cursor, Key, Table};

use crate::delta::DeltaIter;
use crate::error::of_row;
use crate::index::TreeCursor;
use crate::log::{Entry, Segment, parse_rest, value_of};
use crate::state::State;

/// A cursor over a table of a state.
#[derive(Debug)]
pub(crate) struct FileCursor<'a> {
    state: &'a State,
    table: Table,
    recent: Option<DeltaIter<'a>>,
    tree: TreeCursor<'a>,
    next_recent: Option<(Key, u64)>,
    next_tree: Option<(Key, u64)>,
    /// The segment of the last row, where the next one mostly is, too.
    segment: Option<&'a Segment>,
    /// The bytes of the current row's operation.
    bytes: Cow<'a, [u8]>,
}

impl<'a> FileCursor<'a> {
    /// A cursor over the rows from `from` on.
    pub(crate) fn new(state: &'a State, table: Table, from: Key) -> Result<FileCursor<'a>> {
        let mut recent = state
            .deltas
            .get(table.index())
            .map(|delta| delta.iter_from(from));
        let mut tree = state.base.cursor(table.index(), from)?;
        Ok(FileCursor {
            state,
            table,
            next_recent: recent.as_mut().and_then(Iterator::next),
            next_tree: tree.next()?,
            recent,
            tree,
            segment: None,
            bytes: Cow::Borrowed(&[]),
        })
    }

    /// Shows the rows that are left, for as long as `visit` says that it goes on; whether it went on to the
    /// end. Values are not verified.
    pub(crate) fn walk(&mut self, visit: &mut dyn FnMut(Key, &[u8]) -> bool) -> Result<bool> {
        let table = self.table;
        while let Some((key, entry)) = self.next_place()? {
            let named = |error| of_row(error, table, key);
            let segment = self.segment_of(entry).map_err(named)?;
            let more = segment.with_unverified(entry, (table, key), |value| visit(key, value));
            if !more.map_err(named)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The segment in which `entry` lies.
    #[inline]
    fn segment_of(&mut self, entry: Entry) -> Result<&'a Segment> {
        match self.segment {
            Some(last) if last.number == entry.segment() => Ok(last),
            _ => Ok(self.segment.insert(self.state.segment(entry)?)),
        }
    }

    /// The next row's key and place. A recent change hides what the index says.
    #[inline]
    pub(crate) fn next_place(&mut self) -> Result<Option<(Key, Entry)>> {
        loop {
            let recent_first = match (&self.next_recent, &self.next_tree) {
                (None, None) => return Ok(None),
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (Some(recent), Some(tree)) => recent.0 <= tree.0,
            };
            let (key, entry) = if recent_first {
                let next = self.recent.as_mut().and_then(Iterator::next);
                let taken = std::mem::replace(&mut self.next_recent, next);
                let Some(taken) = taken else { return Ok(None) };
                if self.next_tree.is_some_and(|tree| tree.0 == taken.0) {
                    self.next_tree = self.tree.next()?;
                }
                taken
            } else {
                let next = self.tree.next()?;
                let taken = std::mem::replace(&mut self.next_tree, next);
                let Some(taken) = taken else { return Ok(None) };
                taken
            };
            if entry != Entry::GONE.0 {
                return Ok(Some((key, Entry(entry))));
            }
        }
    }
}

impl Cursor for FileCursor<'_> {
    fn next(&mut self) -> Result<Option<(Key, &[u8])>> {
        let Some((key, entry)) = self.next_place()? else {
            return Ok(None);
        };
        let table = self.table;
        let named = |error| of_row(error, table, key);
        let segment = self.segment_of(entry).map_err(named)?;
        let (bytes, front) = segment.op_bytes(entry).map_err(named)?;
        self.bytes = bytes;
        match parse_rest(&self.bytes, &front).and_then(|op| value_of(&op, table, key)) {
            Some(value) => Ok(Some((key, value))),
            None => Err(named(segment.damaged(entry))),
        }
    }
}

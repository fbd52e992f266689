//! What readers see: the newest state, or the state at the time of a snapshot. It never changes.

use std::sync::Arc;

use durum_core::Result;
use durum_core::engine::{Key, Table};

use crate::delta::{Delta, ENTRY_BYTES};
use crate::error::log_damage;
use crate::hold::Hold;
use crate::index::Base;
use crate::log::{Entry, Segment, value_of};

/// The rows' places: recent ones in memory, the others in the index; and the segments they are in.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// Recent changes of each table.
    pub(crate) deltas: [Delta; TABLES],
    /// The index.
    pub(crate) base: Arc<Base>,
    /// The log's segments, by number.
    pub(crate) segments: Arc<Vec<Arc<Segment>>>,
    /// Keeps the directory from being opened again while anything maps its files.
    pub(crate) hold: Option<Arc<Hold>>,
}

impl State {
    /// Where the row's newest operation lies.
    #[inline]
    pub(crate) fn find(&self, table: Table, key: Key) -> Result<Option<Entry>> {
        let recent = self
            .deltas
            .get(table.index())
            .and_then(|delta| delta.get(key));
        let entry = match recent {
            Some(entry) => Some(entry),
            None => self.base.get(table.index(), key)?,
        };
        Ok(entry.map(Entry).filter(|entry| *entry != Entry::GONE))
    }

    /// As [`State::find`], for who writes: a row behind all that there are, as each of an import is, is not
    /// looked for.
    pub(crate) fn find_prior(&self, table: Table, key: Key) -> Result<Option<Entry>> {
        let behind = self.is_behind_recent(table, key)
            && self.base.last(table.index())?.is_none_or(|last| last < key);
        match behind {
            true => Ok(None),
            false => self.find(table, key),
        }
    }

    /// Whether the row is behind all recent changes of its table.
    pub(crate) fn is_behind_recent(&self, table: Table, key: Key) -> bool {
        let delta = self.deltas.get(table.index());
        let last = delta.and_then(Delta::last);
        last.is_none_or(|last| last < key)
    }

    /// Notes the places of rows that ascend, all of them behind the recent changes of their table.
    pub(crate) fn append(&mut self, table: Table, entries: &[(Key, u64)]) {
        if let Some(delta) = self.deltas.get_mut(table.index()) {
            delta.append(entries);
        }
    }

    /// Notes a row's newest place.
    pub(crate) fn set(&mut self, table: Table, key: Key, entry: Entry) {
        if let Some(delta) = self.deltas.get_mut(table.index()) {
            delta.insert(key, entry.0);
        }
    }

    /// The segment in which `entry` lies.
    ///
    /// # Errors
    /// `Damaged` where there is no such segment.
    #[inline]
    pub(crate) fn segment(&self, entry: Entry) -> Result<&Arc<Segment>> {
        let number = entry.segment();
        let at = self
            .segments
            .binary_search_by_key(&number, |segment| segment.number);
        at.ok()
            .and_then(|at| self.segments.get(at))
            .ok_or_else(|| log_damage("read a record", format!("segment {number} is missing")))
    }

    /// Calls `visit` with the value of the row, whose place is `entry`.
    #[inline]
    pub(crate) fn read(
        &self,
        table: Table,
        key: Key,
        entry: Entry,
        visit: &mut dyn FnMut(&[u8]),
    ) -> Result<()> {
        let segment = self.segment(entry)?;
        let found = segment.with_op(entry, |op| {
            value_of(op, table, key).map(&mut *visit).is_some()
        })?;
        if found {
            return Ok(());
        }
        Err(segment.damaged(entry))
    }

    /// About the memory that recent changes take, in bytes.
    pub(crate) fn delta_bytes(&self) -> u64 {
        let count: usize = self.deltas.iter().map(Delta::count).sum();
        count as u64 * ENTRY_BYTES
    }
}

/// The number of tables.
pub(crate) const TABLES: usize = Table::ALL.len();

//! Reading.

use std::sync::Arc;

use durum_core::Result;
use durum_core::engine::{Cursor, EngineSnapshot, Key, Table};

use crate::cursor::FileCursor;
use crate::error::of_row;
use crate::state::State;

/// A state that is kept. It needs no lock, and holds the segments and index pages that it is in.
#[derive(Debug)]
pub(crate) struct FileSnapshot {
    state: Arc<State>,
}

impl FileSnapshot {
    /// A snapshot of `state`.
    pub(crate) fn new(state: Arc<State>) -> FileSnapshot {
        FileSnapshot { state }
    }
}

impl EngineSnapshot for FileSnapshot {
    fn get(&self, table: Table, key: Key, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let Some(entry) = self.state.find(table, key)? else {
            return Ok(false);
        };
        let read = self.state.read(table, key, entry, visit);
        read.map_err(|error| of_row(error, table, key))?;
        Ok(true)
    }

    fn get_unverified(&self, table: Table, key: Key, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let Some(entry) = self.state.find(table, key)? else {
            return Ok(false);
        };
        let segment = self.state.segment(entry);
        let read = segment.and_then(|it| it.with_unverified(entry, (table, key), visit));
        read.map_err(|error| of_row(error, table, key))?;
        Ok(true)
    }

    fn verify(&self, table: Table, key: Key) -> Result<()> {
        self.get(table, key, &mut |_| {}).map(drop)
    }

    fn walk(
        &self,
        table: Table,
        from: Key,
        visit: &mut dyn FnMut(Key, &[u8]) -> bool,
    ) -> Result<bool> {
        FileCursor::new(&self.state, table, from)?.walk(visit)
    }

    fn cursor<'a>(&'a self, table: Table, from: Key) -> Result<Box<dyn Cursor + 'a>> {
        Ok(Box::new(FileCursor::new(&self.state, table, from)?))
    }
}

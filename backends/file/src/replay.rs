//! Taking the log's operations into the index, at open.

use std::sync::Arc;

use durum_core::engine::{Key, Table};
use durum_core::{IoResultExt, Result};

use crate::accounts::Accounts;
use crate::bytes::u32_at;
use crate::delta::Delta;
use crate::index::{Index, TREES};
use crate::log::{Content, Entry, ParsedOp, Position, Visitor};
use crate::seam::File;
use crate::state::State;

/// A replay under way. Its memory is bounded as that of writing is.
#[derive(Debug)]
pub(crate) struct Replay {
    pub(crate) state: State,
    pub(crate) index: Index,
    pub(crate) accounts: Accounts,
    checkpoint_bytes: u64,
    /// The segment that is read.
    file: Option<Arc<dyn File>>,
}

impl Replay {
    /// A replay that goes on from `state`.
    pub(crate) fn new(
        state: State,
        index: Index,
        accounts: Accounts,
        checkpoint_bytes: u64,
    ) -> Replay {
        Replay {
            state,
            index,
            accounts,
            checkpoint_bytes,
            file: None,
        }
    }

    /// Says which segment comes now.
    pub(crate) fn begin(&mut self, file: Arc<dyn File>) {
        self.file = Some(file);
    }

    fn put(&mut self, table: Table, key: Key, entry: Entry) -> Result<()> {
        let prior = self.state.find(table, key)?;
        if let Some(prior) = prior {
            self.accounts.subtract(prior);
        }
        if entry != Entry::GONE {
            self.accounts.add(entry);
        }
        if entry != Entry::GONE || prior.is_some() {
            self.state.set(table, key, entry);
        }
        Ok(())
    }

    /// Removes rows whose newest operation would else be one that is dead. Only a rebuild meets such:
    /// the operation that superseded it has been cleaned away.
    fn dead(&mut self, segment: u32, offsets: &[u8]) -> Result<()> {
        if !self.accounts.contains(segment) {
            return Ok(());
        }
        for at in (0..offsets.len()).step_by(4) {
            let Some(offset) = u32_at(offsets, at) else {
                return Ok(());
            };
            let place = Entry::new(segment, offset, DEAD_BYTES_MAX);
            let row = self.state.segment(place)?.row_at(place)?;
            let Some((table, key)) = row else { continue };
            let newest = self.state.find(table, key)?;
            if newest.is_some_and(|newest| newest.same_place(place)) {
                self.put(table, key, Entry::GONE)?;
            }
        }
        Ok(())
    }
}

impl Visitor for Replay {
    fn op(&mut self, entry: Entry, op: &ParsedOp<'_>) -> Result<()> {
        match op.content {
            Content::Put(table, key, _) => self.put(table, key, entry),
            Content::Delete(table, key) => self.put(table, key, Entry::GONE),
            Content::Dead(segment, offsets) => {
                self.accounts.add_dead(entry, segment);
                self.dead(segment, offsets)
            }
        }
    }

    fn frame_end(&mut self, at: Position) -> Result<()> {
        if self.state.delta_bytes() < self.checkpoint_bytes {
            return Ok(());
        }
        if let Some(file) = &self.file {
            file.sync().during("open the log", "log")?;
        }
        self.accounts.set_used(at.segment, at.offset);
        let mut changes: [Vec<(Key, u64)>; TREES] = std::array::from_fn(|_| Vec::new());
        for (changes, delta) in changes.iter_mut().zip(&self.state.deltas) {
            changes.extend(delta.iter_from(Key::MIN));
        }
        self.accounts.changes(&mut changes);
        self.index.checkpoint(&changes, at)?;
        self.accounts.saved();
        self.state.base = Arc::clone(self.index.base());
        self.state.deltas = std::array::from_fn(|_| Delta::default());
        Ok(())
    }
}

/// The length of a dead operation is not known; it is read as far as its segment goes, up to this.
const DEAD_BYTES_MAX: u64 = 2 << 30;

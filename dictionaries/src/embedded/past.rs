//! The revisions of a dictionary that are not its newest.

use std::ops::Bound;

use durum_core::Result;
use durum_objects::{BTree, Ref, Transaction};
use serde::{Deserialize, Serialize};

use super::layout::Kept;
use crate::clock::RevisionId;

/// How many are named in the dictionary itself.
const RECENT_MAX: usize = 32;

/// Entries per node of the tree for the others: most histories are short, and a node is written anew for each change.
const NODE_SIZE: u32 = 32;

/// The revisions but the newest: the later ones in a list, the others in a tree.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Past {
    /// How many there are in all.
    pub(super) count: u64,
    /// Ascending, and later than all in the tree.
    recent: Vec<(RevisionId, Ref<Kept>)>,
    older: Option<BTree<RevisionId, Ref<Kept>>>,
}

impl Past {
    /// The revision of this name.
    pub(super) fn find(&self, tx: &Transaction, id: RevisionId) -> Result<Option<Ref<Kept>>> {
        match self.recent.binary_search_by_key(&id, |(id, _)| *id) {
            Ok(at) => Ok(self.recent.get(at).map(|(_, kept)| *kept)),
            Err(0) => match self.older {
                Some(older) => older.get(tx, &id),
                None => Ok(None),
            },
            Err(_) => Ok(None),
        }
    }

    /// Up to `most` of those up to `high`, the latest first.
    pub(super) fn back_from(
        &self,
        tx: &Transaction,
        high: Bound<RevisionId>,
        most: usize,
    ) -> Result<Vec<(RevisionId, Ref<Kept>)>> {
        let is_within = |id: &RevisionId| match high {
            Bound::Included(high) => *id <= high,
            Bound::Excluded(high) => *id < high,
            Bound::Unbounded => true,
        };
        let recent = self.recent.iter().rev().filter(|(id, _)| is_within(id));
        let mut found: Vec<_> = recent.take(most).copied().collect();
        if let Some(older) = self.older.filter(|_| found.len() < most) {
            for entry in older.range(tx, (Bound::Unbounded, high))?.rev() {
                found.push(entry?);
                if found.len() == most {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// The first `most`, the oldest first.
    pub(super) fn first(
        &self,
        tx: &Transaction,
        most: usize,
    ) -> Result<Vec<(RevisionId, Ref<Kept>)>> {
        let mut found = Vec::new();
        if let Some(older) = self.older {
            for entry in older.iter(tx)?.take(most) {
                found.push(entry?);
            }
        }
        let recent = self.recent.iter().take(most - found.len());
        found.extend(recent.copied());
        Ok(found)
    }

    pub(super) fn insert(
        &mut self,
        tx: &Transaction,
        id: RevisionId,
        kept: Ref<Kept>,
    ) -> Result<()> {
        self.count += 1;
        let at = self.recent.partition_point(|(other, _)| *other < id);
        if let Some(older) = self.older.filter(|_| at == 0) {
            older.insert(tx, id, kept)?;
            return Ok(());
        }
        self.recent.insert(at, (id, kept));
        if self.recent.len() <= RECENT_MAX {
            return Ok(());
        }
        let older = match self.older {
            Some(older) => older,
            None => *self.older.insert(BTree::with_node_size(tx, NODE_SIZE)?),
        };
        for (id, kept) in self.recent.drain(..RECENT_MAX / 2) {
            older.insert(tx, id, kept)?;
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, tx: &Transaction, id: RevisionId) -> Result<bool> {
        let removed = match self.recent.binary_search_by_key(&id, |(id, _)| *id) {
            Ok(at) => {
                self.recent.remove(at);
                true
            }
            Err(_) => match self.older {
                Some(older) => older.remove(tx, &id)?.is_some(),
                None => false,
            },
        };
        if removed {
            self.count = self.count.saturating_sub(1);
        }
        Ok(removed)
    }
}

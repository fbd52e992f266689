//! Iteration over trees.

use std::ops::{Bound, RangeBounds as _};
use std::sync::Arc;

use durum_core::Result;

use super::node::{Branch, Leaf};
use super::{BTree, Path};
use crate::reference::Ref;
use crate::storable::{Key, Storable};
use crate::transaction::Transaction;

/// How many leaves are fetched ahead at most.
const AHEAD_MAX: usize = 64;

/// Entries of a [`BTree`] in order, from either end. After an error it ends.
pub struct Range<'tx, K, V> {
    tree: BTree<K, V>,
    tx: &'tx Transaction,
    /// What is left but for what is in the leaves at hand.
    low: Bound<K>,
    high: Bound<K>,
    front: Option<Front<K, V>>,
    back: Option<Back<K, V>>,
    done: bool,
    /// Leaves that were fetched and not come to yet, and how many to fetch next.
    fetched: usize,
    ahead: usize,
}

/// The leaf at hand.
struct Front<K, V> {
    leaf: Arc<Leaf<K, V>>,
    /// The number of the next entry.
    next: usize,
}

struct Back<K, V> {
    leaf: Arc<Leaf<K, V>>,
    /// The number of the last entry that was shown.
    last: usize,
}

impl<K, V> std::fmt::Debug for Range<'_, K, V> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Range of {:?}", self.tree)
    }
}

impl<'tx, K: Key, V: Storable> Range<'tx, K, V> {
    pub(super) fn new(
        tree: BTree<K, V>,
        tx: &'tx Transaction,
        low: Bound<K>,
        high: Bound<K>,
    ) -> Range<'tx, K, V> {
        Range {
            tree,
            tx,
            low,
            high,
            front: None,
            back: None,
            done: false,
            fetched: 0,
            ahead: 1,
        }
    }

    /// Whether there is nothing between the ends.
    fn is_void(&self) -> bool {
        use Bound::{Excluded, Included, Unbounded};
        match (&self.low, &self.high) {
            (Unbounded, _) | (_, Unbounded) => false,
            (Included(low), Included(high)) => low > high,
            (Included(low) | Excluded(low), Included(high) | Excluded(high)) => low >= high,
        }
    }

    /// Goes on to the leaf at the lower end; says whether there is one.
    fn load_front(&mut self) -> Result<bool> {
        if self.is_void() {
            return Ok(false);
        }
        let path = self.tree.descend(self.tx, |keys| match &self.low {
            Bound::Unbounded => 0,
            Bound::Included(low) | Bound::Excluded(low) => keys.partition_point(|key| key <= low),
        })?;
        self.fetch(&path, true)?;
        let leaf = self.tx.peek(path.leaf)?;
        self.note(path.leaf, &leaf)?;
        let next = match &self.low {
            Bound::Unbounded => 0,
            Bound::Included(low) => leaf.0.keys.partition_point(|key| key < low),
            Bound::Excluded(low) => leaf.0.keys.partition_point(|key| key <= low),
        };
        self.front = Some(Front { leaf, next });
        Ok(true)
    }

    fn load_back(&mut self) -> Result<bool> {
        if self.is_void() {
            return Ok(false);
        }
        let path = self.tree.descend(self.tx, |keys| match &self.high {
            Bound::Unbounded => keys.len(),
            Bound::Included(high) => keys.partition_point(|key| key <= high),
            Bound::Excluded(high) => keys.partition_point(|key| key < high),
        })?;
        self.fetch(&path, false)?;
        let leaf = self.tx.peek(path.leaf)?;
        self.note(path.leaf, &leaf)?;
        let last = match &self.high {
            Bound::Unbounded => leaf.0.len(),
            Bound::Included(high) => leaf.0.keys.partition_point(|key| key <= high),
            Bound::Excluded(high) => leaf.0.keys.partition_point(|key| key < high),
        };
        self.back = Some(Back { leaf, last });
        Ok(true)
    }

    /// Notes the part of a leaf that is in the range as read.
    fn note(&self, at: Ref<Leaf<K, V>>, leaf: &Leaf<K, V>) -> Result<()> {
        let low = match &self.low {
            Bound::Included(key) | Bound::Excluded(key) if leaf.0.covers(key) => self.low.clone(),
            _ => Bound::Unbounded,
        };
        let high = match &self.high {
            Bound::Included(key) | Bound::Excluded(key) if leaf.0.covers(key) => self.high.clone(),
            _ => Bound::Unbounded,
        };
        // The first key of a leaf is its bound mostly, and what is before that is not in it.
        let low = match low {
            Bound::Included(key) if leaf.0.low.as_ref() == Some(&key) => Bound::Unbounded,
            low => low,
        };
        self.tree.note(self.tx, at, |seen| seen.note((low, high)))
    }

    /// Fetches leaves that come next, the more the further this goes.
    fn fetch(&mut self, path: &Path<K, V>, forward: bool) -> Result<()> {
        if self.fetched > 0 {
            self.fetched -= 1;
            return Ok(());
        }
        let Some((parent, child)) = path.branches.last() else {
            return Ok(());
        };
        let ahead = self.ahead;
        self.ahead = (ahead * 2).min(AHEAD_MAX);
        if ahead == 1 || !self.tx.keeps() {
            return Ok(());
        }
        let parent: Arc<Branch<K>> = self.tx.peek(*parent)?;
        let mut leaves: Vec<Ref<Leaf<K, V>>> = Vec::with_capacity(ahead);
        for step in 0..ahead {
            let at = match forward {
                true => child.checked_add(step).filter(|at| *at < parent.children()),
                false => child.checked_sub(step),
            };
            let Some(at) = at else {
                break;
            };
            // The bound that was crossed on the way there.
            let crossed = match forward {
                true => at.checked_sub(1),
                false => Some(at),
            };
            let crossed = crossed
                .filter(|_| step > 0)
                .and_then(|at| parent.rest.keys.get(at));
            let beyond = crossed.is_some_and(|key| match forward {
                true => !(Bound::Unbounded, self.high.as_ref()).contains(&key),
                false => !(self.low.as_ref(), Bound::Unbounded).contains(&key),
            });
            if beyond {
                break;
            }
            leaves.push(parent.child(at)?.cast());
        }
        self.fetched = leaves.len().saturating_sub(1);
        self.tx.prefetch(&leaves)
    }

    fn step(&mut self) -> Result<Option<(K, V)>> {
        loop {
            if self.front.is_none() && !self.load_front()? {
                return Ok(None);
            }
            let Some(front) = &mut self.front else {
                return Ok(None);
            };
            let node = &front.leaf.0;
            if let Some((key, value)) = node.keys.get(front.next).zip(node.items.get(front.next)) {
                let shown = self
                    .back
                    .as_ref()
                    .map(|back| back.leaf.0.keys.get(back.last));
                let met = shown.flatten().is_some_and(|last| key >= last);
                if met || !(Bound::Unbounded, self.high.as_ref()).contains(&key) {
                    return Ok(None);
                }
                front.next += 1;
                return Ok(Some((key.clone(), value.clone())));
            }
            // Others may begin where this leaf ended, also if the tree was changed meanwhile.
            let Some(high) = node.high.clone() else {
                return Ok(None);
            };
            self.low = Bound::Included(high);
            self.front = None;
        }
    }

    fn step_back(&mut self) -> Result<Option<(K, V)>> {
        loop {
            if self.back.is_none() && !self.load_back()? {
                return Ok(None);
            }
            let Some(back) = &mut self.back else {
                return Ok(None);
            };
            let node = &back.leaf.0;
            let next = back.last.checked_sub(1);
            let entry = next.and_then(|at| node.keys.get(at).zip(node.items.get(at)));
            if let Some((key, value)) = entry {
                let shown = self.front.as_ref().and_then(|front| {
                    let last = front.next.checked_sub(1)?;
                    front.leaf.0.keys.get(last)
                });
                let met = shown.is_some_and(|last| key <= last);
                if met || !(self.low.as_ref(), Bound::Unbounded).contains(&key) {
                    return Ok(None);
                }
                back.last -= 1;
                return Ok(Some((key.clone(), value.clone())));
            }
            let Some(low) = node.low.clone() else {
                return Ok(None);
            };
            self.high = Bound::Excluded(low);
            self.back = None;
        }
    }

    fn finish(&mut self, step: Result<Option<(K, V)>>) -> Option<Result<(K, V)>> {
        let step = step.transpose();
        self.done = !matches!(step, Some(Ok(_)));
        step
    }
}

impl<K: Key, V: Storable> Iterator for Range<'_, K, V> {
    type Item = Result<(K, V)>;

    fn next(&mut self) -> Option<Result<(K, V)>> {
        if self.done {
            return None;
        }
        let step = self.step();
        self.finish(step)
    }
}

impl<K: Key, V: Storable> DoubleEndedIterator for Range<'_, K, V> {
    fn next_back(&mut self) -> Option<Result<(K, V)>> {
        if self.done {
            return None;
        }
        let step = self.step_back();
        self.finish(step)
    }
}

impl<K: Key, V: Storable> std::iter::FusedIterator for Range<'_, K, V> {}

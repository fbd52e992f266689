//! Walks along a list.

use std::fmt;
use std::ops::{Bound, RangeBounds};

use durum_core::Result;

use super::node::Node;
use super::{List, Place};
use crate::storable::Storable;
use crate::transaction::Transaction;

impl<T: Storable> List<T> {
    /// All elements, from either end.
    ///
    /// # Errors
    /// As [`Transaction::get`].
    pub fn iter(self, tx: &Transaction) -> Result<Iter<'_, T>> {
        self.range(tx, ..)
    }

    /// The elements with these indexes, as far as they are there, from either end.
    ///
    /// # Errors
    /// As [`Transaction::get`].
    pub fn range(self, tx: &Transaction, range: impl RangeBounds<u64>) -> Result<Iter<'_, T>> {
        let len = self.len(tx)?;
        let from = match range.start_bound() {
            Bound::Included(from) => *from,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(to) => *to,
            Bound::Unbounded => len,
        };
        let to = to.min(len);
        Ok(Iter {
            list: self,
            tx,
            from: from.min(to),
            to,
            first: None,
            last: None,
            fetched: 0,
            ahead: 1,
        })
    }
}

/// Elements of a [`List`], in their order; it goes by their indexes, and loads a leaf when it comes there.
///
/// It shows the transaction's own changes as far as they are made before it loads the leaf concerned. After an
/// error it ends.
pub struct Iter<'tx, T> {
    list: List<T>,
    tx: &'tx Transaction,
    from: u64,
    to: u64,
    first: Option<Leaf<T>>,
    last: Option<Leaf<T>>,
    /// Leaves that were fetched and not come to yet, and how many to fetch next.
    fetched: usize,
    ahead: usize,
}

/// How many leaves are fetched ahead at most.
const AHEAD_MAX: usize = 64;

/// A leaf, and the index of its first element.
struct Leaf<T> {
    begin: u64,
    place: Place<T>,
}

impl<T: Storable> Leaf<T> {
    fn get(&self, index: u64) -> Option<T> {
        let node = match &self.place {
            Place::Head(head, _) => &head.root,
            Place::Node(_, node, _) => &**node,
        };
        let index = index.checked_sub(self.begin)?;
        match node {
            Node::Leaf(elements) => elements.get(usize::try_from(index).ok()?).cloned(),
            Node::Branch(_) => None,
        }
    }
}

impl<T: Storable> Iter<'_, T> {
    /// The leaf with this element. With it come those that follow, the more the further this goes.
    fn load(&mut self, index: u64, back: bool) -> Result<Option<Leaf<T>>> {
        let (list, tx) = (self.list, self.tx);
        let mut wanted = 0;
        if self.fetched > 0 {
            self.fetched -= 1;
        } else {
            // Who wants one element is served first.
            wanted = if self.ahead > 1 && tx.keeps() {
                self.ahead
            } else {
                0
            };
            self.ahead = (self.ahead * 2).min(AHEAD_MAX);
        }
        let (most, left) = (u64::from(tx.get(list.head)?.most), self.to - self.from);
        let mut fetched = 0;
        let place = list.place_by(tx, index, &mut |children, at| {
            let mut leaves = Vec::new();
            let mut elements = 0;
            for step in 0..wanted {
                let at = if back {
                    at.checked_sub(step)
                } else {
                    at.checked_add(step)
                };
                let Some(child) = at.and_then(|at| children.get(at)) else {
                    break;
                };
                // Those with more have others below them.
                if child.count > most || elements > left {
                    break;
                }
                elements += child.count;
                leaves.push(child.node);
            }
            fetched = leaves.len().saturating_sub(1);
            tx.prefetch(&leaves)
        })?;
        self.fetched += fetched;
        Ok(place.map(|place| {
            let (Place::Head(_, within) | Place::Node(_, _, within)) = &place;
            let begin = index.saturating_sub(*within as u64);
            Leaf { begin, place }
        }))
    }

    /// The element, from the leaf at this end if it is there.
    fn at(&mut self, index: u64, back: bool) -> Option<Result<T>> {
        let held = if back { &self.last } else { &self.first };
        if let Some(element) = held.as_ref().and_then(|leaf| leaf.get(index)) {
            return Some(Ok(element));
        }
        match self.load(index, back) {
            Ok(leaf) => {
                let element = leaf.as_ref().and_then(|leaf| leaf.get(index));
                match back {
                    true => self.last = leaf,
                    false => self.first = leaf,
                }
                // Where there is none the list has become shorter meanwhile.
                if element.is_none() {
                    self.to = self.from;
                }
                element.map(Ok)
            }
            Err(error) => {
                self.to = self.from;
                Some(Err(error))
            }
        }
    }
}

impl<T: Storable> Iterator for Iter<'_, T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        if self.from >= self.to {
            return None;
        }
        let index = self.from;
        self.from += 1;
        self.at(index, false)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // The list may become shorter.
        (0, usize::try_from(self.to - self.from).ok())
    }

    fn nth(&mut self, number: usize) -> Option<Result<T>> {
        self.from = self.from.saturating_add(number as u64).min(self.to);
        self.next()
    }
}

impl<T: Storable> DoubleEndedIterator for Iter<'_, T> {
    fn next_back(&mut self) -> Option<Result<T>> {
        if self.from >= self.to {
            return None;
        }
        self.to -= 1;
        self.at(self.to, true)
    }
}

impl<T: Storable> std::iter::FusedIterator for Iter<'_, T> {}

impl<T> fmt::Debug for Iter<'_, T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}[{}..{}]", self.list, self.from, self.to)
    }
}

//! What a transaction has looked at in a leaf.

use std::ops::{Bound, RangeBounds};

use super::node::Node;
use crate::storable::Key;

/// How many parts are told apart.
const MOST: usize = 32;

/// The parts of a leaf that a transaction depends on.
pub(super) enum Seen<K> {
    /// Where there is no bound, the part goes on to that of the leaf.
    Parts(Vec<(Bound<K>, Bound<K>)>),
    All,
}

impl<K> Default for Seen<K> {
    fn default() -> Seen<K> {
        Seen::Parts(Vec::new())
    }
}

impl<K: Key> Seen<K> {
    pub(super) fn note(&mut self, part: (Bound<K>, Bound<K>)) {
        let Seen::Parts(parts) = self else {
            return;
        };
        let whole = matches!(part, (Bound::Unbounded, Bound::Unbounded));
        if whole || parts.len() >= MOST {
            *self = Seen::All;
        } else {
            parts.push(part);
        }
    }

    pub(super) fn note_key<Q>(&mut self, key: &Q)
    where
        K: std::borrow::Borrow<Q>,
        Q: Ord + ToOwned<Owned = K> + ?Sized,
    {
        let Seen::Parts(parts) = self else {
            return;
        };
        let known = |part: &(Bound<K>, Bound<K>)| match part {
            (Bound::Included(low), Bound::Included(high)) => {
                low.borrow() <= key && key <= high.borrow()
            }
            _ => false,
        };
        if !parts.iter().any(known) {
            let key = key.to_owned();
            self.note((Bound::Included(key.clone()), Bound::Included(key)));
        }
    }

    pub(super) fn has(&self, key: &K) -> bool {
        match self {
            Seen::All => true,
            Seen::Parts(parts) => parts.iter().any(|part| part.contains(key)),
        }
    }

    /// Whether `theirs` still has all the parts of `base` that were looked at.
    pub(super) fn still_within<X: Clone>(&self, base: &Node<K, X>, theirs: &Node<K, X>) -> bool {
        if base.same_bounds(theirs) {
            return true;
        }
        let Seen::Parts(parts) = self else {
            return false;
        };
        parts.iter().all(|(low, high)| {
            let low = match low {
                Bound::Unbounded => base.low == theirs.low,
                Bound::Included(key) | Bound::Excluded(key) => theirs.covers(key),
            };
            let high = match high {
                Bound::Unbounded => base.high == theirs.high,
                Bound::Included(key) => theirs.covers(key),
                Bound::Excluded(key) => theirs.covers(key) || theirs.high.as_ref() == Some(key),
            };
            low && high
        })
    }
}

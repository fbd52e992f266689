//! The nodes of trees.

use std::any::Any;

use durum_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::seen::Seen;
use crate::counter::Counter;
use crate::format;
use crate::persistent::{Persistent, Resolution, Shape};
use crate::reference::Ref;
use crate::root::Anything;
use crate::storable::{Key, Storable};

/// The object that a tree is known by. It changes only where the root does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Head {
    /// Entries of a leaf and children of a branch, at most.
    pub(super) capacity: u32,
    /// How many levels of branches there are.
    pub(super) level: u32,
    /// A leaf where there is no level of branches.
    pub(super) root: Ref<Anything>,
    pub(super) count: Counter,
    /// How often all entries were taken out at once.
    pub(super) cleared: u64,
}

impl Persistent for Head {
    const NAME: &'static str = "durum.BTree";
    const SHAPE: Shape = Shape::Struct(&["capacity", "level", "root", "count", "cleared"]);

    fn resolve(
        base: &Head,
        mine: Option<&Head>,
        theirs: &Head,
        _observed: Option<&(dyn Any + Send)>,
    ) -> Resolution<Head> {
        // Leaves do not tell that they are no longer in the tree at all.
        if theirs.cleared != base.cleared {
            return Resolution::Conflict;
        }
        match mine {
            None => Resolution::Unaffected,
            Some(mine) if theirs.root == base.root => Resolution::Merged(mine.clone()),
            Some(mine) if mine.root == base.root && mine.cleared == base.cleared => {
                Resolution::Merged(theirs.clone())
            }
            Some(_) => Resolution::Conflict,
        }
    }
}

/// What leaves and branches have in common: a map from keys, which it covers a part of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Node<K, X> {
    pub(super) capacity: u32,
    /// Whether it is still in the tree.
    pub(super) live: bool,
    /// The least key that may be here; none where there is no limit.
    pub(super) low: Option<K>,
    /// The least key after it that may not be here.
    pub(super) high: Option<K>,
    pub(super) keys: Vec<K>,
    pub(super) items: Vec<X>,
}

impl<K: Key, X: Clone> Node<K, X> {
    pub(super) fn new(capacity: u32) -> Node<K, X> {
        Node {
            capacity,
            live: true,
            low: None,
            high: None,
            keys: Vec::new(),
            items: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether it is the only node of its level.
    pub(super) fn is_alone(&self) -> bool {
        self.low.is_none() && self.high.is_none()
    }

    pub(super) fn covers(&self, key: &K) -> bool {
        self.low.as_ref().is_none_or(|low| low <= key)
            && self.high.as_ref().is_none_or(|high| key < high)
    }

    pub(super) fn same_bounds(&self, other: &Node<K, X>) -> bool {
        self.low == other.low && self.high == other.high
    }

    pub(super) fn insert(&mut self, at: usize, key: K, item: X) {
        self.keys.insert(at, key);
        self.items.insert(at, item);
    }

    pub(super) fn remove(&mut self, at: usize) -> (K, X) {
        (self.keys.remove(at), self.items.remove(at))
    }

    /// Takes what is in `right`, its neighbour, which then is out of the tree.
    pub(super) fn join(&mut self, right: &mut Node<K, X>) {
        self.keys.append(&mut right.keys);
        self.items.append(&mut right.items);
        self.high = right.high.clone();
        right.live = false;
    }

    /// Gives what is from `at` on to a new node; none where there is nothing.
    pub(super) fn split_off(&mut self, at: usize) -> Option<(K, Node<K, X>)> {
        let middle = self.keys.get(at)?.clone();
        let right = Node {
            capacity: self.capacity,
            live: true,
            low: Some(middle.clone()),
            high: self.high.replace(middle.clone()),
            keys: self.keys.split_off(at),
            items: self.items.split_off(at),
        };
        Some((middle, right))
    }

    /// What others made of `base`, with what was made of it here; none where that does not go together.
    fn merge(
        base: &Node<K, X>,
        mine: &Node<K, X>,
        theirs: &Node<K, X>,
        same: impl Fn(&X, &X) -> bool,
    ) -> Option<Node<K, X>> {
        if !mine.live || !theirs.live {
            return None;
        }
        let bounds = match (mine.same_bounds(base), theirs.same_bounds(base)) {
            (true, _) => theirs,
            (_, true) => mine,
            _ => return None,
        };
        let mut merged = Node {
            keys: Vec::with_capacity(mine.len().max(theirs.len())),
            items: Vec::with_capacity(mine.len().max(theirs.len())),
            ..Node::new(base.capacity)
        };
        merged.low = bounds.low.clone();
        merged.high = bounds.high.clone();
        let equal = |one: Option<&X>, other: Option<&X>| match (one, other) {
            (Some(one), Some(other)) => same(one, other),
            (None, None) => true,
            _ => false,
        };
        let mut three = [base.entries(), mine.entries(), theirs.entries()];
        while let Some((key, [base, mine, theirs])) = next_of(&mut three) {
            let item = if equal(base, mine) {
                theirs
            } else if equal(base, theirs) {
                mine
            } else {
                return None;
            };
            if let Some(item) = item {
                if !merged.covers(key) {
                    return None;
                }
                merged.keys.push(key.clone());
                merged.items.push(item.clone());
            }
        }
        Some(merged)
    }

    /// The keys of which others have made something else.
    fn changed<'a>(
        &'a self,
        theirs: &'a Node<K, X>,
        same: impl Fn(&X, &X) -> bool,
    ) -> impl Iterator<Item = &'a K> {
        let mut two = [self.entries(), theirs.entries()];
        std::iter::from_fn(move || {
            loop {
                match next_of(&mut two)? {
                    (_, [Some(base), Some(theirs)]) if same(base, theirs) => {}
                    (key, _) => return Some(key),
                }
            }
        })
    }

    fn entries(&self) -> Entries<'_, K, X> {
        self.keys.iter().zip(&self.items).peekable()
    }
}

type Entries<'a, K, X> =
    std::iter::Peekable<std::iter::Zip<std::slice::Iter<'a, K>, std::slice::Iter<'a, X>>>;

/// The least key that is next in any of `nodes`, and what each has for it.
fn next_of<'a, K: Ord, X, const N: usize>(
    nodes: &mut [Entries<'a, K, X>; N],
) -> Option<(&'a K, [Option<&'a X>; N])> {
    let least = nodes
        .iter_mut()
        .filter_map(|node| node.peek())
        .map(|(key, _)| *key);
    let least = least.min()?;
    let items = nodes.each_mut().map(|node| {
        let found = node.next_if(|(key, _)| *key == least);
        found.map(|(_, item)| item)
    });
    Some((least, items))
}

/// The least number of entries in a leaf that is not alone.
pub(super) fn least_entries(capacity: u32) -> usize {
    (capacity as usize / 4).max(1)
}

/// The least number of children of a branch that is not alone.
pub(super) fn least_children(capacity: u32) -> usize {
    (capacity as usize / 4).max(2)
}

/// A node with entries.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Leaf<K, V>(pub(super) Node<K, V>);

/// Values need not be comparable; their states are.
fn same_state<V: Storable>(one: &V, other: &V) -> bool {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    format::put_value(&mut left, one).is_ok()
        && format::put_value(&mut right, other).is_ok()
        && left == right
}

impl<K: Key, V: Storable> Persistent for Leaf<K, V> {
    const NAME: &'static str = "durum.BTreeLeaf";
    const SHAPE: Shape = Shape::Struct(&["capacity", "live", "low", "high", "keys", "values"]);

    fn resolve(
        base: &Leaf<K, V>,
        mine: Option<&Leaf<K, V>>,
        theirs: &Leaf<K, V>,
        observed: Option<&(dyn Any + Send)>,
    ) -> Resolution<Leaf<K, V>> {
        let (base, theirs) = (&base.0, &theirs.0);
        let Some(seen) = observed.and_then(|observed| observed.downcast_ref::<Seen<K>>()) else {
            return Resolution::Conflict;
        };
        if !theirs.live || !seen.still_within(base, theirs) {
            return Resolution::Conflict;
        }
        if base.changed(theirs, same_state).any(|key| seen.has(key)) {
            return Resolution::Conflict;
        }
        let Some(mine) = mine else {
            return Resolution::Unaffected;
        };
        let Some(merged) = Node::merge(base, &mine.0, theirs, same_state) else {
            return Resolution::Conflict;
        };
        let least = match merged.is_alone() {
            true => 0,
            false => least_entries(merged.capacity),
        };
        if merged.len() < least || merged.len() > merged.capacity as usize {
            return Resolution::Conflict;
        }
        Resolution::Merged(Leaf(merged))
    }
}

/// A node with nodes beneath it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Branch<K> {
    /// The child with the least keys.
    pub(super) first: Ref<Anything>,
    /// The others, each with the least key that it may have.
    pub(super) rest: Node<K, Ref<Anything>>,
}

impl<K: Key> Branch<K> {
    pub(super) fn children(&self) -> usize {
        self.rest.len() + 1
    }

    pub(super) fn child(&self, at: usize) -> Result<Ref<Anything>> {
        match at.checked_sub(1) {
            None => Ok(self.first),
            Some(at) => self.rest.items.get(at).copied().ok_or_else(torn),
        }
    }

    /// As [`Node::join`].
    pub(super) fn join(&mut self, right: &mut Branch<K>) -> Result<()> {
        let middle = right.rest.low.clone().ok_or_else(torn)?;
        self.rest.keys.push(middle);
        self.rest.items.push(right.first);
        self.rest.join(&mut right.rest);
        Ok(())
    }

    /// As [`Node::split_off`].
    pub(super) fn split_off(&mut self, at: usize) -> Option<(K, Branch<K>)> {
        let (middle, mut rest) = self.rest.split_off(at)?;
        let (_, first) = rest.remove(0);
        Some((middle, Branch { first, rest }))
    }
}

impl<K: Key> Persistent for Branch<K> {
    const NAME: &'static str = "durum.BTreeBranch";
    const SHAPE: Shape = Shape::Struct(&["first", "rest"]);

    fn resolve(
        base: &Branch<K>,
        mine: Option<&Branch<K>>,
        theirs: &Branch<K>,
        _observed: Option<&(dyn Any + Send)>,
    ) -> Resolution<Branch<K>> {
        let Some(mine) = mine else {
            // Nobody depends on what is only a way to leaves.
            return Resolution::Unaffected;
        };
        let same = |one: &Ref<Anything>, other: &Ref<Anything>| one == other;
        let Some(rest) = Node::merge(&base.rest, &mine.rest, &theirs.rest, same) else {
            return Resolution::Conflict;
        };
        let first = match mine.first == base.first {
            true => theirs.first,
            false if theirs.first == base.first => mine.first,
            false => return Resolution::Conflict,
        };
        let merged = Branch { first, rest };
        let least = match merged.rest.is_alone() {
            true => 2,
            false => least_children(merged.rest.capacity),
        };
        if merged.children() < least || merged.children() > merged.rest.capacity as usize {
            return Resolution::Conflict;
        }
        Resolution::Merged(merged)
    }
}

/// The error for a tree that is not one.
pub(super) fn torn() -> Error {
    Error::damaged("use a tree", "its nodes do not fit together")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(keys: &[u32]) -> Leaf<u32, u32> {
        let mut node = Node::new(8);
        node.low = Some(10);
        node.high = Some(20);
        node.keys = keys.to_vec();
        node.items = keys.to_vec();
        Leaf(node)
    }

    fn resolve(
        base: &Leaf<u32, u32>,
        mine: Option<&Leaf<u32, u32>>,
        theirs: &Leaf<u32, u32>,
        seen: u32,
    ) -> Option<Option<Vec<u32>>> {
        let mut parts = Seen::default();
        parts.note_key(&seen);
        match Leaf::resolve(base, mine, theirs, Some(&parts)) {
            Resolution::Conflict => None,
            Resolution::Unaffected => Some(None),
            Resolution::Merged(leaf) => Some(Some(leaf.0.keys)),
        }
    }

    #[test]
    fn a_leaf_that_was_joined_with_another_is_no_place_for_anything() {
        let base = leaf(&[12, 14]);
        let mut gone = leaf(&[]);
        gone.0.live = false;
        assert_eq!(resolve(&base, None, &gone, 13), None);
        assert_eq!(resolve(&base, Some(&leaf(&[12, 13, 14])), &gone, 13), None);
        assert_eq!(resolve(&base, Some(&gone), &leaf(&[12, 13, 14]), 15), None);
    }

    #[test]
    fn leaves_merge_where_one_was_split_and_the_keys_are_still_there() {
        let base = leaf(&[11, 12, 14, 16, 18]);
        let mut split = base.clone();
        split.0.split_off(2).unwrap();
        let low = leaf(&[11, 12, 13, 14, 16, 18]);
        let high = leaf(&[11, 12, 14, 16, 18, 19]);
        for (mine, theirs) in [(&low, &split), (&split, &low)] {
            let merged = resolve(&base, Some(mine), theirs, 13);
            let seen_there = std::ptr::eq(mine, &low);
            assert_eq!(merged, (seen_there).then(|| Some(vec![11, 12, 13])));
        }
        assert_eq!(
            resolve(&base, Some(&split), &low, 11),
            Some(Some(vec![11, 12, 13]))
        );
        assert_eq!(resolve(&base, Some(&high), &split, 19), None);
        assert_eq!(resolve(&base, Some(&split), &high, 11), None);
    }

    #[test]
    fn what_would_be_too_large_or_too_small_is_a_conflict() {
        let base = leaf(&[11, 12, 13, 14, 15, 16, 17]);
        let (mut mine, mut theirs) = (base.clone(), base.clone());
        mine.0.insert(7, 18, 18);
        theirs.0.insert(7, 19, 19);
        assert_eq!(resolve(&base, Some(&mine), &theirs, 18), None);
        let base = leaf(&[11, 12, 13]);
        let (mine, theirs) = (leaf(&[11, 12]), leaf(&[12, 13]));
        assert_eq!(resolve(&base, Some(&mine), &theirs, 13), None);
        let base = leaf(&[11, 12, 13, 14]);
        let (mine, theirs) = (leaf(&[11, 12, 13]), leaf(&[12, 13, 14]));
        assert_eq!(
            resolve(&base, Some(&mine), &theirs, 14),
            Some(Some(vec![12, 13]))
        );
    }
}

//! Recent changes of one tree, in memory: an ordered map that is cheap to share.
//!
//! Nodes are shared between copies and copied when written, so that a snapshot is a copy of one
//! pointer, is read without any lock, and never changes; where nobody shares a node, it is changed in
//! place. Entries are only ever added or replaced: a removal is an entry too (see
//! [`crate::log::Entry::GONE`]).

use std::sync::Arc;

use durum_core::engine::Key;

/// An ordered map from keys to numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Delta {
    root: Option<Arc<Node>>,
    count: usize,
    /// The largest key.
    last: Option<Key>,
}

#[derive(Clone, Debug)]
enum Node {
    Leaf(Vec<(Key, u64)>),
    /// The smallest key of each child (for the first one: or a larger one), and the child.
    Inner(Vec<(Key, Arc<Node>)>),
}

type Children<'a> = &'a [(Key, Arc<Node>)];

/// Walks over a [`Delta`] in ascending order.
#[derive(Debug)]
pub(crate) struct DeltaIter<'a> {
    /// From the root down: the children, and which of them comes next.
    stack: Vec<(Children<'a>, usize)>,
    leaf: &'a [(Key, u64)],
}

impl Delta {
    /// The number of entries.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The largest key.
    pub(crate) fn last(&self) -> Option<Key> {
        self.last
    }

    /// The entry of `key`.
    pub(crate) fn get(&self, key: Key) -> Option<u64> {
        let mut node = self.root.as_deref()?;
        loop {
            match node {
                Node::Inner(children) => node = &children.get(child_of(children, key))?.1,
                Node::Leaf(entries) => {
                    let at = entries.binary_search_by_key(&key, |entry| entry.0).ok()?;
                    return entries.get(at).map(|entry| entry.1);
                }
            }
        }
    }

    /// Adds or replaces the entry of `key`.
    pub(crate) fn insert(&mut self, key: Key, value: u64) {
        self.last = self.last.max(Some(key));
        let Some(root) = &mut self.root else {
            self.root = Some(Arc::new(Node::Leaf(vec![(key, value)])));
            self.count = 1;
            return;
        };
        let (added, split) = Arc::make_mut(root).insert(key, value);
        self.count += usize::from(added);
        grow(root, split);
    }

    /// Adds entries that ascend, all of them behind [`Delta::last`]: many at once cost less than one by one.
    pub(crate) fn append(&mut self, mut entries: &[(Key, u64)]) {
        while let Some(((key, value), rest)) = entries.split_first() {
            let Some(root) = &mut self.root else {
                self.insert(*key, *value);
                entries = rest;
                continue;
            };
            let (taken, split) = Arc::make_mut(root).append(entries);
            grow(root, split);
            let (added, rest) = entries.split_at_checked(taken).unwrap_or((entries, &[]));
            self.count += added.len();
            self.last = added.last().map(|entry| entry.0).or(self.last);
            entries = rest;
        }
    }

    /// The entries from `from` on.
    pub(crate) fn iter_from(&self, from: Key) -> DeltaIter<'_> {
        let mut iter = DeltaIter {
            stack: Vec::new(),
            leaf: &[],
        };
        let mut next = self.root.as_deref();
        while let Some(node) = next.take() {
            match node {
                Node::Inner(children) => {
                    let at = child_of(children, from);
                    iter.stack.push((children, at + 1));
                    next = children.get(at).map(|child| &*child.1);
                }
                Node::Leaf(entries) => {
                    let at = entries.partition_point(|entry| entry.0 < from);
                    iter.leaf = entries.get(at..).unwrap_or_default();
                }
            }
        }
        iter
    }
}

impl Node {
    fn insert(&mut self, key: Key, value: u64) -> (bool, Option<(Key, Arc<Node>)>) {
        match self {
            Node::Leaf(entries) => {
                match entries.binary_search_by_key(&key, |entry| entry.0) {
                    Ok(at) => {
                        if let Some(entry) = entries.get_mut(at) {
                            entry.1 = value;
                        }
                        return (false, None);
                    }
                    Err(at) => entries.insert(at, (key, value)),
                }
                (true, split(entries, LEAF_LENGTH_MAX, Node::Leaf))
            }
            Node::Inner(children) => {
                let at = child_of(children, key);
                let Some((_, child)) = children.get_mut(at) else {
                    return (false, None);
                };
                let (added, right) = Arc::make_mut(child).insert(key, value);
                if let Some(right) = right {
                    children.insert(at + 1, right);
                }
                (added, split(children, NODE_LENGTH_MAX, Node::Inner))
            }
        }
    }

    /// Adds what the last leaf has room for; how many these were.
    fn append(&mut self, entries: &[(Key, u64)]) -> (usize, Option<(Key, Arc<Node>)>) {
        match self {
            Node::Leaf(list) => {
                let room = (LEAF_LENGTH_MAX + 1).saturating_sub(list.len());
                let taken = entries.get(..room).unwrap_or(entries);
                list.extend_from_slice(taken);
                (taken.len(), split(list, LEAF_LENGTH_MAX, Node::Leaf))
            }
            Node::Inner(children) => {
                let Some((_, child)) = children.last_mut() else {
                    return (0, None);
                };
                let (taken, right) = Arc::make_mut(child).append(entries);
                children.extend(right);
                (taken, split(children, NODE_LENGTH_MAX, Node::Inner))
            }
        }
    }
}

/// Puts another root above one that was split.
fn grow(root: &mut Arc<Node>, split: Option<(Key, Arc<Node>)>) {
    if let Some((at, right)) = split {
        let left = Arc::clone(root);
        *root = Arc::new(Node::Inner(vec![(Key::MIN, left), (at, right)]));
    }
}

/// Splits a list that has grown too long. Nodes are left full where keys arrive in ascending order.
fn split<T>(
    list: &mut Vec<(Key, T)>,
    length_max: usize,
    node: fn(Vec<(Key, T)>) -> Node,
) -> Option<(Key, Arc<Node>)> {
    if list.len() <= length_max {
        return None;
    }
    let right = list.split_off(list.len() * 7 / 8);
    let key = right.first()?.0;
    Some((key, Arc::new(node(right))))
}

fn child_of(children: &[(Key, Arc<Node>)], key: Key) -> usize {
    children
        .partition_point(|child| child.0 <= key)
        .saturating_sub(1)
}

impl Iterator for DeltaIter<'_> {
    type Item = (Key, u64);

    fn next(&mut self) -> Option<(Key, u64)> {
        loop {
            if let Some((&entry, rest)) = self.leaf.split_first() {
                self.leaf = rest;
                return Some(entry);
            }
            let (children, at) = self.stack.last_mut()?;
            let Some((_, child)) = children.get(*at) else {
                self.stack.pop();
                continue;
            };
            *at += 1;
            match &**child {
                Node::Leaf(entries) => self.leaf = entries,
                Node::Inner(children) => self.stack.push((children, 0)),
            }
        }
    }
}

/// Entries of a node. Small, since a commit copies the nodes on its paths that a snapshot shares.
const NODE_LENGTH_MAX: usize = 64;

/// Entries of a leaf. Smaller still: of many commits each changes other leaves, under the same few nodes.
const LEAF_LENGTH_MAX: usize = 24;

/// About what an entry takes in memory, in bytes.
pub(crate) const ENTRY_BYTES: u64 = 40;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn equals_a_map_and_copies_stay_as_they_were() {
        let mut random = fastrand::Rng::with_seed(7);
        let (mut delta, mut model) = (Delta::default(), BTreeMap::new());
        let mut kept = Vec::new();
        for round in 0..20_000_u64 {
            let key = match round % 3 {
                0 => Key::from(round),
                1 => Key::from(random.u64(..1 << 60)),
                _ => Key::pair(random.u64(..500), random.u64(..3)),
            };
            delta.insert(key, round);
            model.insert(key, round);
            if round % 100 == 0 {
                let mut last = delta.last().unwrap();
                let run: Vec<_> = (0..random.u64(..300))
                    .map(|value| {
                        last = Key::pair(last.first + random.u64(..2), last.second + 1);
                        (last, value)
                    })
                    .collect();
                delta.append(&run);
                model.extend(run);
            }
            assert_eq!(delta.last(), model.keys().next_back().copied());
            if round % 2_000 == 0 {
                kept.push((delta.clone(), model.clone()));
            }
        }
        kept.push((delta, model));
        for (delta, model) in kept {
            assert_eq!(delta.count(), model.len());
            assert!(delta.iter_from(Key::MIN).eq(model.clone()));
            for _ in 0..200 {
                let from = Key::pair(random.u64(..600), random.u64(..3));
                let expected = model.range(from..).map(|(key, value)| (*key, *value));
                assert!(delta.iter_from(from).take(9).eq(expected.take(9)));
                assert_eq!(delta.get(from), model.get(&from).copied());
            }
        }
    }
}

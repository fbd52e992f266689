//! Changes of trees.

use std::borrow::Borrow;
use std::ops::Bound;

use durum_core::Result;

use super::node::{Branch, Leaf, Node, least_children, least_entries, torn};
use super::{BTree, Path};
use crate::reference::Ref;
use crate::root::Anything;
use crate::storable::{Key, Storable};
use crate::transaction::Transaction;

impl<K: Key, V: Storable> BTree<K, V> {
    /// Gives `key` a value; returns the one that it had.
    ///
    /// # Errors
    /// As [`Transaction::get_mut`], as all that changes; what an operation that fails has changed is undone.
    pub fn insert(&self, tx: &Transaction, key: K, value: V) -> Result<Option<V>> {
        let path = self.find(tx, &key)?;
        let mut leaf = tx.get_mut(path.leaf)?;
        match leaf.0.keys.binary_search(&key) {
            Ok(at) => {
                let slot = leaf.0.items.get_mut(at).ok_or_else(torn)?;
                return Ok(Some(std::mem::replace(slot, value)));
            }
            Err(at) if leaf.0.len() < leaf.0.capacity as usize => {
                self.count(tx, 1)?;
                leaf.0.insert(at, key, value);
            }
            Err(at) => {
                drop(leaf);
                tx.nested(|tx| {
                    self.count(tx, 1)?;
                    tx.get_mut(path.leaf)?.0.insert(at, key, value);
                    self.split(tx, path)
                })?;
            }
        }
        Ok(None)
    }

    /// Gives `key` a value unless it has one; returns what it has then.
    ///
    /// # Errors
    /// As [`BTree::insert`].
    pub fn set_default(&self, tx: &Transaction, key: K, value: impl FnOnce() -> V) -> Result<V> {
        if let Some(found) = self.get(tx, &key)? {
            return Ok(found);
        }
        let value = value();
        self.insert(tx, key, value.clone())?;
        Ok(value)
    }

    /// Changes the value for `key` where it is; returns what `change` returns, or `None` where there is no
    /// entry. `change` must not use the tree.
    ///
    /// # Errors
    /// As [`BTree::insert`].
    pub fn update<Q, R>(
        &self,
        tx: &Transaction,
        key: &Q,
        change: impl FnOnce(&mut V) -> R,
    ) -> Result<Option<R>>
    where
        K: Borrow<Q>,
        Q: Ord + ToOwned<Owned = K> + ?Sized,
    {
        let path = self.find(tx, key)?;
        let mut leaf = tx.get_mut(path.leaf)?;
        let found = leaf
            .0
            .keys
            .binary_search_by(|other| other.borrow().cmp(key));
        match found {
            Ok(at) => Ok(Some(change(leaf.0.items.get_mut(at).ok_or_else(torn)?))),
            Err(_) => Ok(None),
        }
    }

    /// Takes the entry for `key` out; returns its value.
    ///
    /// # Errors
    /// As [`BTree::insert`].
    pub fn remove<Q>(&self, tx: &Transaction, key: &Q) -> Result<Option<V>>
    where
        K: Borrow<Q>,
        Q: Ord + ToOwned<Owned = K> + ?Sized,
    {
        Ok(self.remove_entry(tx, key)?.map(|(_, value)| value))
    }

    /// As [`BTree::remove`], with the key.
    ///
    /// # Errors
    /// As [`BTree::insert`].
    pub fn remove_entry<Q>(&self, tx: &Transaction, key: &Q) -> Result<Option<(K, V)>>
    where
        K: Borrow<Q>,
        Q: Ord + ToOwned<Owned = K> + ?Sized,
    {
        let path = self.find(tx, key)?;
        let mut leaf = tx.get_mut(path.leaf)?;
        let found = leaf
            .0
            .keys
            .binary_search_by(|other| other.borrow().cmp(key));
        let Ok(at) = found else {
            return Ok(None);
        };
        if leaf.0.keys.len() != leaf.0.items.len() {
            return Err(torn());
        }
        if leaf.0.is_alone() || leaf.0.len() > least_entries(leaf.0.capacity) {
            self.count(tx, -1)?;
            return Ok(Some(leaf.0.remove(at)));
        }
        drop(leaf);
        tx.nested(|tx| {
            self.count(tx, -1)?;
            let removed = tx.get_mut(path.leaf)?.0.remove(at);
            self.fill(tx, path)?;
            Ok(Some(removed))
        })
    }

    /// Takes the entry with the least key out.
    ///
    /// # Errors
    /// As [`BTree::insert`].
    pub fn pop_first(&self, tx: &Transaction) -> Result<Option<(K, V)>> {
        match self.first(tx)? {
            Some((key, _)) => self.remove_entry(tx, &key),
            None => Ok(None),
        }
    }

    /// Takes the entry with the greatest key out.
    ///
    /// # Errors
    /// As [`BTree::insert`].
    pub fn pop_last(&self, tx: &Transaction) -> Result<Option<(K, V)>> {
        match self.last(tx)? {
            Some((key, _)) => self.remove_entry(tx, &key),
            None => Ok(None),
        }
    }

    /// Inserts all entries of `entries`.
    ///
    /// # Errors
    /// As [`BTree::insert`]; entries before the one that fails stay.
    pub fn extend(
        &self,
        tx: &Transaction,
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<()> {
        for (key, value) in entries {
            self.insert(tx, key, value)?;
        }
        Ok(())
    }

    /// Takes all entries out, without reading them. This conflicts with all other uses of the tree.
    ///
    /// # Errors
    /// As [`BTree::insert`].
    pub fn clear(&self, tx: &Transaction) -> Result<()> {
        tx.nested(|tx| {
            let count = self.head(tx)?.count;
            count.increment(tx, count.get(tx)?.saturating_neg())?;
            let mut head = tx.get_mut(self.head)?;
            let leaf = tx.new(Leaf::<K, V>(Node::new(head.capacity)))?;
            head.root = leaf.cast();
            head.level = 0;
            head.cleared += 1;
            Ok(())
        })
    }

    fn count(&self, tx: &Transaction, by: i64) -> Result<()> {
        tx.peek(self.head)?.count.increment(tx, by)
    }

    /// Splits a leaf that has too many entries, and the branches above that get too many children.
    fn split(&self, tx: &Transaction, path: Path<K, V>) -> Result<()> {
        let mut leaf = tx.get_mut(path.leaf)?;
        let at = match leaf.0.high {
            Some(_) => leaf.0.len() / 2,
            // Keys that come in ascending order leave full leaves behind.
            None => leaf.0.len() - least_entries(leaf.0.capacity),
        };
        let (mut middle, right) = leaf.0.split_off(at).ok_or_else(torn)?;
        drop(leaf);
        let moved = (Bound::Included(middle.clone()), Bound::Unbounded);
        self.note(tx, path.leaf, |seen| seen.note(moved))?;
        let mut right: Ref<Anything> = tx.new(Leaf(right))?.cast();
        for (at, child) in path.branches.into_iter().rev() {
            let mut branch = tx.get_mut(at)?;
            branch.rest.insert(child, middle, right);
            if branch.children() <= branch.rest.capacity as usize {
                return Ok(());
            }
            let half = match branch.rest.high {
                Some(_) => branch.rest.len() / 2,
                None => branch.rest.len() - least_children(branch.rest.capacity),
            };
            let (next, new) = branch.split_off(half).ok_or_else(torn)?;
            middle = next;
            right = tx.new(new)?.cast();
        }
        let mut head = tx.get_mut(self.head)?;
        let mut rest = Node::new(head.capacity);
        rest.insert(0, middle, right);
        let root = Branch {
            first: head.root,
            rest,
        };
        head.root = tx.new(root)?.cast();
        head.level += 1;
        Ok(())
    }

    /// Gives a leaf that has too few entries some of its neighbour's, or joins them; and so the branches above.
    fn fill(&self, tx: &Transaction, mut path: Path<K, V>) -> Result<()> {
        let Some((parent, child)) = path.branches.pop() else {
            return Ok(());
        };
        let (left, right, at) = neighbours(&*tx.peek(parent)?, child)?;
        let middle = self.share_leaves(tx, left.cast(), right.cast())?;
        let mut short = set_bound(tx, parent, at, middle)?.then_some(parent);
        while let (Some(branch), Some((parent, child))) = (short, path.branches.pop()) {
            if tx.peek(branch)?.children() >= least_children(tx.peek(branch)?.rest.capacity) {
                return Ok(());
            }
            let (left, right, at) = neighbours(&*tx.peek(parent)?, child)?;
            let middle = share_branches::<K>(tx, left.cast(), right.cast())?;
            short = set_bound(tx, parent, at, middle)?.then_some(parent);
        }
        let Some(root) = short.filter(|_| path.branches.is_empty()) else {
            return Ok(());
        };
        let only = tx.peek(root)?;
        if only.rest.is_alone() && only.children() == 1 {
            let mut head = tx.get_mut(self.head)?;
            head.root = only.first;
            head.level -= 1;
            tx.get_mut(root)?.rest.live = false;
        }
        Ok(())
    }

    /// Joins two leaves, or makes them about as large as each other; returns the new bound between them.
    fn share_leaves(
        &self,
        tx: &Transaction,
        left: Ref<Leaf<K, V>>,
        right: Ref<Leaf<K, V>>,
    ) -> Result<Option<K>> {
        // What moves from one to the other was read where it was.
        tx.observe(left, |_: &mut super::Seen<K>| {})?;
        tx.observe(right, |_: &mut super::Seen<K>| {})?;
        let (mut one, mut other) = (tx.get_mut(left)?, tx.get_mut(right)?);
        let size = one.0.len() + other.0.len();
        let before = one.0.high.clone().ok_or_else(torn)?;
        one.0.join(&mut other.0);
        let middle = match size <= joined(one.0.capacity) {
            true => None,
            false => {
                let (middle, new) = one.0.split_off(size / 2).ok_or_else(torn)?;
                other.0 = new;
                Some(middle)
            }
        };
        drop((one, other));
        let (from, moved) = match &middle {
            None => (right, (Bound::Unbounded, Bound::Unbounded)),
            Some(middle) if *middle > before => {
                (right, (Bound::Unbounded, Bound::Excluded(middle.clone())))
            }
            Some(middle) => (left, (Bound::Included(middle.clone()), Bound::Unbounded)),
        };
        self.note(tx, from, |seen| seen.note(moved))?;
        Ok(middle)
    }
}

/// As [`BTree::share_leaves`], for branches.
fn share_branches<K: Key>(
    tx: &Transaction,
    left: Ref<Branch<K>>,
    right: Ref<Branch<K>>,
) -> Result<Option<K>> {
    let (mut one, mut other) = (tx.get_mut(left)?, tx.get_mut(right)?);
    one.join(&mut other)?;
    if one.children() <= joined(one.rest.capacity) {
        return Ok(None);
    }
    let half = one.rest.len() / 2;
    let (middle, new) = one.split_off(half).ok_or_else(torn)?;
    *other = new;
    Ok(Some(middle))
}

/// Up to which size neighbours are joined: not so far that the next entry would split them again.
fn joined(capacity: u32) -> usize {
    (capacity as usize * 3 / 4).max(3)
}

/// A branch's child and a neighbour of it, in their order, and the number of the bound between them.
fn neighbours<K: Key>(
    parent: &Branch<K>,
    child: usize,
) -> Result<(Ref<Anything>, Ref<Anything>, usize)> {
    let at = child.saturating_sub(1);
    Ok((parent.child(at)?, parent.child(at + 1)?, at))
}

/// Sets the bound `at`, or takes the child after it out; says whether it did that.
fn set_bound<K: Key>(
    tx: &Transaction,
    branch: Ref<Branch<K>>,
    at: usize,
    middle: Option<K>,
) -> Result<bool> {
    let mut branch = tx.get_mut(branch)?;
    match middle {
        Some(middle) => {
            *branch.rest.keys.get_mut(at).ok_or_else(torn)? = middle;
            Ok(false)
        }
        None => {
            branch.rest.remove(at);
            Ok(true)
        }
    }
}

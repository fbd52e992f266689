//! Ordered sets.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::iter::Peekable;
use std::ops::RangeBounds;

use durum_core::Result;

use crate::btree::{BTree, Range};
use crate::database::Database;
use crate::handle::handle;
use crate::storable::Key;
use crate::transaction::Transaction;

/// An ordered set of any size: a [`BTree`] without values.
///
/// ```
/// use durum_objects::{Database, Set};
///
/// let db = Database::create("memory:")?;
/// db.transact(|tx| {
///     let (even, small) = (Set::new(tx)?, Set::new(tx)?);
///     even.extend(tx, [2, 4, 6, 8])?;
///     small.extend(tx, [1, 2, 3, 4])?;
///     let both: Vec<u32> = even.intersection(tx, &small)?.collect::<Result<_, _>>()?;
///     assert_eq!(both, [2, 4]);
///     Ok(())
/// })?;
/// # Ok::<(), durum_objects::Error>(())
/// ```
pub struct Set<T> {
    tree: BTree<T, ()>,
}

impl<T: Key> Set<T> {
    /// Makes an empty set.
    ///
    /// # Errors
    /// As [`Transaction::new`].
    pub fn new(tx: &Transaction) -> Result<Set<T>> {
        BTree::new(tx).map(Set::of)
    }

    /// As [`BTree::with_node_size`].
    ///
    /// # Errors
    /// As [`BTree::with_node_size`].
    pub fn with_node_size(tx: &Transaction, size: u32) -> Result<Set<T>> {
        BTree::with_node_size(tx, size).map(Set::of)
    }

    /// As [`BTree::from_sorted`].
    ///
    /// # Errors
    /// As [`BTree::from_sorted`].
    pub fn from_sorted(tx: &Transaction, items: impl IntoIterator<Item = T>) -> Result<Set<T>> {
        BTree::from_sorted(tx, items.into_iter().map(|item| (item, ()))).map(Set::of)
    }

    /// As [`BTree::build`].
    ///
    /// # Errors
    /// As [`BTree::build`].
    pub fn build(db: &Database, items: impl IntoIterator<Item = T>) -> Result<Set<T>> {
        BTree::build(db, items.into_iter().map(|item| (item, ()))).map(Set::of)
    }

    fn of(tree: BTree<T, ()>) -> Set<T> {
        Set { tree }
    }

    /// The set with this name at the root.
    ///
    /// # Errors
    /// As [`Transaction::root`].
    pub fn root(tx: &Transaction, name: &str) -> Result<Option<Set<T>>> {
        Ok(BTree::root(tx, name)?.map(Set::of))
    }

    /// Names it at the root.
    ///
    /// # Errors
    /// As [`Transaction::set_root`].
    pub fn set_root(&self, tx: &Transaction, name: &str) -> Result<()> {
        self.tree.set_root(tx, name)
    }

    /// Whether `item` is in it.
    ///
    /// # Errors
    /// As [`BTree::get`], as all that reads.
    pub fn contains<Q>(&self, tx: &Transaction, item: &Q) -> Result<bool>
    where
        T: Borrow<Q>,
        Q: Ord + ToOwned<Owned = T> + ?Sized,
    {
        self.tree.contains(tx, item)
    }

    /// Adds `item`; says whether it was not there.
    ///
    /// # Errors
    /// As [`BTree::insert`], as all that changes.
    pub fn insert(&self, tx: &Transaction, item: T) -> Result<bool> {
        // To insert it again would be a change of the node.
        Ok(!self.tree.contains(tx, &item)? && self.tree.insert(tx, item, ())?.is_none())
    }

    /// Takes `item` out; says whether it was there.
    ///
    /// # Errors
    /// As [`BTree::insert`].
    pub fn remove<Q>(&self, tx: &Transaction, item: &Q) -> Result<bool>
    where
        T: Borrow<Q>,
        Q: Ord + ToOwned<Owned = T> + ?Sized,
    {
        Ok(self.tree.remove(tx, item)?.is_some())
    }

    /// Adds all of `items`.
    ///
    /// # Errors
    /// As [`BTree::extend`].
    pub fn extend(&self, tx: &Transaction, items: impl IntoIterator<Item = T>) -> Result<()> {
        for item in items {
            self.insert(tx, item)?;
        }
        Ok(())
    }

    /// As [`BTree::clear`].
    ///
    /// # Errors
    /// As [`BTree::clear`].
    pub fn clear(&self, tx: &Transaction) -> Result<()> {
        self.tree.clear(tx)
    }

    /// The least item.
    ///
    /// # Errors
    /// As [`BTree::get`].
    pub fn first(&self, tx: &Transaction) -> Result<Option<T>> {
        Ok(self.tree.first(tx)?.map(|(item, ())| item))
    }

    /// The greatest item.
    ///
    /// # Errors
    /// As [`BTree::get`].
    pub fn last(&self, tx: &Transaction) -> Result<Option<T>> {
        Ok(self.tree.last(tx)?.map(|(item, ())| item))
    }

    /// Takes the least item out.
    ///
    /// # Errors
    /// As [`BTree::insert`].
    pub fn pop_first(&self, tx: &Transaction) -> Result<Option<T>> {
        Ok(self.tree.pop_first(tx)?.map(|(item, ())| item))
    }

    /// Takes the greatest item out.
    ///
    /// # Errors
    /// As [`BTree::insert`].
    pub fn pop_last(&self, tx: &Transaction) -> Result<Option<T>> {
        Ok(self.tree.pop_last(tx)?.map(|(item, ())| item))
    }

    /// As [`BTree::len`].
    ///
    /// # Errors
    /// As [`BTree::get`].
    pub fn len(&self, tx: &Transaction) -> Result<u64> {
        self.tree.len(tx)
    }

    /// As [`BTree::is_empty`].
    ///
    /// # Errors
    /// As [`BTree::get`].
    pub fn is_empty(&self, tx: &Transaction) -> Result<bool> {
        self.tree.is_empty(tx)
    }

    /// All items in order; also from the end.
    ///
    /// # Errors
    /// As [`BTree::get`].
    pub fn iter<'tx>(&self, tx: &'tx Transaction) -> Result<Items<'tx, T>> {
        self.range(tx, ..)
    }

    /// The items in `range`; as [`BTree::range`].
    ///
    /// # Errors
    /// As [`BTree::get`].
    pub fn range<'tx>(
        &self,
        tx: &'tx Transaction,
        range: impl RangeBounds<T>,
    ) -> Result<Items<'tx, T>> {
        Ok(Items(self.tree.range(tx, range)?))
    }

    /// What is in one of the two at least, in order. As all these, it reads as it goes.
    ///
    /// # Errors
    /// As [`BTree::get`].
    pub fn union<'tx>(&self, tx: &'tx Transaction, other: &Set<T>) -> Result<Merged<'tx, T>> {
        self.merged(tx, other, [true, true, true])
    }

    /// What is in both, in order.
    ///
    /// # Errors
    /// As [`BTree::get`].
    pub fn intersection<'tx>(
        &self,
        tx: &'tx Transaction,
        other: &Set<T>,
    ) -> Result<Merged<'tx, T>> {
        self.merged(tx, other, [false, true, false])
    }

    /// What is in this one and not in `other`, in order.
    ///
    /// # Errors
    /// As [`BTree::get`].
    pub fn difference<'tx>(&self, tx: &'tx Transaction, other: &Set<T>) -> Result<Merged<'tx, T>> {
        self.merged(tx, other, [true, false, false])
    }

    /// What is in just one of the two, in order.
    ///
    /// # Errors
    /// As [`BTree::get`].
    pub fn symmetric_difference<'tx>(
        &self,
        tx: &'tx Transaction,
        other: &Set<T>,
    ) -> Result<Merged<'tx, T>> {
        self.merged(tx, other, [true, false, true])
    }

    fn merged<'tx>(
        &self,
        tx: &'tx Transaction,
        other: &Set<T>,
        shown: [bool; 3],
    ) -> Result<Merged<'tx, T>> {
        Ok(Merged {
            left: self.iter(tx)?.peekable(),
            right: other.iter(tx)?.peekable(),
            shown,
            failed: false,
        })
    }

    /// Whether all of this one is in `other`.
    ///
    /// # Errors
    /// As [`BTree::get`].
    pub fn is_subset(&self, tx: &Transaction, other: &Set<T>) -> Result<bool> {
        none_of(self.difference(tx, other)?)
    }

    /// Whether all of `other` is in this one.
    ///
    /// # Errors
    /// As [`BTree::get`].
    pub fn is_superset(&self, tx: &Transaction, other: &Set<T>) -> Result<bool> {
        other.is_subset(tx, self)
    }

    /// Whether nothing is in both.
    ///
    /// # Errors
    /// As [`BTree::get`].
    pub fn is_disjoint(&self, tx: &Transaction, other: &Set<T>) -> Result<bool> {
        none_of(self.intersection(tx, other)?)
    }

    /// Adds all of `other`.
    ///
    /// # Errors
    /// As [`BTree::extend`].
    pub fn union_with(&self, tx: &Transaction, other: &Set<T>) -> Result<()> {
        for item in other.difference(tx, self)? {
            self.insert(tx, item?)?;
        }
        Ok(())
    }

    /// Takes out what is not in `other`.
    ///
    /// # Errors
    /// As [`BTree::extend`].
    pub fn intersect_with(&self, tx: &Transaction, other: &Set<T>) -> Result<()> {
        for item in self.difference(tx, other)? {
            self.remove(tx, &item?)?;
        }
        Ok(())
    }

    /// Takes out what is in `other`.
    ///
    /// # Errors
    /// As [`BTree::extend`].
    pub fn subtract(&self, tx: &Transaction, other: &Set<T>) -> Result<()> {
        for item in self.intersection(tx, other)? {
            self.remove(tx, &item?)?;
        }
        Ok(())
    }

    /// Keeps what is in just one of the two, of both.
    ///
    /// # Errors
    /// As [`BTree::extend`].
    pub fn symmetric_difference_with(&self, tx: &Transaction, other: &Set<T>) -> Result<()> {
        if self == other {
            return self.clear(tx);
        }
        for item in other.iter(tx)? {
            let item = item?;
            if !self.remove(tx, &item)? {
                self.insert(tx, item)?;
            }
        }
        Ok(())
    }

    /// As [`BTree::check`].
    ///
    /// # Errors
    /// As [`BTree::check`].
    pub fn check(&self, tx: &Transaction) -> Result<u64> {
        self.tree.check(tx)
    }
}

fn none_of<T>(mut items: impl Iterator<Item = Result<T>>) -> Result<bool> {
    Ok(items.next().transpose()?.is_none())
}

/// The items of a [`Set`] in order, from either end.
pub struct Items<'tx, T>(Range<'tx, T, ()>);

impl<T> fmt::Debug for Items<'_, T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Items of a {:?}", self.0)
    }
}

impl<T: Key> Iterator for Items<'_, T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        Some(self.0.next()?.map(|(item, ())| item))
    }
}

impl<T: Key> DoubleEndedIterator for Items<'_, T> {
    fn next_back(&mut self) -> Option<Result<T>> {
        Some(self.0.next_back()?.map(|(item, ())| item))
    }
}

impl<T: Key> std::iter::FusedIterator for Items<'_, T> {}

/// What an operation on two [`Set`]s shows of them, in order. After an error it ends.
pub struct Merged<'tx, T: Key> {
    left: Peekable<Items<'tx, T>>,
    right: Peekable<Items<'tx, T>>,
    /// Whether to show what is in the left one only, in both, and in the right one only.
    shown: [bool; 3],
    failed: bool,
}

impl<T: Key> fmt::Debug for Merged<'_, T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Merged {:?}", self.shown)
    }
}

impl<T: Key> Iterator for Merged<'_, T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        while !self.failed {
            let [left_only, both, right_only] = self.shown;
            let order = match (self.left.peek(), self.right.peek()) {
                (Some(Ok(left)), Some(Ok(right))) => left.cmp(right),
                (Some(Err(_)), _) | (Some(_), None) => Ordering::Less,
                (_, Some(_)) => Ordering::Greater,
                (None, None) => return None,
            };
            // Where the rest of one does not matter it is not read.
            match order {
                Ordering::Less if self.right.peek().is_none() && !left_only => return None,
                Ordering::Greater if self.left.peek().is_none() && !right_only => return None,
                _ => {}
            }
            let (item, shown) = match order {
                Ordering::Less => (self.left.next(), left_only),
                Ordering::Greater => (self.right.next(), right_only),
                Ordering::Equal => {
                    self.right.next();
                    (self.left.next(), both)
                }
            };
            self.failed = matches!(item, Some(Err(_)));
            if shown || self.failed {
                return item;
            }
        }
        None
    }
}

impl<T> fmt::Debug for Set<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Set in {:?}", self.tree)
    }
}

handle!(Set<T>, tree, |tree| Set { tree });
